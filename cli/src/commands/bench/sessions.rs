//! Sessions that do nothing but live: what their keep-alives cost.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::args::BenchLock;
use crate::error::Result;
use crate::lease::signals::Signals;
use crate::output::{human, progress};

use super::tally::{Report, Tally};
use super::{Ctx, Worker, close_all, open_all};

/// Holds sessions for a while; an operation is one keep-alive.
pub(super) async fn run(args: &BenchLock, count: u32, ctx: &Ctx) -> Result<Report> {
    let mut signals = Signals::ending()?;
    let opening = progress::steps(&ctx.out, u64::from(count), "opening sessions".to_owned());
    let workers = open_all(args, count, ctx, &opening).await?;
    opening.finish_and_clear();
    ctx.out.detail(&format!("{count} sessions are open"));

    let tally = Rc::new(RefCell::new(Tally::new()));
    let stop = Rc::new(Cell::new(false));
    let begun = Instant::now();
    let until = begun + args.duration;
    let period = args.ttl / 3;
    let mut loops = FuturesUnordered::new();
    for (at, worker) in workers.into_iter().enumerate() {
        // Spread over the period, as those of independent clients are.
        let share = u32::try_from(at).unwrap_or(0);
        let first = begun + period.mul_f64(f64::from(share) / f64::from(count.max(1)));
        loops.push(live(worker, first, period, until, Rc::clone(&tally), Rc::clone(&stop)));
    }
    let bar = progress::time(&ctx.out, args.duration, "holding sessions".to_owned());
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut workers = Vec::new();
    loop {
        tokio::select! {
            done = loops.next() => match done {
                Some(worker) => workers.push(worker),
                None => break,
            },
            _ = tick.tick() => {
                bar.set_position(human::millis(begun.elapsed()));
                let tally = tally.borrow();
                bar.set_message(format!("{} keep-alives, {} errors", tally.operations(), tally.errors()));
            }
            _ = signals.next_ending() => {
                if stop.replace(true) {
                    break;
                }
            }
        }
    }
    let elapsed = Instant::now().min(until).saturating_duration_since(begun);
    bar.finish_and_clear();
    close_all(workers, ctx).await;
    let tally = tally.borrow();
    Ok(tally.report("sessions", count, args.connections, elapsed))
}

/// One session: a keep-alive per period.
async fn live(
    worker: Worker,
    first: Instant,
    period: Duration,
    until: Instant,
    tally: Rc<RefCell<Tally>>,
    stop: Rc<Cell<bool>>,
) -> Worker {
    let mut next = first;
    loop {
        // Half-second looks at the flag, so that an interruption is quick.
        while Instant::now() < next.min(until) && !stop.get() {
            let look = Instant::now() + Duration::from_millis(500);
            tokio::time::sleep_until(look.min(next).min(until)).await;
        }
        if Instant::now() >= until || stop.get() {
            return worker;
        }
        let sent = Instant::now();
        let result = worker.keep_alive().await;
        match result {
            Ok(()) => tally.borrow_mut().operation(sent.elapsed()),
            Err(fault) => tally.borrow_mut().error(&fault),
        }
        next += period;
    }
}
