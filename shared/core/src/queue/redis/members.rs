//! Signs of life: what to ask the script of members, and its answer.

use crate::name::Name;
use crate::queue::{BEAT_LIFE_MS, Beat};
use crate::redis::Call;
use crate::redis::reply::{Read, Reply};

/// The script of members.
pub const MEMBERS: &str = include_str!("lua/members.lua");

/// Where the signs of life are.
const KEY: &str = "dsync:members";
/// A node that is silent for so long is not shown any more.
const FORGET_MS: u64 = 60_000;

/// The call with which a node says that it lives, or that it leaves. It changes nothing where
/// another process [lives under that name](Beat::forbids).
pub fn encode_beat(node: &Name, incarnation: u64, address: &str, leaves: bool) -> Call {
    let what = if leaves { "leave" } else { "beat" };
    let args = [
        what.to_owned(),
        node.to_string(),
        incarnation.to_string(),
        address.to_owned(),
        BEAT_LIFE_MS.to_string(),
        FORGET_MS.to_string(),
    ];
    Call {
        keys: vec![KEY.as_bytes().to_vec()],
        args: args.into_iter().map(String::into_bytes).collect(),
    }
}

/// The signs of life of all nodes.
///
/// # Errors
/// An answer that the script does not give: words for the log.
pub fn decode_beats(reply: Reply) -> Read<Vec<Beat>> {
    let beat = |one: Reply| {
        let [node, incarnation, address, age] = one.array()?;
        let node = Name::parse("NODE_ID", &node.text()?).map_err(|fault| fault.message)?;
        let incarnation = incarnation.text()?;
        Ok(Beat {
            node,
            incarnation: incarnation.parse().map_err(|_| format!("incarnation {incarnation:?}"))?,
            address: address.text()?,
            age_ms: age.count()?,
        })
    };
    reply.list()?.into_iter().map(beat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_read() {
        let text = |t: &str| Reply::Bytes(t.as_bytes().to_vec());
        let one = Reply::List(vec![text("n"), text("7"), text("a:1"), Reply::Int(5)]);
        let node = Name::parse("node", "n").unwrap();
        let beat = Beat { node, incarnation: 7, address: "a:1".into(), age_ms: 5 };
        assert_eq!(decode_beats(Reply::List(vec![one])), Ok(vec![beat]));
        assert!(decode_beats(Reply::List(vec![Reply::Nil])).is_err());
    }
}
