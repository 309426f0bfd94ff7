//! Random histories against the invariants and the reference model.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{history, suite};

/// `PROPTEST_CASES` makes it more.
fn config() -> Config {
    let given = Config::default();
    let cases = given.cases.max(400);
    Config { cases, failure_persistence: None, ..given }
}

#[test]
fn histories_keep_the_invariants_and_follow_the_reference() {
    let mut runner = TestRunner::new(config());
    runner
        .run(&history::history(120), |events| {
            suite::run(&events, suite::Judge::All)
                .map(|_| ())
                .map_err(|v| TestCaseError::fail(format!("{}: {}", v.checker, v.what)))
        })
        .unwrap();
}

/// Longer ones, which the reference model would take too long for.
#[test]
fn long_histories_keep_the_invariants() {
    let mut runner = TestRunner::new(Config { cases: 40, ..config() });
    runner
        .run(&history::history(800), |events| {
            suite::run(&events, suite::Judge::Invariants)
                .map(|_| ())
                .map_err(|v| TestCaseError::fail(format!("{}: {}", v.checker, v.what)))
        })
        .unwrap();
}

/// The histories do what they are for: a suite in which nothing happens proves nothing.
#[test]
fn histories_make_everything_happen() {
    let mut runner = TestRunner::new_with_rng(
        config(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let strategy = history::history(120);
    let mut sum = suite::Seen::default();
    for _ in 0..100 {
        let events = strategy.new_tree(&mut runner).unwrap();
        let seen = suite::run(&events.current(), suite::Judge::All).unwrap().seen;
        sum.granted += seen.granted;
        sum.queued += seen.queued;
        sum.deadlocks += seen.deadlocks;
        sum.wounded += seen.wounded;
        sum.expired += seen.expired;
        sum.timeouts += seen.timeouts;
        sum.converted += seen.converted;
        sum.revoked += seen.revoked;
    }
    assert!(sum.granted > 300 && sum.queued > 100, "{sum:?}");
    assert!(sum.deadlocks > 5 && sum.wounded > 5 && sum.revoked > 10, "{sum:?}");
    assert!(sum.expired > 50 && sum.timeouts > 20 && sum.converted > 20, "{sum:?}");
}
