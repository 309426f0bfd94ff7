//! What is asked, as arguments of a script.

use super::KEY;
use super::record::{member_bytes, tags_text, view_bytes};
use crate::cache::command::{
    Ask, By, Command, PAGE_BYTES, PAGE_MAX, Query, Selector, Sign, WriteId, Written,
};
use crate::cache::op::{Action, Condition, Key, Op};
use crate::cache::view::{View, partition_of};
use crate::name::Name;
use crate::redis::Call;

type Args = Vec<Vec<u8>>;

/// The call of the [script](super::script) that does what is asked, as one step.
pub fn encode(ask: &Ask) -> Call {
    let args = match ask {
        Ask::Do(Command::Write { key, by, id, write }) => encode_write(key, by, *id, write),
        Ask::Do(Command::Fence { partition, node, session }) => vec![
            b"F".to_vec(),
            fence(*partition, node),
            number(session.epoch),
            number(session.generation),
        ],
        Ask::Do(Command::Replace { epoch, view }) => {
            let view_is = view_bytes(view);
            vec![b"R".to_vec(), number(*epoch), number(view.epoch), view_is, names(view)]
        }
        Ask::Do(Command::TakeOver { epoch }) => vec![b"T".to_vec(), number(*epoch)],
        Ask::Live(sign) => encode_sign(sign),
        Ask::Look(query) => encode_query(query),
    };
    Call { keys: vec![KEY.as_bytes().to_vec()], args }
}

fn number(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// The fence of a node in a partition.
fn fence(partition: u16, node: &Name) -> Vec<u8> {
    format!("{partition} {node}").into_bytes()
}

/// The members' names, each between line feeds, which no name has.
fn names(view: &View) -> Vec<u8> {
    let names = view.members.iter().flat_map(|member| ["\n", member.node.as_str()]);
    names.chain(["\n"]).collect::<String>().into_bytes()
}

fn encode_write(key: &Key, by: &By, id: WriteId, write: &Written) -> Args {
    let (epoch, of, generation) = match by {
        By::Holder(node, session) => {
            (session.epoch, fence(partition_of(key), node), session.generation)
        }
        By::Home(epoch) => (*epoch, Vec::new(), 0),
    };
    let mut args = vec![
        b"W".to_vec(),
        key.as_str().into(),
        number(epoch),
        of,
        number(generation),
        id.to_be_bytes().to_vec(),
    ];
    match write {
        Written::Apply(Op { action: Action::Set { value, condition, ttl_ms }, .. }) => {
            args.extend([b"S".to_vec(), encode_condition(*condition)]);
            args.extend([value.bytes.as_slice().to_vec(), tags_text(&value.tags)]);
            args.push(ttl_ms.map(|ms| number(ms.max(1))).unwrap_or_default());
        }
        Written::Apply(Op { action: Action::Delete { condition }, .. }) => {
            args.extend([b"D".to_vec(), encode_condition(*condition)]);
        }
        Written::Apply(Op { action: Action::Increment { by }, .. }) => {
            args.extend([b"I".to_vec(), by.to_string().into_bytes()]);
        }
        Written::Put { value, version } => {
            args.extend([b"P".to_vec(), value.bytes.as_slice().to_vec()]);
            args.extend([tags_text(&value.tags), number(*version)]);
        }
    }
    args
}

fn encode_condition(condition: Condition) -> Vec<u8> {
    match condition {
        Condition::Always => Vec::new(),
        Condition::Absent => b"a".to_vec(),
        Condition::Present => b"p".to_vec(),
        Condition::Version(version) => format!("v{version}").into_bytes(),
    }
}

fn encode_sign(Sign { member, count, leaves }: &Sign) -> Args {
    let leaves = if *leaves { b"l".to_vec() } else { Vec::new() };
    vec![b"L".to_vec(), member.node.as_str().into(), number(*count), member_bytes(member), leaves]
}

fn encode_query(query: &Query) -> Args {
    match query {
        Query::Get(key) => vec![b"G".to_vec(), key.as_str().into()],
        Query::Size => vec![b"Z".to_vec()],
        Query::Keys { of, after, limit } => {
            let (set, begin) = match of {
                Selector::Prefix(prefix) => (Vec::new(), prefix.as_str()),
                Selector::Tag(tag) => (format!("t{tag}").into_bytes(), ""),
            };
            let from = match after {
                Some(after) if after.as_str() >= begin => format!("({after}"),
                Some(_) | None => format!("[{begin}"),
            };
            // No UTF-8 has this byte: it is behind all that begin so.
            let to = [b"[", begin.as_bytes(), &[0xff]].concat();
            let limit = number(u64::from((*limit).clamp(1, PAGE_MAX)));
            let bytes = PAGE_BYTES.to_string().into_bytes();
            vec![b"K".to_vec(), set, from.into_bytes(), to, limit, bytes]
        }
    }
}
