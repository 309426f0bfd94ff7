//! The memory's scripts in a real Redis against the machine: random questions, the same answers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use dsync_core::cache::command::{
    Ask, By, Command, Done, Found, Query, Selector, Sign, Told, Written,
};
use dsync_core::cache::op::{Action, Bytes, Condition, Op, Outcome, Value, tags_of};
use dsync_core::cache::redis::COMMANDS;
use dsync_core::cache::view::{Member, View};
use dsync_core::name::Name;
use dsync_tests::cache::{Random, Twins};
use dsync_tests::process::{Redis, RedisPlan};

/// Histories; `DSYNC_CACHE_SEEDS` asks for more.
const SEEDS: u64 = 150;
/// Questions of one history.
const ASKED: usize = 400;

/// What was answered in histories, and how often.
type Seen = BTreeMap<String, u64>;

fn history(seed: u64, twins: &mut Twins, seen: &mut Seen) -> Result<(), String> {
    twins.begin();
    let mut random = Random::new(seed);
    let mut told: Vec<String> = Vec::new();
    // Nobody serves at first: that is tried too.
    for epoch in [0, 1] {
        if !random.chance(80) {
            continue;
        }
        let view = View { epoch: epoch + 1, ..View::default() };
        twins.ask(&Ask::Do(Command::Replace { epoch, view }))?;
        twins.ask(&Ask::Do(Command::TakeOver { epoch: epoch + 1 }))?;
    }
    for asked in 0..ASKED {
        let ask = random.ask(twins.now(), |key| twins.version(key));
        told.push(format!("{ask:?}"));
        let answer = twins.ask(&ask).map_err(|why| {
            let from = told.len().saturating_sub(12);
            let last = told.get(from..).unwrap_or_default().join("\n");
            format!("seed {seed}, question {asked}:\n{last}\n{why}")
        })?;
        note(&ask, &answer, seen);
        if asked % 20 == 19 {
            let all = Query::Keys { of: Selector::Prefix(String::new()), after: None, limit: 100 };
            twins.ask(&Ask::Look(all))?;
            twins.ask(&Ask::Look(Query::Get(random.key())))?;
        }
    }
    Ok(())
}

fn note(ask: &Ask, told: &Told, seen: &mut Seen) {
    let kind = match (ask, told) {
        (Ask::Do(Command::Write { write: Written::Put { .. }, .. }), Told::Done(done)) => {
            format!("put {}", matches!(done, Done::Written { .. }))
        }
        (Ask::Do(command), Told::Done(Done::Is(is))) => {
            let name = format!("{command:?}");
            format!("{} {is}", name.split(' ').next().unwrap_or_default())
        }
        (_, Told::Done(Done::Written { outcome: Some(outcome), ttl_ms, .. })) => {
            let name = format!("{outcome:?}");
            let ttl = if ttl_ms.is_some() { " ttl" } else { "" };
            format!("{}{ttl}", name.split('(').next().unwrap_or_default())
        }
        (_, Told::Done(Done::Fenced)) => "fenced".to_owned(),
        (_, Told::Found(Found::Keys { more, .. })) => format!("keys {more}"),
        (_, Told::Found(Found::Item { item, .. })) => format!("item {}", item.value.is_some()),
        (_, Told::Found(Found::Size(_))) => "size".to_owned(),
        (_, Told::Seen(_)) => "seen".to_owned(),
        (_, Told::Done(_)) => "other".to_owned(),
    };
    *seen.entry(kind).or_default() += 1;
}

/// All that must have happened: a suite in which nothing happens proves nothing.
const KINDS: [&str; 25] = [
    "put true",
    "put false",
    "Fence true",
    "Fence false",
    "Replace true",
    "Replace false",
    "TakeOver true",
    "TakeOver false",
    "Set",
    "Set ttl",
    "Deleted",
    "Number",
    "Number ttl",
    "Unmet",
    "Unmet ttl",
    "NotANumber",
    "NotANumber ttl",
    "Overflow",
    "fenced",
    "keys true",
    "keys false",
    "item true",
    "item false",
    "size",
    "seen",
];

