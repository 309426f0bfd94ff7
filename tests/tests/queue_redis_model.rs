//! The queue's scripts in a real Redis against the machine: random commands, the same answers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use dsync_core::queue::redis::COMMANDS;
use dsync_core::queue::{Command, Outcome, Pushed, Settled};
use dsync_tests::process::{Redis, RedisPlan};
use dsync_tests::queue::twins::STATES;
use dsync_tests::queue::{Random, Scripts, Twins};

/// Histories; `DSYNC_QUEUE_SEEDS` asks for more.
const SEEDS: u64 = 240;
/// Calls of one history.
const CALLS: usize = 150;
/// When histories begin.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// What happened in histories, and how often.
type Seen = BTreeMap<String, u64>;

/// Runs the history of a seed; what the two do not agree on, with the last commands before it.
fn history(seed: u64, scripts: &mut Scripts, seen: &mut Seen) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut twins = Twins::new(&format!("queue-{seed}"), BEGIN_MS + seed, scripts);
    let mut told: Vec<String> = Vec::new();
    for call in 0..CALLS {
        twins.now += random.pause();
        let commands = if random.chance(5) { Vec::new() } else { random.commands() };
        told.push(format!("{}: {commands:?}", twins.now));
        let step = step(call, &commands, &mut twins, &mut random, seen);
        if let Err(why) = step {
            let from = told.len().saturating_sub(12);
            let last = told.get(from..).unwrap_or_default().join("\n");
            return Err(format!("seed {seed}, call {call}:\n{last}\n{why}"));
        }
    }
    Ok(())
}

fn step(
    call: usize,
    commands: &[Command],
    twins: &mut Twins<'_>,
    random: &mut Random,
    seen: &mut Seen,
) -> Result<(), String> {
    let outcomes = twins.run(commands)?;
    for (command, outcome) in commands.iter().zip(&outcomes) {
        note(command, outcome, seen);
        if let Outcome::Popped(popped) = outcome {
            random.receipts.extend(popped.jobs.iter().map(|job| job.receipt.clone()));
        }
    }
    if call % 10 == 9 {
        return twins.compare_all();
    }
    let mut queries = twins.counts();
    let state = STATES.get(usize::try_from(random.below(5)).unwrap()).copied().unwrap();
    let skip = u32::try_from(random.below(4)).unwrap();
    queries.push(twins.page(state, skip, 1 + u32::try_from(random.below(5)).unwrap()));
    queries.push(twins.job(random.id()));
    twins.ask(&queries)
}

/// Counts what an answer was.
fn note(command: &Command, outcome: &Outcome, seen: &mut Seen) {
    let name = format!("{command:?}");
    let name = name.split([' ', '{']).next().unwrap_or_default();
    let kinds: Vec<String> = match outcome {
        Outcome::Pushed(list) => list
            .iter()
            .map(|one| match one {
                Pushed::Duplicate { state } => format!("duplicate {}", state.as_str()),
                Pushed::Created => "created".to_owned(),
                Pushed::Refused(_) => "refused".to_owned(),
            })
            .collect(),
        Outcome::Settled(list) => list
            .iter()
            .map(|one| match one {
                Settled::Done => "done".to_owned(),
                Settled::Dead => "dead".to_owned(),
                Settled::Stale => "stale".to_owned(),
            })
            .collect(),
        Outcome::Popped(popped) if popped.paused.is_some() => vec!["paused".to_owned()],
        Outcome::Popped(popped) if popped.jobs.is_empty() => vec!["none".to_owned()],
        Outcome::Popped(popped) => vec!["job".to_owned(); popped.jobs.len()],
        Outcome::Moved(0) => vec!["none".to_owned()],
        Outcome::Moved(_) => vec!["some".to_owned()],
        Outcome::Set => vec!["set".to_owned()],
        Outcome::Invalid(_) => vec!["invalid".to_owned()],
        Outcome::LimitReached(_) => vec!["limit reached".to_owned()],
    };
    for kind in kinds {
        *seen.entry(format!("{name} {kind}")).or_default() += 1;
    }
}

