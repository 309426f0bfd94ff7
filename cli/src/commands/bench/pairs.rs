//! Pairs of acquire and release: each client its own lock, or all of them one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync_core::lock::{Command, Grant, Lookup, Mode, Outcome, Policy, RequestKey, Want};
use dsync_core::name::Name;
use dsync_core::{Code, Fault};
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::args::BenchLock;
use crate::error::Result;
use crate::lease::signals::Signals;
use crate::output::{human, progress};

use super::tally::{Report, Tally};
use super::{Ctx, FAREWELL, Measured, Worker, call, close_all, open_all};

/// Longest wait of one long poll.
const SLICE: Duration = Duration::from_secs(5);
/// Longest wait for a contended lock.
const WAIT: Duration = Duration::from_secs(60);

/// What all clients share.
struct Plan {
    tally: RefCell<Tally>,
    owner: Name,
    ttl: Duration,
    contended: bool,
    /// Pairs that end between these two count.
    from: Instant,
    until: Instant,
}

/// Measures pairs.
pub(super) async fn run(args: &BenchLock, ctx: &Ctx) -> Result<Report> {
    let mut signals = Signals::ending()?;
    let opening = progress::steps(&ctx.out, u64::from(args.clients), "opening sessions".to_owned());
    let workers = open_all(args, args.clients, ctx, &opening, &mut signals).await?;
    opening.finish_and_clear();

    let from = Instant::now() + args.run.warmup;
    let plan = Rc::new(Plan {
        tally: RefCell::new(Tally::new()),
        owner: ctx.settings.owner(None)?,
        ttl: args.ttl,
        contended: args.contended,
        from,
        until: from + args.run.duration,
    });
    let run_id = rand::random::<u32>();
    let loops = FuturesUnordered::new();
    for (at, worker) in workers.iter().cloned().enumerate() {
        let number = if args.contended { 0 } else { at };
        let lock = Name::parse("lock", &format!("bench/{run_id:08x}/{number}"))?;
        loops.push(work(worker, lock, Rc::clone(&plan)));
    }
    let measured = Measured { run: args.run, from, until: plan.until, grace: FAREWELL };
    let (left, elapsed) = measured.drive(loops, ("pairs", &plan.tally), ctx, &mut signals).await;
    plan.give_up(left);
    close_all(workers, ctx, &mut signals).await;
    let what = if args.contended { "lock-contended" } else { "lock" };
    let tally = plan.tally.borrow();
    Ok(tally.report(what, args.clients, args.run.connections, elapsed))
}

impl Plan {
    /// So many clients had no answer when all was over. Those that want one lock stand in its queue,
    /// where there is nothing wrong with waiting.
    fn give_up(&self, clients: usize) {
        let mut tally = self.tally.borrow_mut();
        for _ in 0..if self.contended { 0 } else { clients } {
            tally.error(&Fault::new(Code::Timeout, "no answer when the time was over"));
        }
    }
}

/// One client: pairs, one after the other, until the time is over.
async fn work(mut worker: Worker, lock: Name, plan: Rc<Plan>) {
    let mut renewed = Instant::now();
    loop {
        let begun = Instant::now();
        if begun >= plan.until {
            return;
        }
        let result = pair(&mut worker, &lock, &plan).await;
        let ended = Instant::now();
        match result {
            Ok(()) if ended >= plan.from && ended <= plan.until => {
                plan.tally.borrow_mut().operation(ended - begun);
            }
            Ok(()) => {}
            Err(fault) => {
                plan.tally.borrow_mut().error(&fault);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        if renewed.elapsed() > plan.ttl / 3 {
            renewed = ended;
            if let Err(fault) = worker.keep_alive().await {
                plan.tally.borrow_mut().error(&fault);
            }
        }
    }
}

/// Takes the lock and gives it back.
async fn pair(worker: &mut Worker, lock: &Name, plan: &Plan) -> std::result::Result<(), Fault> {
    let wait = if plan.contended { WAIT } else { Duration::ZERO };
    let command = Command::Acquire {
        wants: vec![Want { lock: lock.clone(), mode: Mode::Exclusive }],
        owner: plan.owner.clone(),
        wait_ms: human::millis(wait),
        policy: Policy::Detect,
        age: 0,
        max_hold_ms: 0,
    };
    let outcome = match worker.change(command).await? {
        Outcome::Queued { .. } => decided(worker, plan).await?,
        outcome => outcome,
    };
    let token = match outcome {
        Outcome::Granted(grants) => grants.first().map(|grant: &Grant| grant.token),
        other => return Err(unlike("acquire", &other)),
    };
    let command = Command::Release { lock: lock.clone(), token, owner: None, all: true };
    match worker.change(command).await? {
        Outcome::Released { .. } => Ok(()),
        other => Err(unlike("release", &other)),
    }
}

/// Waits for a queued request and keeps the session alive meanwhile.
async fn decided(worker: &Worker, plan: &Plan) -> std::result::Result<Outcome, Fault> {
    let key = RequestKey::Session { session: worker.session, seq: worker.seq };
    let slice = SLICE.min(plan.ttl / 3);
    let wait_ms = human::millis(slice);
    loop {
        let request = LockRequest::Await { key, wait_ms };
        match call(&worker.client, request, worker.timeout + slice).await? {
            LockReply::Lookup(Lookup::Done(outcome)) => return Ok(outcome),
            LockReply::Lookup(Lookup::Pending { .. }) => worker.keep_alive().await?,
            // The node has not applied the request yet.
            LockReply::Lookup(Lookup::Unknown) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => return Err(super::refused(&other)),
        }
    }
}

fn unlike(what: &str, outcome: &Outcome) -> Fault {
    let fault = crate::commands::refusal::of(outcome, what).fault;
    Fault::new(Code::Conflict, format!("{what}: {}", fault.message))
}
