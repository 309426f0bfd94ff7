//! Members, views, tags and outcomes as they are kept in Redis.

use std::sync::Arc;

use crate::cache::op::{Outcome, Tag};
use crate::cache::view::{Member, View};
use crate::name::Name;
use crate::redis::bytes::{Bytes, put, put_sized};
use crate::redis::reply::Read;

/// The first byte of a view: another form has another one.
const FORM: u64 = 1;

fn put_text(into: &mut Vec<u8>, text: &str) {
    put_sized(into, 2, text.len());
    into.extend(text.as_bytes());
}

pub(super) fn member_bytes(member: &Member) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_member(&mut bytes, member);
    bytes
}

fn put_member(into: &mut Vec<u8>, member: &Member) {
    put_text(into, member.node.as_str());
    put(into, 8, member.incarnation);
    put_text(into, &member.address);
    put(into, 8, member.lease_ms);
    put(into, 1, u64::from(member.writes_back));
}

fn read_member(bytes: &mut Bytes<'_>) -> Read<Member> {
    let node = Name::parse("NODE_ID", &bytes.text(2)?).map_err(|fault| fault.message)?;
    Ok(Member {
        node,
        incarnation: bytes.number(8)?,
        address: bytes.text(2)?,
        lease_ms: bytes.number(8)?,
        writes_back: bytes.number(1)? == 1,
    })
}

/// The member of [`member_bytes`].
pub(super) fn member(bytes: &[u8]) -> Read<Member> {
    read_member(&mut Bytes(bytes))
}

pub(super) fn view_bytes(view: &View) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, 1, FORM);
    put(&mut bytes, 8, view.epoch);
    put_text(&mut bytes, &view.run);
    for list in [&view.members, &view.silent] {
        put_sized(&mut bytes, 2, list.len());
        for member in list {
            put_member(&mut bytes, member);
        }
    }
    bytes
}

/// The view of [`view_bytes`]; of nothing: that which there was before the first.
pub(super) fn view(bytes: &[u8]) -> Read<View> {
    if bytes.is_empty() {
        return Ok(View::default());
    }
    let mut bytes = Bytes(bytes);
    let form = bytes.number(1)?;
    if form != FORM {
        return Err(format!("the view in Redis has form {form}: another version wrote it"));
    }
    let (epoch, run) = (bytes.number(8)?, bytes.text(2)?);
    let mut list = || {
        let count = bytes.number(2)?;
        (0..count).map(|_| read_member(&mut bytes)).collect::<Read<_>>()
    };
    Ok(View { epoch, run, members: list()?, silent: list()? })
}

pub(super) fn tags_text(tags: &[Tag]) -> Vec<u8> {
    let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    tags.join("\n").into_bytes()
}

/// The tags of [`tags_text`].
pub(super) fn tags(text: &str) -> Read<Arc<[Tag]>> {
    let tags = text.split('\n').filter(|tag| !tag.is_empty());
    tags.map(|tag| Name::parse("tag", tag).map_err(|fault| fault.message)).collect()
}

/// What came of a write, as the script writes it.
pub(super) fn outcome(text: &str) -> Read<Option<Outcome>> {
    let bad = || format!("the script answered {text:?} for an outcome");
    let outcome = match text.split_at_checked(1).ok_or_else(bad)? {
        ("P", "") => return Ok(None),
        ("S", "") => Outcome::Set,
        ("D", "0") => Outcome::Deleted(false),
        ("D", "1") => Outcome::Deleted(true),
        ("N", sum) => Outcome::Number(sum.parse().map_err(|_| bad())?),
        ("U", "") => Outcome::Unmet(None),
        ("U", version) => Outcome::Unmet(Some(version.parse().map_err(|_| bad())?)),
        ("X", "") => Outcome::NotANumber,
        ("O", "") => Outcome::Overflow,
        _ => return Err(bad()),
    };
    Ok(Some(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_member(node: &str, writes_back: bool) -> Member {
        Member {
            node: Name::parse("node", node).unwrap(),
            incarnation: u64::MAX,
            address: "[::1]:7\nü".to_owned(),
            lease_ms: 2_000,
            writes_back,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let members = vec![a_member("a b", true), a_member("ü", false)];
        let one =
            View { epoch: 7, run: "0f".to_owned(), members, silent: vec![a_member("c", true)] };
        let bytes = view_bytes(&one);
        assert_eq!(view(&bytes), Ok(one));
        assert_eq!(view(&[]), Ok(View::default()));
        assert!(view(&bytes[..bytes.len() - 1]).is_err() && view(&[9]).is_err());
        assert_eq!(member(&member_bytes(&a_member("x", true))), Ok(a_member("x", true)));
        for bad in ["", "Z", "Nx", "D2", "S1", "ü"] {
            assert!(outcome(bad).is_err(), "{bad}");
        }
        let min = outcome(&format!("N{}", i64::MIN));
        assert_eq!(min, Ok(Some(Outcome::Number(i64::MIN))), "no double");
    }
}