/// All that must have happened: a suite in which nothing happens proves nothing.
const KINDS: [&str; 33] = [
    "Push created",
    "Push refused",
    "Push invalid",
    "Push duplicate ready",
    "Push duplicate delayed",
    "Push duplicate leased",
    "Push duplicate dead",
    "Push duplicate done",
    "Pop job",
    "Pop none",
    "Pop paused",
    "Ack done",
    "Ack stale",
    "Nack done",
    "Nack dead",
    "Nack stale",
    "Reject dead",
    "Reject stale",
    "Release done",
    "Release stale",
    "Extend done",
    "Extend stale",
    "Pause set",
    "Resume set",
    "Limit set",
    "Purge some",
    "Purge none",
    "Redrive some",
    "Redrive none",
    "Redrive invalid",
    "PurgeDead some",
    "PurgeDead none",
    "Release dead",
];

fn seeds() -> u64 {
    std::env::var("DSYNC_QUEUE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

#[tokio::test]
async fn random_commands_are_answered_alike() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut scripts = Scripts::load(&server);
    let mut seen = Seen::new();
    for seed in 0..seeds() {
        if let Err(why) = history(seed, &mut scripts, &mut seen) {
            panic!("{why}");
        }
    }
    println!("{seen:#?}");
    for kind in KINDS {
        let often = seen.get(kind).copied().unwrap_or(0);
        assert!(often >= 10, "{kind}: {often} times in {seen:#?}");
    }
}

/// A fault, put into the script on purpose: a line of it, and what stands there instead. The numbers
/// are those of the reliability plan.
const FAULTS: [(&str, &str, &str); 14] = [
    (
        "13: an ack ignores the token",
        "if value and not gone[id] and sub(value, 1, 8) == token8 then",
        "if value and not gone[id] then",
    ),
    (
        "14: the sweep ignores that a lease was extended",
        "add('lease', integer(now + ms), receipt)",
        "",
    ),
    ("15: a pop's second step does not happen", "  write('ZADD', L, 'lease')", ""),
    ("16: a delayed job becomes ready twice", "many('ZREM', Z, ended)", ""),
    ("what was asked for again is given back", "if byte(value, 9) == 0 then", "if false then"),
    ("a lease that ran out is not returned", "left = left - end_leases(left)", ""),
    ("a dead letter is there twice", "many('HDEL', B, ids)", ""),
    (
        "dead letters are trimmed",
        "call('ZADD', X, unpack(places))",
        "call('ZADD', X, unpack(places)) call('ZREMRANGEBYRANK', X, 0, -3)",
    ),
    (
        "the window is ignored",
        "local done = #slices > 0 and need('window').done_of(ids) or {}",
        "local done = {}",
    ),
    ("a pop's repetition is not known", "if before and unpackb('>I8', before) > now", "if false"),
    (
        "an entry without a job counts",
        "if s.stale == 0 then return ids end",
        "if true then return ids end",
    ),
    ("a failed job goes to the tail", "enqueue(marks[at] and 'head' or 'tail'", "enqueue('tail'"),
    ("a job's life goes on while it is leased", "if life > 0 then", "if false then"),
    ("the last attempt is not the last", "attempts >= most then", "attempts > most then"),
];

/// The comparison sees what it is there for.
#[tokio::test]
async fn faults_in_the_script_are_seen() {
    let server = Redis::start(RedisPlan::default()).await;
    for (fault, line, instead) in FAULTS {
        assert_eq!(COMMANDS.matches(line).count(), 1, "{fault}: the script has no such line");
        let mut scripts = Scripts::load_these(&server, &COMMANDS.replace(line, instead));
        redis::cmd("FLUSHDB").exec(scripts.connection()).unwrap();
        let caught =
            (0..seeds()).find(|seed| history(*seed, &mut scripts, &mut Seen::new()).is_err());
        println!("{fault}: seen by seed {caught:?}");
        assert!(caught.is_some(), "{fault}: not seen by {} seeds", seeds());
    }
}
