//! Many changes, cut into requests that a node takes. Pure.

use dsync_core::cache::op::{Action, Key};

use crate::api::KEYS_MAX;
use crate::codec::FRAME_MAX_CLIENT;

/// Bytes of the changes of one request: the frame has a head too.
const WIRE_MAX: usize = FRAME_MAX_CLIENT - 64 * 1024;
/// Bytes of a change beside its texts: lengths, condition, time to live.
const FRAMING: usize = 64;

/// The changes in order, as many to a request as fit.
pub(super) fn cut(changes: Vec<(Key, Action)>) -> Vec<Vec<(Key, Action)>> {
    let mut all: Vec<Vec<(Key, Action)>> = Vec::new();
    let mut bytes = 0;
    for change in changes {
        let size = size(&change);
        bytes += size;
        match all.last_mut() {
            Some(last) if last.len() < KEYS_MAX && bytes <= WIRE_MAX => last.push(change),
            _ => {
                bytes = size;
                all.push(vec![change]);
            }
        }
    }
    all
}

fn size((key, action): &(Key, Action)) -> usize {
    let value = match action {
        Action::Set { value, .. } => {
            let tags: usize = value.tags.iter().map(|tag| tag.as_str().len() + FRAMING).sum();
            value.bytes.as_slice().len() + tags
        }
        Action::Delete { .. } | Action::Increment { .. } => 0,
    };
    key.as_str().len() + value + FRAMING
}

#[cfg(test)]
mod tests {
    use super::super::Set;
    use super::*;

    fn change(number: usize, bytes: usize) -> (Key, Action) {
        (Key::parse("key", &number.to_string()).unwrap(), Set::new(vec![0; bytes]).action())
    }

    fn lengths(changes: Vec<(Key, Action)>) -> Vec<usize> {
        cut(changes).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_request_has_as_many_as_a_node_takes_in_order() {
        assert_eq!(lengths(Vec::new()), [0_usize; 0]);
        assert_eq!(lengths((0..600).map(|n| change(n, 3)).collect()), [256, 256, 88]);
        let large = dsync_core::cache::op::VALUE_MAX;
        assert_eq!(lengths((0..3).map(|n| change(n, large)).collect()), [1, 1, 1]);
        assert_eq!(lengths((0..7).map(|n| change(n, large / 2)).collect()), [3, 3, 1]);
        let all: Vec<_> = (0..600).map(|n| change(n, 3)).collect();
        assert_eq!(cut(all.clone()).concat(), all);
        for request in cut((0..9).map(|n| change(n, large / 3)).collect()) {
            let bytes = postcard::to_stdvec(&request).unwrap();
            assert!(bytes.len() <= WIRE_MAX, "{}", bytes.len());
        }
    }
}
