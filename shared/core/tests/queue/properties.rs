//! Random histories against the invariants and the reference.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::api::queue::{Command, Outcome, Popped};
use crate::support::bench::Bench;
use crate::support::history::{Act, history};
use crate::support::judge::Judge;
use crate::support::reference::Reference;

/// Runs a history on the machine and the reference; what the judge saw, or what is wrong.
fn run(acts: &[Act]) -> Result<Judge, String> {
    let (mut bench, mut reference) = (Bench::default(), Reference::default());
    let (mut judge, mut receipts) = (Judge::default(), Vec::new());
    for (serial, act) in (0_u64..).zip(acts) {
        if let Act::Wait(ms) = act {
            bench.now += ms;
        }
        let command = act.command(serial, &receipts);
        let expected = reference.run(bench.now, command.as_ref());
        match &command {
            None => bench.tick(),
            Some(command) => {
                let outcome = bench.run(command.clone());
                judge.see(bench.now, command, &outcome)?;
                if let Outcome::Popped(popped) = &outcome {
                    receipts.extend(popped.jobs.iter().map(|job| job.receipt.clone()));
                }
                let expected = expected.ok_or("the reference knows no answer")?;
                if comparable(&outcome) != comparable(&expected) {
                    return Err(format!(
                        "{command:?}: {outcome:?}, the reference says {expected:?}"
                    ));
                }
            }
        }
        let seen =
            if bench.machine.query(0, &query()) == nothing() { [0; 4] } else { bench.counts() };
        if seen != reference.counts() {
            return Err(format!("{seen:?} jobs, the reference has {:?}", reference.counts()));
        }
        let audit = bench.audit();
        if !audit.is_empty() {
            return Err(audit.join("; "));
        }
    }
    Ok(judge)
}

fn query() -> crate::api::queue::Query {
    crate::api::queue::Query::Stats { queue: crate::support::bench::name("q") }
}

fn nothing() -> crate::api::queue::Seen {
    crate::api::queue::Seen::Stats(None)
}

/// Without the advice when to ask again, which the reference does not give.
fn comparable(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Popped(popped) => Outcome::Popped(Popped { next_ms: None, ..popped.clone() }),
        other => other.clone(),
    }
}

fn config() -> Config {
    let given = Config::default();
    let cases = given.cases.max(600);
    Config { cases, failure_persistence: None, ..given }
}

#[test]
fn histories_keep_the_invariants_and_follow_the_reference() {
    let mut runner = TestRunner::new(config());
    runner.run(&history(150), |acts| run(&acts).map(|_| ()).map_err(TestCaseError::fail)).unwrap();
}

/// A suite in which nothing happens proves nothing.
#[test]
fn histories_make_everything_happen() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config(), rng);
    let (mut deliveries, mut stale) = (0, 0);
    for _ in 0..200 {
        let acts = history(150).new_tree(&mut runner).unwrap().current();
        let judge = run(&acts).unwrap();
        deliveries += judge.deliveries;
        stale += judge.stale;
    }
    assert!(deliveries > 500 && stale > 100, "{deliveries} deliveries, {stale} stale receipts");
}

/// The judge sees what it is there for: each broken answer is named by its invariant.
#[test]
fn broken_answers_are_seen() {
    let mut bench = Bench::default();
    bench.push_all(&["a"]);
    let pop = |request| Command::Pop {
        request,
        max: 1,
        lease_ms: 1_000,
        ack: false,
        consumer: crate::support::bench::name("w"),
    };
    let push = Command::Push { jobs: vec![crate::support::bench::job("a")] };
    let first = bench.run(pop(1));
    let created = Outcome::Pushed(vec![crate::api::queue::Pushed::Created]);
    let seen = |steps: &[(u64, &Command, &Outcome)]| {
        let mut judge = Judge::default();
        steps.iter().try_for_each(|(now, command, outcome)| judge.see(*now, command, outcome))
    };
    let begin = (0, &push, &created);
    let (one, two) = (pop(1), pop(2));
    let Outcome::Popped(popped) = &first else { panic!("{first:?}") };
    let mut other = popped.clone();
    other.jobs.iter_mut().for_each(|job| job.receipt.token += 1);
    let second = Outcome::Popped(other);
    assert!(seen(&[begin, (0, &one, &first), (999, &two, &second)]).unwrap_err().starts_with("Q3"));
    assert_eq!(seen(&[begin, (0, &one, &first), (1_000, &two, &second)]), Ok(()));
    assert!(seen(&[(0, &one, &first)]).unwrap_err().starts_with("Q2"));
    let receipts = popped.jobs.iter().map(|job| job.receipt.clone()).collect();
    let ack = Command::Ack { receipts };
    let done = Outcome::Settled(vec![crate::api::queue::Settled::Done]);
    let late = seen(&[begin, (0, &one, &first), (1_000, &ack, &done)]);
    assert!(late.unwrap_err().starts_with("Q4"), "a receipt counts until its lease ends");
}
