//! The bytes on disk do not change.

use std::path::Path;

use super::super::segment;
use super::rig::{DIR, Op, Rig, State};
use crate::raft::fs::read_all;

#[test]
fn golden_bytes_of_every_record() {
    let rig = Rig::new();
    let script = [
        Op::Vote(1),
        Op::Settle,
        Op::Append(2, 3),
        Op::Settle,
        Op::Truncate(1),
        Op::Commit,
        Op::Purge(0),
        Op::Settle,
    ];
    assert!(!rig.run(&State::default(), &script).failed);
    let bytes = read_all(&rig.fs, &Path::new(DIR).join(segment::name(1))).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let hex = bytes[..used].iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!(
        hex,
        "4453594e434c4f4705000000299ab05e0101000000000100000000040000002fbca9cc03011b000000020101000d00000095dce25902012d000000020200000201010102035959590300000024b9c6e80401480000000102000200000018361e4e0501590000000200030000009703a6580601590000000102000300000095ad411a06017a0000000102"
    );
}
