//! What a job costs Redis: processor time of push, pop and ack through the queue's scripts, by the
//! size of a batch, beside bare list commands: `lua_bench [JOBS]`.
//!
//! Prints one line per figure. A release build is not needed: what is measured is redis-server.
#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::panic, clippy::expect_used, reason = "a bench fails by panicking")]

use dsync_core::name::Name;
use dsync_core::queue::redis::{COMMANDS, decode, encode};
use dsync_core::queue::{Backoff, Command, JobId, NewJob, Outcome, Receipt};
use dsync_tests::process::{Redis, RedisPlan};
use dsync_tests::queue::scripts::{evalsha, reply};
use redis::{Connection, Pipeline, Value};

/// Bytes of a payload.
const PAYLOAD: usize = 200;
/// Calls in flight at one time.
const DEPTH: usize = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let jobs = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(50_000);
    let server = Redis::start(RedisPlan::default()).await;
    let mut connection = server.connection();
    bare(&mut connection, jobs);
    for batch in [1, 10, 50, 200] {
        scripts(&mut connection, jobs, batch);
    }
}

/// A figure of INFO.
fn info(connection: &mut Connection, section: &str, field: &str) -> f64 {
    let text: String =
        redis::cmd("INFO").arg(section).query(connection).expect("redis-server runs");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("INFO has no {field}"))
}

/// Processor time so far, in microseconds.
fn processor(connection: &mut Connection) -> f64 {
    let seconds =
        info(connection, "cpu", "used_cpu_user") + info(connection, "cpu", "used_cpu_sys");
    seconds * 1e6
}

fn flush(connection: &mut Connection) {
    redis::cmd("FLUSHALL").exec(connection).expect("redis-server runs");
}

fn count(jobs: usize) -> f64 {
    f64::from(u32::try_from(jobs).expect("a few jobs"))
}

/// Sends commands, some at a time; their answers, and the processor time of one job.
fn timed(connection: &mut Connection, jobs: usize, all: Vec<redis::Cmd>) -> (Vec<Value>, f64) {
    let before = processor(connection);
    let mut values = Vec::new();
    let mut all = all.into_iter().peekable();
    while all.peek().is_some() {
        let mut pipe = Pipeline::new();
        for command in all.by_ref().take(DEPTH) {
            pipe.add_command(command);
        }
        let part: Vec<Value> = pipe.query(connection).expect("the calls are well formed");
        values.extend(part);
    }
    (values, (processor(connection) - before) / count(jobs))
}

/// The least that a list can do.
fn bare(connection: &mut Connection, jobs: usize) {
    flush(connection);
    let payload = vec![b'x'; PAYLOAD];
    let one = |name: &str, value: Option<&[u8]>| {
        let mut command = redis::cmd(name);
        command.arg("list").arg(value);
        command
    };
    let (_, push) = timed(connection, jobs, vec![one("RPUSH", Some(&payload)); jobs]);
    let (_, pop) = timed(connection, jobs, vec![one("LPOP", None); jobs]);
    println!("bare list: RPUSH {push:.2} us, LPOP {pop:.2} us of each job, {DEPTH} in flight");
}

fn new_job(number: usize) -> NewJob {
    // Spread like random ids, and the same in every run.
    let bits =
        u128::try_from(number).unwrap_or(0).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    NewJob {
        id: JobId::random(bits),
        payload: vec![b'x'; PAYLOAD],
        priority: 0,
        delay_ms: 0,
        max_attempts: 5,
        backoff: Backoff::default(),
        ttl_ms: 0,
        headers: Vec::new(),
    }
}

/// Every job is pushed, popped and acknowledged, each command for one job, `batch` of them per call.
fn scripts(connection: &mut Connection, jobs: usize, batch: usize) {
    flush(connection);
    let sha: String =
        redis::cmd("SCRIPT").arg("LOAD").arg(COMMANDS).query(connection).expect("it compiles");
    let queue = Name::parse("queue", "bench").expect("a name");
    let numbers: Vec<usize> = (0..jobs).collect();
    let call = |commands: &[Command]| evalsha(&sha, &encode(&queue, commands, None));
    let push = |number: &usize| Command::Push { jobs: vec![new_job(*number)] };
    let pushes: Vec<Vec<Command>> =
        numbers.chunks(batch).map(|part| part.iter().map(push).collect()).collect();
    let before = info(connection, "memory", "used_memory");
    let (_, pushed) = timed(connection, jobs, pushes.iter().map(|part| call(part)).collect());
    let bytes = (info(connection, "memory", "used_memory") - before) / count(jobs);

    let pop = |number: &usize| Command::Pop {
        request: u128::try_from(*number).unwrap_or(0),
        max: u32::try_from(batch).expect("a small batch"),
        lease_ms: 600_000,
        ack: false,
        consumer: Name::parse("consumer", "bench").expect("a name"),
    };
    let pops: Vec<Vec<Command>> =
        numbers.iter().step_by(batch).map(|number| vec![pop(number)]).collect();
    let (values, popped) = timed(connection, jobs, pops.iter().map(|one| call(one)).collect());
    let mut acks: Vec<Vec<Command>> = Vec::new();
    for (commands, value) in pops.iter().zip(values) {
        acks.push(receipts(commands, value).into_iter().map(ack).collect());
    }
    let (_, acked) = timed(connection, jobs, acks.iter().map(|part| call(part)).collect());
    let all = pushed + popped + acked;
    println!(
        "scripts, {batch:3} per call: push {pushed:.2} us, pop {popped:.2} us, ack {acked:.2} us, together {all:.2} us; {bytes:.0} bytes per ready job of {PAYLOAD}"
    );
}

fn receipts(commands: &[Command], value: Value) -> Vec<Receipt> {
    let done = decode(commands, reply(value)).expect("the script answers");
    let mut all = Vec::new();
    for outcome in done.outcomes {
        let Outcome::Popped(popped) = outcome else { panic!("{outcome:?}") };
        all.extend(popped.jobs.into_iter().map(|job| job.receipt));
    }
    assert!(!all.is_empty(), "a pop gave nothing");
    all
}

fn ack(receipt: Receipt) -> Command {
    Command::Ack { receipts: vec![receipt] }
}