fn seeds() -> u64 {
    std::env::var("DSYNC_CACHE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

#[tokio::test]
async fn random_questions_are_answered_alike() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut twins = Twins::new(&server);
    let mut seen = Seen::new();
    for seed in 0..seeds() {
        if let Err(why) = history(seed, &mut twins, &mut seen) {
            panic!("{why}");
        }
    }
    println!("{seen:#?}");
    for kind in KINDS {
        let often = seen.get(kind).copied().unwrap_or(0);
        assert!(often >= 10, "{kind}: {often} times in {seen:#?}");
    }
}

/// A fault, put into the script on purpose: a line of it, and what stands there instead.
const FAULTS: [(&str, &str, &str); 12] = [
    ("a repetition is done again", "if last == id then", "if false then"),
    (
        "a repeated delete is not known",
        "call('SET', gone, id .. 'D1', 'PX', GONE_MS)\n  sweep",
        "sweep",
    ),
    ("a failed write is forgotten", "call('HSET', record, 'i', id, 'o', outcome)\n  else", "else"),
    ("fences are ignored", "return tonumber(generation) >= ", "return true or "),
    ("epochs are ignored", "if call('HGET', S, 'serving') ~= epoch then", "if false then"),
    ("a fence goes back", "integer(math.max(first, tonumber(ARGV[4]) + 1))", "ARGV[4]"),
    ("fences are cleared again", "if tonumber(ARGV[2]) > serving then", "if true then"),
    ("fences outlive their epoch", "call('DEL', base .. 'f')", ""),
    ("a stale view is taken", "if epoch ~= ARGV[2] or ", "if "),
    ("a key has versions of its own", "call('HSET', S, 'version', next_version())", ""),
    ("sums are doubles", "'N' .. call('HGET', record, 'v')", "'N' .. integer(done)"),
    ("old tags stay", "if tags ~= before then", "if false then"),
];

/// The comparison sees what it is there for.
#[tokio::test]
async fn faults_in_the_script_are_seen() {
    let server = Redis::start(RedisPlan::default()).await;
    for (fault, line, instead) in FAULTS {
        assert_eq!(COMMANDS.matches(line).count(), 1, "{fault}: the script has no such line");
        let mut twins = Twins::with(&server, &COMMANDS.replace(line, instead));
        let caught =
            (0..seeds()).find(|seed| history(*seed, &mut twins, &mut Seen::new()).is_err());
        println!("{fault}: seen by seed {caught:?}");
        assert!(caught.is_some(), "{fault}: not seen by {} seeds", seeds());
    }
}

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

fn serving(twins: &mut Twins) {
    let view = View { epoch: 1, ..View::default() };
    twins.ask(&Ask::Do(Command::Replace { epoch: 0, view })).unwrap();
    twins.ask(&Ask::Do(Command::TakeOver { epoch: 1 })).unwrap();
}

fn set(key: &str, id: u128, bytes: Vec<u8>, ttl_ms: Option<u64>) -> Ask {
    let tags = tags_of(vec![name("t")]);
    let value = Value { bytes: Bytes::from(bytes), tags };
    let action = Action::Set { value, condition: Condition::Always, ttl_ms };
    write(key, id, action)
}

fn write(key: &str, id: u128, action: Action) -> Ask {
    let write = Written::Apply(Op { request: id, action });
    Ask::Do(Command::Write { key: name(key), by: By::Home(1), id, write })
}

fn sign(node: &str, count: u64, leaves: bool) -> Ask {
    let member = Member {
        node: name(node),
        incarnation: 5,
        address: "a:1".to_owned(),
        lease_ms: 2_000,
        writes_back: false,
    };
    Ask::Live(Sign { member, count, leaves })
}

#[tokio::test]
async fn what_is_over_is_gone_from_all_lists() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut twins = Twins::new(&server);
    serving(&mut twins);
    for n in 0..40_u8 {
        let ttl = if n % 4 == 0 { None } else { Some(100 + u64::from(n)) };
        twins.ask(&set(&format!("k{n:02}"), u128::from(n) + 1, vec![n], ttl)).unwrap();
    }
    twins.now_ms += 1_000;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let lists = [Selector::Prefix(String::new()), Selector::Tag(name("t"))];
    for of in lists {
        let all = Ask::Look(Query::Keys { of, after: None, limit: 100 });
        let Told::Found(Found::Keys { keys, more }) = twins.ask(&all).unwrap() else { panic!() };
        assert_eq!((keys.len(), more), (10, false));
    }
    twins.ask(&Ask::Look(Query::Size)).unwrap();
    // A key that is over is a new one: its last write is not known any more.
    let Told::Done(Done::Written { outcome, .. }) =
        twins.ask(&write("k01", 2, Action::Increment { by: 3 })).unwrap()
    else {
        panic!()
    };
    assert_eq!(outcome, Some(Outcome::Number(3)));
    twins.redis(&sign("n", 1, false)).unwrap();
    let mut count = |command: &str, key: &str| -> u64 {
        let mut asked = redis::cmd(command);
        asked.arg(format!("dsync:{{dsync-cache}}:{key}")).query(twins.connection()).unwrap()
    };
    assert_eq!((count("ZCARD", "n"), count("ZCARD", "t:t")), (11, 10), "it was swept");
    assert_eq!((count("ZCARD", "x"), count("HLEN", "y")), (0, 0));
}

