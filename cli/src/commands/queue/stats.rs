//! `dsctl queue stats`.

use std::collections::BTreeMap;
use std::time::Duration;

use dsync_core::name::Name;
use dsync_core::queue::{Stats, Totals};
use tokio::time::Instant;

use crate::args::QueueStats;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views::queues::{Rate, Rates, Seen};
use crate::output::{View, views};

use super::{Ctx, all, get};

/// Time between two looks at whether anyone reads still.
const LOOK: Duration = Duration::from_millis(250);

/// Prints the counts of one queue or all; with --watch again and again.
pub(super) async fn run(args: QueueStats, ctx: &Ctx) -> Result<Exit> {
    if !args.watch {
        ctx.out.show(&look(&args, ctx).await?.view(None))?;
        return Ok(Exit::Done);
    }
    let mut before = Before::default();
    let mut tick = tokio::time::interval(args.interval);
    let mut first = true;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = reader_gone(ctx) => return Ok(Exit::Done),
        }
        ctx.renew_time();
        match look(&args, ctx).await {
            Ok(looked) => {
                let rates = before.rates(looked.all(), Instant::now());
                ctx.out.show_next(&looked.view(Some(&rates)))?;
            }
            // A node that goes away in between is no reason to give up.
            Err(failure) if failure.fault.retryable && !first => {
                ctx.out.note(&failure.fault.message);
            }
            Err(failure) => return Err(failure),
        }
        first = false;
    }
}

/// What a look gave: one queue, or all.
enum Looked {
    One(Box<Seen>),
    All(Vec<Stats>),
}

impl Looked {
    fn all(&self) -> &[Stats] {
        match self {
            Self::One(seen) => std::slice::from_ref(&seen.stats),
            Self::All(all) => all,
        }
    }

    fn view(&self, rates: Option<&Rates>) -> View {
        match self {
            Self::One(seen) => views::queues::stats(seen, rates),
            Self::All(all) => views::queues::list(all, rates),
        }
    }
}

async fn look(args: &QueueStats, ctx: &Ctx) -> Result<Looked> {
    Ok(match &args.queue {
        Some(queue) => Looked::One(Box::new(get(ctx, queue).await?)),
        None => Looked::All(all(ctx, "").await?),
    })
}

/// The look before.
#[derive(Debug, Default)]
struct Before {
    at: Option<Instant>,
    totals: BTreeMap<Name, Totals>,
}

impl Before {
    /// What was done in a second since the look before, which this one becomes. Pure.
    fn rates(&mut self, now: &[Stats], at: Instant) -> Rates {
        let passed = self.at.map_or(0.0, |before| at.duration_since(before).as_secs_f64());
        let rates = now.iter().filter_map(|stats| {
            let before = self.totals.get(&stats.queue)?;
            let per_second = |now: u64, before: u64| {
                // Counts that fell are those of a queue that was made anew.
                let done = u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
                f64::from(done) / passed
            };
            let rate = Rate {
                pushed: per_second(stats.totals.pushed, before.pushed),
                acked: per_second(stats.totals.acked, before.acked),
            };
            (passed > 0.0).then(|| (stats.queue.clone(), rate))
        });
        let rates = rates.collect();
        self.totals = now.iter().map(|one| (one.queue.clone(), one.totals)).collect();
        self.at = Some(at);
        rates
    }
}

/// Waits until nobody reads what is printed.
async fn reader_gone(ctx: &Ctx) {
    while !ctx.out.reader_gone() {
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use dsync_core::queue::Limits;

    use super::*;

    fn stats(queue: &str, pushed: u64, acked: u64) -> Stats {
        Stats {
            queue: Name::parse("queue", queue).unwrap(),
            ready: 0,
            delayed: 0,
            leased: 0,
            dead: 0,
            oldest_ms: None,
            bytes: 0,
            paused: None,
            limits: Limits::default(),
            totals: Totals { pushed, acked, ..Totals::default() },
        }
    }

    #[test]
    fn rates_are_what_changed_since_the_look_before() {
        let (mut before, start) = (Before::default(), Instant::now());
        assert!(before.rates(&[stats("a", 10, 5)], start).is_empty(), "nothing to compare with");
        let later = start + Duration::from_secs(2);
        let rates = before.rates(&[stats("a", 30, 6), stats("new", 9, 9)], later);
        let found: Vec<_> = rates.iter().map(|(name, rate)| (name.as_str(), *rate)).collect();
        assert_eq!(found, [("a", Rate { pushed: 10.0, acked: 0.5 })]);
        let rates = before.rates(&[stats("a", 0, 0)], later + Duration::from_secs(1));
        let all: Vec<_> = rates.into_values().collect();
        assert_eq!(all, [Rate { pushed: 0.0, acked: 0.0 }], "never below 0");
    }
}
