//! The suite against known bugs: each must be caught, and by the invariant that it breaks.
//!
//! The suite is the one of `tests/lock`, compiled into this crate so that nothing of this reaches
//! a build that ships.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::mutants::{self, Mutant};
use crate as api;

#[expect(clippy::wildcard_enum_match_arm, reason = "a test is about the variants it names")]
#[path = "../../tests/lock/support/mod.rs"]
mod support;
use support::suite::Judge;

/// Histories tried before a mutant counts as missed.
const HISTORIES: usize = 300;

/// The checker that first sees something, over the same histories each time.
fn caught_by(judge: Judge) -> Option<&'static str> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = support::history::history(120);
    (0..HISTORIES).find_map(|_| {
        let events = strategy.new_tree(&mut runner).unwrap().current();
        support::suite::run(&events, judge).err().map(|violation| violation.checker)
    })
}

#[test]
fn without_a_mutant_nothing_is_caught() {
    assert_eq!(caught_by(Judge::All), None);
}

#[test]
fn every_mutant_is_caught_by_its_invariant() {
    for (mutant, invariant) in [
        (Mutant::TokenFromClock, "L1"),
        (Mutant::ExpiryByLocalClock, "L7"),
        (Mutant::NoNewTermGrace, "L7"),
        (Mutant::ReleaseWithoutOwnerCheck, "L2"),
        (Mutant::RetryQueuesTwice, "L8"),
        (Mutant::WaiterLeftBehind, "L6"),
        (Mutant::ReaderOvertakesWriter, "L5"),
    ] {
        let by = |judge| mutants::with(mutant, || caught_by(judge));
        assert_eq!(by(Judge::Invariants), Some(invariant), "{mutant:?}");
        assert!(by(Judge::All).is_some(), "{mutant:?}");
    }
}
