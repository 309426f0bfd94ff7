//! `dsctl bench …`.

mod cache;
mod pairs;
mod queue;
mod sessions;
pub(crate) mod tally;

use std::cell::RefCell;
use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync::{CallOptions, Client};
use dsync_core::lock::{Command, Outcome, Request, RequestKey, SessionId};
use dsync_core::name::Name;
use dsync_core::{Code, Fault};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::args::{Bench, BenchLock, BenchRun, Slo};
use crate::connect;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::lease::signals::Signals;
use crate::lease::take::interrupted;
use crate::output::{human, progress, views};

use super::Ctx;
use super::ctx::random_id;

use self::tally::{Report, Tally};

/// Sessions opened or closed at the same time.
const TOGETHER: usize = 256;
/// So long the end waits for an answer, of a last operation or of a session that is closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// Carries a verb out.
pub(super) async fn run(verb: Bench, ctx: &Ctx) -> Result<Exit> {
    let (report, slo) = match verb {
        Bench::Lock(args) => match args.sessions {
            Some(count) => (sessions::run(&args, count, ctx).await?, args.slo),
            None => (pairs::run(&args, ctx).await?, args.slo),
        },
        Bench::Queue(args) => (queue::run(&args, ctx).await?, args.slo),
        Bench::Cache(args) => (cache::run(&args, ctx).await?, args.slo),
    };
    let missed = missed(&slo, &report);
    ctx.out.show(&views::bench::report(&report, &missed))?;
    for one in &missed {
        ctx.out.note(&format!("missed: {one}"));
    }
    Ok(if missed.is_empty() { Exit::Done } else { Exit::Findings })
}

/// The time of a measurement.
struct Measured {
    run: BenchRun,
    /// What ends between these two counts.
    from: Instant,
    until: Instant,
    /// Longest wait for the last answers.
    grace: Duration,
}

impl Measured {
    /// Runs the clients until all are done, the time is over, or a signal comes; shows how many
    /// operations of that name were counted. Gives how many clients had no answer when all was over,
    /// and how long it was measured.
    async fn drive(
        &self,
        mut loops: FuturesUnordered<impl Future<Output = ()>>,
        (what, tally): (&str, &RefCell<Tally>),
        ctx: &Ctx,
        signals: &mut Signals,
    ) -> (usize, Duration) {
        let BenchRun { warmup, duration, .. } = self.run;
        let bar = progress::time(&ctx.out, warmup + duration, "measuring".to_owned());
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        let left = loop {
            tokio::select! {
                done = loops.next() => if done.is_none() { break 0 },
                now = tick.tick() => {
                    let gone = (now + warmup).saturating_duration_since(self.from);
                    bar.set_position(human::millis(gone));
                    let tally = tally.borrow();
                    let (done, errors) = (tally.operations(), tally.errors());
                    bar.set_message(format!("{done} {what}, {errors} errors"));
                }
                () = tokio::time::sleep_until(self.until + self.grace) => break loops.len(),
                _ = signals.next_ending() => break 0,
            }
        };
        drop(loops);
        let elapsed = Instant::now().min(self.until).saturating_duration_since(self.from);
        bar.finish_and_clear();
        (left, elapsed)
    }
}

/// The limits that were not met, in words.
fn missed(slo: &[Slo], report: &Report) -> Vec<String> {
    let ms = |limit: Duration| limit.as_secs_f64() * 1e3;
    // Nothing that succeeded has no latency, which is no short one.
    let none = |what: &str| Some(format!("{what} is unknown: no operation succeeded"));
    slo.iter()
        .filter_map(|limit| match *limit {
            Slo::P50(_) if report.operations == 0 => none("p50"),
            Slo::P99(_) if report.operations == 0 => none("p99"),
            Slo::P50(most) => (report.p50_ms > ms(most)).then(|| {
                format!("p50 is {:.3} ms, at most {:.3} ms wanted", report.p50_ms, ms(most))
            }),
            Slo::P99(most) => (report.p99_ms > ms(most)).then(|| {
                format!("p99 is {:.3} ms, at most {:.3} ms wanted", report.p99_ms, ms(most))
            }),
            Slo::Rate(least) => (report.rate < least)
                .then(|| format!("the rate is {:.1}/s, at least {least:.1}/s wanted", report.rate)),
            Slo::Errors(most) => (report.errors > most)
                .then(|| format!("{} errors, at most {most} wanted", report.errors)),
        })
        .collect()
}

/// The connections that all clients share.
fn spread(connections: u32, ctx: &Ctx) -> Vec<Client> {
    // Each begins with another endpoint, so that the nodes share the work.
    let endpoints = &ctx.settings.endpoints;
    (0..connections)
        .map(|at| {
            let mut turned = endpoints.clone();
            let by = usize::try_from(at).unwrap_or(0) % turned.len().max(1);
            turned.rotate_left(by);
            connect::client(ctx.net(), &turned)
        })
        .collect()
}

/// One client of the measurement: a session on a shared connection.
#[derive(Debug, Clone)]
struct Worker {
    client: Client,
    session: SessionId,
    seq: u64,
    /// Time for one call, beside what it asks the node to wait.
    timeout: Duration,
}

impl Worker {
    /// Opens a session.
    async fn open(
        client: Client,
        ttl: Duration,
        owner: Name,
        timeout: Duration,
    ) -> std::result::Result<Self, Fault> {
        let command = Command::OpenSession {
            ttl_ms: human::millis(ttl),
            owner,
            meta: "dsctl bench".to_owned(),
            ephemeral: false,
        };
        let key = RequestKey::Detached(random_id());
        let request = Request { key, first_outstanding: 0, command };
        match call(&client, LockRequest::Do(request), timeout).await? {
            LockReply::Outcome(Outcome::SessionOpened { session, .. }) => {
                Ok(Self { client, session, seq: 0, timeout })
            }
            other => Err(refused(&other)),
        }
    }

