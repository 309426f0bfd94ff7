//! The queue's scripts in a real Redis: what random commands do not reach.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use dsync_core::name::Name;
use dsync_core::queue::redis::Done;
use dsync_core::queue::{
    Backoff, Command, JobId, Limits, NewJob, Outcome, Overflow, PAYLOAD_MAX, Popped, Pushed, Query,
    Receipt, Seen, Settled, Stats,
};
use dsync_tests::process::{Redis, RedisPlan};
use dsync_tests::queue::{Scripts, Twins};

const BEGIN_MS: u64 = 1_700_000_000_000;
/// What a ready job with a payload of 200 bytes may take of Redis's memory.
const JOB_BYTES_MAX: u64 = 350;

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

fn job(number: u64) -> NewJob {
    NewJob {
        id: JobId::random(
            u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        ),
        payload: number.to_string().into_bytes(),
        priority: 0,
        delay_ms: 0,
        max_attempts: 3,
        backoff: Backoff::default(),
        ttl_ms: 0,
        headers: Vec::new(),
    }
}

fn push(jobs: impl IntoIterator<Item = NewJob>) -> Command {
    Command::Push { jobs: jobs.into_iter().collect() }
}

fn pop(request: u128, max: u32, lease_ms: u64) -> Command {
    Command::Pop { request, max, lease_ms, ack: false, consumer: name("w") }
}

fn popped(outcomes: &[Outcome]) -> &Popped {
    let Some(Outcome::Popped(popped)) = outcomes.first() else { panic!("{outcomes:?}") };
    popped
}

fn receipts(outcomes: &[Outcome]) -> Vec<Receipt> {
    popped(outcomes).jobs.iter().map(|job| job.receipt.clone()).collect()
}

/// One command in both, and then all that can be seen.
fn both(twins: &mut Twins<'_>, command: Command) -> Vec<Outcome> {
    let outcomes = twins.run(&[command]).unwrap_or_else(|why| panic!("{why}"));
    twins.compare_all().unwrap_or_else(|why| panic!("{why}"));
    outcomes
}

#[tokio::test]
async fn payloads_come_back_byte_for_byte() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut scripts = Scripts::load(&server);
    let mut twins = Twins::new("payloads", BEGIN_MS, &mut scripts);
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let large: Vec<u8> = every.iter().copied().cycle().take(PAYLOAD_MAX).collect();
    let payloads =
        [Vec::new(), b"\0".to_vec(), b"\r\n$5\r\n".to_vec(), every, large.clone(), large];
    for (number, payload) in (0..).zip(&payloads) {
        both(&mut twins, push([NewJob { payload: payload.clone(), ..job(number) }]));
    }
    // Two of the largest are more than one answer holds: the second stays, at the head.
    let first = both(&mut twins, pop(1, 10, 5_000));
    let second = both(&mut twins, pop(2, 10, 5_000));
    let found: Vec<&[u8]> = [&first, &second]
        .into_iter()
        .flat_map(|outcomes| &popped(outcomes).jobs)
        .map(|job| job.payload.as_slice())
        .collect();
    assert_eq!((popped(&first).jobs.len(), popped(&second).jobs.len()), (5, 1));
    assert!(found.iter().zip(&payloads).all(|(one, other)| *one == other.as_slice()));
    // Through the dead letters and back.
    both(&mut twins, Command::Reject { receipts: receipts(&first), error: "é".into() });
    both(&mut twins, Command::Redrive { ids: Vec::new(), max: 10 });
    assert_eq!(popped(&both(&mut twins, pop(3, 10, 5_000))).jobs.len(), 5);
}

/// Batches as large as they may be: more arguments than one call of Redis takes from a script.
#[tokio::test]
async fn the_largest_batches_are_carried_out() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut scripts = Scripts::load(&server);
    let mut twins = Twins::new("batches", BEGIN_MS, &mut scripts);
    let jobs = |ttl_ms| {
        (0..1_000).map(move |n| NewJob {
            ttl_ms,
            priority: u8::try_from(n % 10).unwrap(),
            ..job(n)
        })
    };
    both(&mut twins, push(jobs(0)));
    let first = receipts(&both(&mut twins, pop(1, 1_000, 1_000)));
    both(&mut twins, Command::Extend { receipts: first.clone(), lease_ms: 2_000 });
    both(&mut twins, Command::Nack { receipts: first, delay_ms: None, error: "no".into() });
    twins.now += 60_000;
    both(&mut twins, Command::Resume);
    both(&mut twins, pop(2, 1_000, 1_000));
    twins.now += 1_000;
    let third = receipts(&both(&mut twins, pop(3, 1_000, 1_000)));
    assert_eq!(third.len(), 1_000, "all leases ran out and all jobs were there again");
    both(&mut twins, Command::Reject { receipts: third, error: String::new() });
    both(&mut twins, Command::Redrive { ids: Vec::new(), max: 1_000 });
    let fourth = receipts(&both(&mut twins, pop(4, 1_000, 1_000)));
    both(&mut twins, Command::Release { receipts: fourth });
    let fifth = receipts(&both(&mut twins, pop(5, 1_000, 1_000)));
    both(&mut twins, Command::Ack { receipts: fifth.clone() });
    both(&mut twins, Command::Ack { receipts: fifth });
    both(&mut twins, push(jobs(0)));
    twins.now += 120_000;
    // Lives that end in the lists, and the same ids in the same lists again.
    both(&mut twins, push(jobs(500)));
    twins.now += 500;
    both(&mut twins, Command::PurgeDead { ids: Vec::new(), max: 1_000 });
    both(&mut twins, push(jobs(0)));
    both(&mut twins, pop(6, 1_000, 1_000));
    both(&mut twins, Command::Purge);
}

