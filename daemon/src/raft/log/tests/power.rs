//! Power cuts at every byte of a scripted run.

use super::rig::{Op, Rig, State};
use crate::raft::fs::Crash;

/// Every kind of call, over several segments.
pub(super) const SCRIPT: &[Op] = &[
    Op::Vote(1),
    Op::Append(1, 20),
    Op::Settle,
    Op::Append(3, 30),
    Op::Commit,
    Op::Append(1, 0),
    Op::Settle,
    Op::Truncate(2),
    Op::Append(2, 60),
    Op::Append(2, 60),
    Op::Vote(2),
    Op::Append(1, 10),
    Op::Settle,
    Op::Purge(3),
    Op::Append(4, 40),
    Op::Commit,
    Op::Settle,
    Op::PurgeAhead(5),
    Op::Append(2, 20),
    Op::Vote(1),
    Op::Settle,
];

/// Bytes that the script writes when nothing fails.
pub(super) fn total() -> u64 {
    let rig = Rig::new();
    let run = rig.run(&State::default(), SCRIPT);
    assert!(!run.failed && run.acknowledged == SCRIPT.len() - 1);
    rig.fs.written()
}

#[test]
fn a_cut_at_any_byte_loses_nothing_acknowledged() {
    let mut rig = Rig::new();
    for cut in 0..=total() {
        for crash in [Crash::Process, Crash::Power, Crash::Scattered(cut)] {
            rig.reset();
            let state = rig.cut(SCRIPT, cut, crash);
            let state = state.unwrap_or_else(|why| panic!("cut at {cut}, {crash:?}: {why}"));
            // What was recovered is a log like any other.
            let committed = rig.read().unwrap().1;
            let mut again = rig.run(&state, &[Op::Append(2, 9), Op::Vote(1), Op::Settle]);
            assert!(!again.failed);
            again.committed.extend(committed);
            rig.crash(Crash::Power);
            assert_eq!(rig.check(&again).as_ref(), Ok(&again.states[3]), "cut at {cut}, {crash:?}");
        }
    }
}

#[test]
fn a_cut_during_recovery_changes_nothing() {
    let mut rig = Rig::new();
    for cut in (0..=total()).step_by(7) {
        rig.reset();
        rig.fs.cut_power_after(cut);
        let run = rig.run(&State::default(), SCRIPT);
        rig.fs.crash(Crash::Scattered(cut));
        for (again, crash) in
            (0..).step_by(29).zip([Crash::Power, Crash::Scattered(cut), Crash::Process])
        {
            rig.fs.cut_power_after(again);
            drop(rig.open());
            rig.fs.crash(crash);
        }
        rig.check(&run).unwrap_or_else(|why| panic!("cut at {cut}: {why}"));
    }
}

#[test]
fn without_a_crash_everything_is_kept_and_purged_segments_go() {
    let rig = Rig::new();
    let run = rig.run(&State::default(), SCRIPT);
    let end = run.states.last().unwrap();
    assert_eq!(rig.check(&run).as_ref(), Ok(end));
    let status = rig.open().unwrap().watch().status();
    assert_eq!((status.last, status.flushed), (end.last, end.last));
    assert!(status.segments <= 2, "{status:?}");
    rig.block_on(async { tokio::task::yield_now().await });
}
