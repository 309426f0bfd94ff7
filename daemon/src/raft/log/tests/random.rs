//! Random calls, crashes at random bytes, several lives.

use proptest::prelude::*;

use super::rig::{Op, Rig, State};
use crate::raft::fs::Crash;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..5_u8, 0..90_u8).prop_map(|(count, size)| Op::Append(count, size)),
        2 => (0..3_u8).prop_map(Op::Vote),
        2 => (0..5_u8).prop_map(Op::Truncate),
        2 => (0..9_u8).prop_map(Op::Purge),
        1 => (0..9_u8).prop_map(Op::PurgeAhead),
        2 => Just(Op::Commit),
        3 => Just(Op::Settle),
    ]
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![Just(Crash::Process), Just(Crash::Power), any::<u64>().prop_map(Crash::Scattered),]
}

/// A life: what is called, after how many bytes it ends, and how.
fn life() -> impl Strategy<Value = (Vec<Op>, u64, Crash)> {
    (prop::collection::vec(op(), 1..40), 0..6_000_u64, crash())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_log_holds_what_the_model_allows(lives in prop::collection::vec(life(), 1..5)) {
        let rig = Rig::new();
        let mut state = State::default();
        let mut committed = Vec::new();
        for (script, cut, crash) in lives {
            rig.fs.cut_power_after(cut);
            let mut run = rig.run(&state, &script);
            committed.append(&mut run.committed);
            run.committed.clone_from(&committed);
            rig.crash(crash);
            state = rig.check(&run).map_err(TestCaseError::fail)?;
        }
    }
}
