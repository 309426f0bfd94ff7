//! Cycles of push, take and acknowledgement on a queue that all clients share.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use dsync::api::{POP_WAIT_MAX_MS, QueueReply, QueueRequest};
use dsync::{CallOptions, Client};
use dsync_core::name::Name;
use dsync_core::queue::{
    Backoff, Command, DEFAULT_LEASE_MS, JobId, NewJob, Outcome, Pushed, Receipt, Settled,
};
use dsync_core::{Code, Fault};
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::args::BenchQueue;
use crate::commands::ctx::random_id;
use crate::error::{Failure, Result};
use crate::lease::signals::Signals;
use crate::output::human;

use super::tally::{Report, Tally};
use super::{Ctx, FAREWELL, Measured, spread};

/// Longest wait for a job that another client took first.
const WAIT: Duration = Duration::from_secs(1);

/// What all clients share.
struct Plan {
    tally: RefCell<Tally>,
    queue: Name,
    consumer: Name,
    payload: Vec<u8>,
    batch: u32,
    timeout: Duration,
    /// Cycles that end between these two count.
    from: Instant,
    until: Instant,
}

/// Measures cycles.
pub(super) async fn run(args: &BenchQueue, ctx: &Ctx) -> Result<Report> {
    let mut signals = Signals::ending()?;
    let clients = spread(args.run.connections, ctx);
    let queue = Name::parse("queue", &format!("bench/{:032x}", random_id()))?;
    let plan = Plan {
        tally: RefCell::new(Tally::new()),
        consumer: ctx.settings.owner(None)?,
        payload: vec![b'x'; usize::try_from(args.size).unwrap_or(0)],
        batch: args.batch,
        timeout: ctx.settings.timeout,
        from: Instant::now(),
        until: Instant::now(),
        queue,
    };
    check(&plan)?;
    // The first call finds the node in charge; where there is none, that is all there is to say.
    let Some(first) = clients.first() else { return Err(Failure::usage("no connections")) };
    plan.change(first, Command::Resume).await.map_err(Failure::from)?;

    let from = Instant::now() + args.run.warmup;
    let plan = Rc::new(Plan { from, until: from + args.run.duration, ..plan });
    let loops: FuturesUnordered<_> = (0..args.clients)
        .zip(clients.iter().cycle())
        .map(|(_, client)| work(client.clone(), Rc::clone(&plan)))
        .collect();
    let measured = Measured { run: args.run, from, until: plan.until, grace: WAIT + FAREWELL };
    let (left, elapsed) = measured.drive(loops, ("jobs", &plan.tally), ctx, &mut signals).await;
    plan.give_up(left);
    clean_up(ctx, &plan, first).await;
    let tally = plan.tally.borrow();
    Ok(tally.report("queue", args.clients, args.run.connections, elapsed))
}

/// Refuses what no node would take, before anything is measured.
fn check(plan: &Plan) -> Result<()> {
    Ok(dsync_core::queue::check(&Command::Push { jobs: plan.jobs() })?)
}

/// Removes the queue.
async fn clean_up(ctx: &Ctx, plan: &Plan, client: &Client) {
    let purged = tokio::time::timeout(2 * FAREWELL, plan.change(client, Command::Delete)).await;
    if !matches!(purged, Ok(Ok(_))) {
        ctx.out.note(&format!("{} could not be removed; `dsctl queue delete` does it", plan.queue));
    }
}

/// One client: cycles, one after the other, until the time is over.
async fn work(client: Client, plan: Rc<Plan>) {
    loop {
        let begun = Instant::now();
        if begun >= plan.until {
            return;
        }
        let result = plan.cycle(&client).await;
        let ended = Instant::now();
        match result {
            Ok(jobs) if ended >= plan.from && ended <= plan.until => {
                let mut tally = plan.tally.borrow_mut();
                (0..jobs).for_each(|_| tally.operation(ended - begun));
            }
            Ok(_) => {}
            Err(fault) => {
                plan.tally.borrow_mut().error(&fault);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

impl Plan {
    /// Pushes, takes and acknowledges as many jobs. Gives how many were acknowledged: another client
    /// may have taken some of those that this one pushed.
    async fn cycle(&self, client: &Client) -> std::result::Result<usize, Fault> {
        match self.change(client, Command::Push { jobs: self.jobs() }).await? {
            Outcome::Pushed(all) if all.iter().all(|one| *one == Pushed::Created) => {}
            other => return Err(unlike("push", &other)),
        }
        let mut acked = 0;
        let mut rest = self.batch;
        // The jobs of a batch may be more than one answer holds.
        while rest > 0 {
            let receipts = self.take(client, rest).await?;
            if receipts.is_empty() {
                break;
            }
            rest -= rest.min(u32::try_from(receipts.len()).unwrap_or(rest));
            match self.change(client, Command::Ack { receipts }).await? {
                Outcome::Settled(all) if all.iter().all(|one| *one == Settled::Done) => {
                    acked += all.len();
                }
                other => return Err(unlike("ack", &other)),
            }
        }
        Ok(acked)
    }

    async fn take(&self, client: &Client, max: u32) -> std::result::Result<Vec<Receipt>, Fault> {
        let command = Command::Pop {
            request: random_id(),
            max,
            lease_ms: DEFAULT_LEASE_MS,
            ack: false,
            consumer: self.consumer.clone(),
        };
        match self.change(client, command).await? {
            Outcome::Popped(popped) => Ok(popped.jobs.into_iter().map(|job| job.receipt).collect()),
            other => Err(unlike("pop", &other)),
        }
    }

    fn jobs(&self) -> Vec<NewJob> {
        let job = |_| NewJob {
            id: JobId::random(rand::random()),
            payload: self.payload.clone(),
            priority: 0,
            delay_ms: 0,
            max_attempts: 0,
            backoff: Backoff { base_ms: 0, max_ms: 0 },
            ttl_ms: 0,
            headers: Vec::new(),
        };
        (0..self.batch).map(job).collect()
    }

    /// One call, without a repetition's name: a lost answer counts as an error.
    async fn change(
        &self,
        client: &Client,
        command: Command,
    ) -> std::result::Result<Outcome, Fault> {
        let wait = if matches!(command, Command::Pop { .. }) { WAIT } else { Duration::ZERO };
        let wait_ms = human::millis(wait).min(POP_WAIT_MAX_MS);
        let queue = self.queue.clone();
        let request = QueueRequest::Do { queue, command, wait_ms, durability: None };
        let options = CallOptions { timeout: self.timeout + wait, ..CallOptions::default() };
        match client.queue(request, options).await?.result? {
            QueueReply::Outcome { outcome, .. } => Ok(outcome),
            other => Err(unlike("call", &other)),
        }
    }

    /// So many clients had no answer when all was over.
    fn give_up(&self, clients: usize) {
        let mut tally = self.tally.borrow_mut();
        for _ in 0..clients {
            tally.error(&Fault::new(Code::Timeout, "no answer when the time was over"));
        }
    }
}

fn unlike(what: &str, said: &impl std::fmt::Debug) -> Fault {
    let said = format!("{said:?}");
    let short: String = said.chars().take(200).collect();
    Fault::new(Code::Conflict, format!("{what}: an answer that was not hoped for: {short}"))
}