#[tokio::test]
async fn signs_of_life_are_kept_while_they_are_given() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut twins = Twins::new(&server);
    let mut nodes = |ask: &Ask| -> Vec<(String, u64)> {
        let Told::Seen(seen) = twins.redis(ask).unwrap() else { panic!() };
        seen.beats.iter().map(|beat| (beat.member.node.to_string(), beat.count)).collect()
    };
    assert_eq!(nodes(&sign("a", 1, false)), [("a".to_owned(), 1)]);
    assert_eq!(nodes(&sign("b", 7, false)), [("a".to_owned(), 1), ("b".to_owned(), 7)]);
    assert_eq!(nodes(&sign("a", 2, true)), [("b".to_owned(), 7)]);
    // One that was silent for a minute, and is in no view.
    let old = redis::cmd("HGET").arg("dsync:{dsync-cache}:b").arg("b").clone();
    let beat: Vec<u8> = old.query(twins.connection()).unwrap();
    let (ms, rest) = beat.split_at(13);
    let ms: u64 = String::from_utf8(ms.to_vec()).unwrap().parse().unwrap();
    let older = [(ms - 61_000).to_string().into_bytes(), rest.to_vec()].concat();
    let mut put = redis::cmd("HSET");
    put.arg("dsync:{dsync-cache}:b").arg("b").arg(older);
    put.exec(twins.connection()).unwrap();
    let Told::Seen(seen) = twins.redis(&sign("c", 1, false)).unwrap() else { panic!() };
    assert_eq!(seen.beats.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn a_full_redis_refuses_values_and_nothing_else() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut twins = Twins::new(&server);
    serving(&mut twins);
    twins.ask(&set("there", 1, vec![1; 100_000], None)).unwrap();
    let mut full = redis::cmd("CONFIG");
    full.arg("SET").arg("maxmemory").arg("500kb").exec(twins.connection()).unwrap();
    let told = twins.redis(&set("more", 2, vec![1; 10], None)).unwrap();
    let Told::Done(Done::Full { used, limit }) = told else { panic!("{told:?}") };
    assert!(used > limit && limit == 512_000, "{used} {limit}");
    let told = twins.redis(&write("more", 3, Action::Increment { by: 1 })).unwrap();
    assert!(matches!(told, Told::Done(Done::Full { .. })), "{told:?}");
    twins.redis(&sign("n", 1, false)).unwrap();
    let view = View { epoch: 2, ..View::default() };
    for command in [
        Command::Replace { epoch: 1, view },
        Command::TakeOver { epoch: 2 },
        Command::Fence {
            partition: 1,
            node: name("n"),
            session: dsync_core::cache::item::Session { epoch: 2, generation: 1 },
        },
    ] {
        assert_eq!(twins.redis(&Ask::Do(command)), Ok(Told::Done(Done::Is(true))));
    }
    let delete =
        Written::Apply(Op { request: 9, action: Action::Delete { condition: Condition::Always } });
    let delete = Command::Write { key: name("there"), by: By::Home(2), id: 9, write: delete };
    let told = twins.redis(&Ask::Do(delete)).unwrap();
    let Told::Done(Done::Written { outcome, .. }) = told else { panic!("{told:?}") };
    assert_eq!(outcome, Some(Outcome::Deleted(true)));
}