/// Jobs of different lives: those that are over are in the lists among those that are not.
#[tokio::test]
async fn entries_without_a_job_are_passed_over() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut scripts = Scripts::load(&server);
    let mut twins = Twins::new("stale", BEGIN_MS, &mut scripts);
    let short = |n: u64| if n % 3 == 1 { 100 } else { 0 };
    both(&mut twins, push((0..900).map(|n| NewJob { ttl_ms: short(n), ..job(n) })));
    twins.now += 100;
    both(&mut twins, Command::PurgeDead { ids: Vec::new(), max: 1_000 });
    // The same ids again, behind their old entries.
    both(&mut twins, push((0..900).map(job)));
    for request in 0..20 {
        let some = receipts(&both(&mut twins, pop(request, 40, 60_000)));
        if request % 2 == 0 {
            both(&mut twins, Command::Release { receipts: some });
        }
    }
    for skip in [0, 1, 250, 499, 5_000] {
        let page = twins.page(dsync_core::queue::State::Ready, skip, 20);
        twins.ask(&[page]).unwrap();
    }
    let limits = Limits { max_jobs: 1, overflow: Overflow::DropOldest, ..Limits::default() };
    both(&mut twins, Command::Limit { limits });
    both(&mut twins, push((2_000..2_050).map(job)));
}

/// The window moves on: what it remembers takes no memory for much longer.
#[tokio::test]
async fn acknowledged_ids_are_forgotten() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut scripts = Scripts::load(&server);
    let mut twins = Twins::new("window", BEGIN_MS, &mut scripts);
    for (round, dedup_ms) in [5_000, 5_000, 700, 60_000, 0, 1, 5_000].into_iter().enumerate() {
        both(&mut twins, Command::Limit { limits: Limits { dedup_ms, ..Limits::default() } });
        for step in 0..30_u64 {
            let number = u64::try_from(round).unwrap() * 100 + step;
            both(&mut twins, push([job(number), job(number.saturating_sub(7))]));
            let all = receipts(&both(&mut twins, pop(u128::from(number), 9, 5_000)));
            both(&mut twins, Command::Ack { receipts: all });
            twins.now += 333;
        }
    }
    twins.now += 200_000;
    both(&mut twins, push([job(1)]));
    let left: Vec<String> =
        redis::cmd("KEYS").arg("*window:t*").query(scripts.connection()).unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_ready_job_takes_little_memory() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut scripts = Scripts::load(&server);
    let used = |scripts: &mut Scripts| -> u64 {
        let info: String = redis::cmd("INFO").arg("memory").query(scripts.connection()).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        line.parse().unwrap()
    };
    let mut fill = |from: u64, to: u64| {
        for at in (from..to).step_by(500) {
            let batch = (at..at + 500).map(|n| NewJob { payload: vec![b'x'; 200], ..job(n) });
            scripts.run(&name("q"), &[push(batch)], None).unwrap();
        }
        used(&mut scripts)
    };
    // The scripts and the buffers of the connection take memory too, once.
    let before = fill(0, 1_000);
    let jobs = 50_000;
    let each = (fill(1_000, 1_000 + jobs) - before) / jobs;
    println!("{each} bytes per ready job with a payload of 200");
    assert!(each <= JOB_BYTES_MAX, "{each} bytes, at most {JOB_BYTES_MAX}");
}

fn list(
    scripts: &mut Scripts,
    prefix: &str,
    after: Option<Name>,
    limit: u32,
) -> (Vec<Stats>, bool) {
    let query = Query::Queues { prefix: prefix.to_owned(), after, limit };
    let mut seen = scripts.ask(&[query], None).unwrap();
    let Some(Seen::Queues { items, more }) = seen.pop() else { panic!("{seen:?}") };
    (items, more)
}