    /// Changes something under the session's next number.
    async fn change(&mut self, command: Command) -> std::result::Result<Outcome, Fault> {
        self.seq += 1;
        self.request(self.seq, command).await
    }

    async fn request(&self, seq: u64, command: Command) -> std::result::Result<Outcome, Fault> {
        let key = RequestKey::Session { session: self.session, seq };
        let request = Request { key, first_outstanding: seq, command };
        match call(&self.client, LockRequest::Do(request), self.timeout).await? {
            LockReply::Outcome(outcome) => Ok(outcome),
            other => Err(refused(&other)),
        }
    }

    /// Keeps the session alive.
    async fn keep_alive(&self) -> std::result::Result<(), Fault> {
        let request = LockRequest::KeepAlive { session: self.session };
        match call(&self.client, request, self.timeout).await? {
            LockReply::KeptAlive { .. } => Ok(()),
            other => Err(refused(&other)),
        }
    }

    /// Ends the session, and with it all that it holds and waits for, whatever it was doing.
    async fn close(self) -> bool {
        matches!(
            self.request(LAST_SEQ, Command::CloseSession).await,
            Ok(Outcome::SessionClosed | Outcome::SessionExpired)
        )
    }
}

/// Above that of every operation.
const LAST_SEQ: u64 = 0xffff_ffff;

/// One call, without a repetition's name: a lost answer counts as an error.
async fn call(
    client: &Client,
    request: LockRequest,
    timeout: Duration,
) -> std::result::Result<LockReply, Fault> {
    let options = CallOptions { timeout, ..CallOptions::default() };
    client.lock(request, options).await?.result
}

fn refused(reply: &LockReply) -> Fault {
    Fault::new(Code::Internal, format!("an answer that was not asked for: {reply:?}"))
}

/// Opens sessions, many at a time. Whatever stops it closes those that are open.
async fn open_all(
    args: &BenchLock,
    count: u32,
    ctx: &Ctx,
    bar: &indicatif::ProgressBar,
    signals: &mut Signals,
) -> Result<Vec<Worker>> {
    let clients = spread(args.run.connections, ctx);
    let owner = ctx.settings.owner(None)?;
    let timeout = ctx.settings.timeout;
    let opening = (0..count).map(|at| {
        let share = usize::try_from(at).unwrap_or(0) % clients.len().max(1);
        let client = clients.get(share).cloned();
        let owner = owner.clone();
        async move {
            let client = client.ok_or_else(|| Fault::new(Code::Internal, "no connection"))?;
            Worker::open(client, args.ttl, owner, timeout).await
        }
    });
    let mut opening = futures::stream::iter(opening).buffer_unordered(TOGETHER);
    let mut workers = Vec::new();
    let failed = loop {
        let opened = tokio::select! {
            opened = opening.next() => opened,
            signal = signals.next_ending() => break interrupted(signal),
        };
        match opened {
            None => return Ok(workers),
            Some(Ok(worker)) => workers.push(worker),
            // Another session of this measurement can do as little.
            Some(Err(fault)) => break Failure::from(fault).once_only(),
        }
        bar.inc(1);
    };
    drop(opening);
    bar.finish_and_clear();
    close_all(workers, ctx, signals).await;
    Err(failed)
}

/// Closes sessions, many at a time; what cannot be closed ends with its lease. A cluster that says
/// nothing any more does not hold up the end, nor does one more signal wait for it.
async fn close_all(workers: Vec<Worker>, ctx: &Ctx, signals: &mut Signals) {
    let mut left = workers.len();
    let mut closing =
        futures::stream::iter(workers.into_iter().map(Worker::close)).buffer_unordered(TOGETHER);
    let mut until = Instant::now() + FAREWELL;
    loop {
        tokio::select! {
            closed = closing.next() => match closed {
                Some(true) => {
                    left -= 1;
                    until = Instant::now() + FAREWELL;
                }
                Some(false) => {}
                None => break,
            },
            () = tokio::time::sleep_until(until) => break,
            _ = signals.next_ending() => break,
        }
    }
    if left > 0 {
        ctx.out.note(&format!("{left} sessions could not be closed; they end with their lease"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_limit_is_named() {
        let report = Report {
            what: "lock",
            clients: 64,
            rate: 900.0,
            p50_ms: 1.0,
            p99_ms: 60.0,
            operations: 900,
            errors: 2,
            ..Report::default()
        };
        let slo = [
            Slo::P50(Duration::from_millis(5)),
            Slo::P99(Duration::from_millis(50)),
            Slo::Rate(1_000.0),
            Slo::Errors(0),
        ];
        insta::assert_snapshot!(missed(&slo, &report).join("\n"), @"
        p99 is 60.000 ms, at most 50.000 ms wanted
        the rate is 900.0/s, at least 1000.0/s wanted
        2 errors, at most 0 wanted
        ");
        assert!(missed(&[], &report).is_empty());
    }

    #[test]
    fn without_an_operation_every_latency_is_missed() {
        let slo = [
            Slo::P50(Duration::from_secs(60)),
            Slo::P99(Duration::from_secs(60)),
            Slo::Rate(0.1),
            Slo::Errors(1_000),
        ];
        let report = Report { errors: 128, ..Report::default() };
        insta::assert_snapshot!(missed(&slo, &report).join("\n"), @"
        p50 is unknown: no operation succeeded
        p99 is unknown: no operation succeeded
        the rate is 0.0/s, at least 0.1/s wanted
        ");
    }
}
