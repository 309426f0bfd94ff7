//! Sessions that do nothing but live: what their keep-alives cost.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use dsync_core::{Code, Fault};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::args::BenchLock;
use crate::error::Result;
use crate::lease::signals::Signals;
use crate::output::{human, progress};

use super::tally::{Report, Tally};
use super::{Ctx, FAREWELL, Worker, close_all, open_all};

/// Holds sessions for a while; an operation is one keep-alive.
pub(super) async fn run(args: &BenchLock, count: u32, ctx: &Ctx) -> Result<Report> {
    let mut signals = Signals::ending()?;
    let opening = progress::steps(&ctx.out, u64::from(count), "opening sessions".to_owned());
    let workers = open_all(args, count, ctx, &opening, &mut signals).await?;
    opening.finish_and_clear();
    ctx.out.detail(&format!("{count} sessions are open"));

    let tally = Rc::new(RefCell::new(Tally::new()));
    let begun = Instant::now();
    let until = begun + args.run.duration;
    let period = args.ttl / 3;
    let mut loops = FuturesUnordered::new();
    for (at, worker) in workers.iter().cloned().enumerate() {
        // Spread over the period, as those of independent clients are.
        let share = u32::try_from(at).unwrap_or(0);
        let first = begun + period.mul_f64(f64::from(share) / f64::from(count.max(1)));
        loops.push(live(worker, first, period, until, Rc::clone(&tally)));
    }
    let bar = progress::time(&ctx.out, args.run.duration, "holding sessions".to_owned());
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            done = loops.next() => if done.is_none() { break },
            _ = tick.tick() => {
                bar.set_position(human::millis(begun.elapsed()));
                let tally = tally.borrow();
                bar.set_message(format!("{} keep-alives, {} errors", tally.operations(), tally.errors()));
            }
            () = tokio::time::sleep_until(until + FAREWELL) => {
                let mut tally = tally.borrow_mut();
                for _ in 0..loops.len() {
                    tally.error(&Fault::new(Code::Timeout, "no answer when the time was over"));
                }
                break;
            }
            _ = signals.next_ending() => break,
        }
    }
    drop(loops);
    let elapsed = Instant::now().min(until).saturating_duration_since(begun);
    bar.finish_and_clear();
    close_all(workers, ctx, &mut signals).await;
    let tally = tally.borrow();
    Ok(tally.report("sessions", count, args.run.connections, elapsed))
}

/// One session: a keep-alive per period.
async fn live(
    worker: Worker,
    first: Instant,
    period: Duration,
    until: Instant,
    tally: Rc<RefCell<Tally>>,
) {
    let mut next = first;
    loop {
        tokio::time::sleep_until(next.min(until)).await;
        if Instant::now() >= until {
            return;
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