#[tokio::test]
async fn queues_are_listed_in_order_of_name() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut scripts = Scripts::load(&server);
    assert_eq!(list(&mut scripts, "", None, 10), (Vec::new(), false));
    let mut names: Vec<Name> = (0..40).map(|n| name(&format!("mail/{n}"))).collect();
    names.extend(["a", "mail", "übung:c", "zz"].map(name));
    for queue in &names {
        scripts.run(queue, &[push([job(1), job(2)])], None).unwrap();
    }
    // These are no queues: nothing is known of them.
    scripts.run(&name("none"), &[pop(1, 1, 1_000), Command::Purge], None).unwrap();
    let paused = [Command::Pause { reason: "x".into() }, Command::Resume];
    scripts.run(&name("brief"), &paused, None).unwrap();
    scripts.run(&name("brief"), &paused[..1], None).unwrap();
    scripts.run(&name("brief"), &paused[1..], None).unwrap();
    names.sort();
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let (items, more) = list(&mut scripts, "", after.take(), 7);
        assert!(items.iter().all(|one| (one.ready, one.totals.pushed) == (2, 2)), "{items:?}");
        found.extend(items.into_iter().map(|one| one.queue));
        after = found.last().cloned();
        if !more {
            break;
        }
    }
    assert_eq!(found, names);
    assert_eq!(list(&mut scripts, "mail/", Some(name("a")), 1_000).0.len(), 40);
    assert_eq!(list(&mut scripts, "mail/1", Some(name("mail/15")), 1_000).0.len(), 4);
}

fn moment(done: &Done) -> (u64, u64) {
    let Some(Outcome::Popped(popped)) = done.outcomes.last() else { panic!("{done:?}") };
    (popped.jobs.first().unwrap().receipt.token, done.now_ms)
}

/// The clock of Redis: tokens are no smaller than it, so that none comes twice after writes were lost.
#[tokio::test]
async fn without_a_clock_that_of_redis_counts() {
    let server = Redis::start(RedisPlan::default()).await;
    let mut scripts = Scripts::load(&server);
    let queue = name("clock");
    let first = scripts.run(&queue, &[push([job(1)]), pop(1, 1, 1_000)], None).unwrap();
    let (token, now) = moment(&first);
    assert!(now > BEGIN_MS && token > now * 1_000, "{first:?}");
    assert_eq!((first.ready, first.woken, first.next_due_ms), (0, true, Some(1_000)));
    redis::cmd("FLUSHALL").exec(scripts.connection()).unwrap();
    let mut scripts = Scripts::load(&server);
    let second = scripts.run(&queue, &[push([job(1)]), pop(1, 1, 1_000)], None).unwrap();
    assert!(moment(&second).0 > token, "{second:?}");
}

/// A server that was killed has all that it answered, with its files synced before each answer.
#[tokio::test]
async fn a_killed_server_comes_back_with_all_it_answered() {
    let plan =
        RedisPlan { append_only: true, password: Some("secret".into()), ..RedisPlan::default() };
    let mut server = Redis::start(plan).await;
    let queue = name("kept");
    let mut scripts = Scripts::load(&server);
    scripts.run(&queue, &[push((0..20).map(job))], None).unwrap();
    let done = scripts.run(&queue, &[pop(7, 5, 60_000)], None).unwrap();
    let held = receipts(&done.outcomes);
    scripts.run(&queue, &[Command::Ack { receipts: held[..2].to_vec() }], None).unwrap();
    server.kill9();
    assert!(scripts.run(&queue, &[], None).is_err(), "nobody answers");
    server.restart().await;
    let mut scripts = Scripts::load(&server);
    let again = scripts.run(&queue, &[pop(7, 5, 60_000)], None).unwrap();
    assert_eq!(receipts(&again.outcomes), held[2..], "the same pop, what is left of it");
    let commands = [push([job(0), job(19)]), Command::Ack { receipts: held }];
    let done = scripts.run(&queue, &commands, None).unwrap();
    assert!(
        matches!(&done.outcomes[0], Outcome::Pushed(list) if list.iter().all(|one| matches!(one, Pushed::Duplicate { .. })))
    );
    assert_eq!(done.outcomes[1], Outcome::Settled(vec![Settled::Done; 5]));
    let audit = scripts.ask(&[Query::Audit { queue }], None).unwrap();
    assert_eq!(audit, [Seen::Audit(Vec::new())]);
}

#[tokio::test]
async fn a_partition_has_a_limit_of_queues() {
    use dsync_core::queue::partition_of;
    use dsync_core::queue::redis::PARTITION_QUEUES_MAX;
    let server = Redis::start(RedisPlan::default()).await;
    let mut scripts = Scripts::load(&server);
    let of_first =
        (0..).map(|n| name(&format!("queue {n}"))).filter(|queue| partition_of(queue) == 0);
    let mut all = of_first.take(PARTITION_QUEUES_MAX + 1);
    for queue in all.by_ref().take(PARTITION_QUEUES_MAX) {
        let done = scripts.run(&queue, &[push([job(1)])], None).unwrap();
        assert_eq!(done.outcomes, [Outcome::Pushed(vec![Pushed::Created])]);
    }
    let one_more = all.next().unwrap();
    let commands = [push([job(1)]), pop(0, 0, 1_000)];
    let done = scripts.run(&one_more, &commands, None).unwrap();
    assert!(
        matches!(&done.outcomes[..], [Outcome::LimitReached(_), Outcome::Invalid(_)]),
        "{done:?}"
    );
}
