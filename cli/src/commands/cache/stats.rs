//! `dsctl cache stats`.

use std::collections::BTreeMap;
use std::time::Duration;

use dsync::api::{CacheReply, CacheRequest};
use dsync::cache::CacheStats;
use tokio::time::Instant;

use crate::args::CacheStatsArgs;
use crate::commands::survey::Said;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;
use crate::output::views::caches::{Rate, Rates};

use super::{Ctx, nodes};

/// Time between two looks at whether anyone reads still.
const LOOK: Duration = Duration::from_millis(250);

/// Prints the figures of every cache node; with --watch again and again. Exit 69 when not one of
/// them answers.
pub(super) async fn run(args: CacheStatsArgs, ctx: &Ctx) -> Result<Exit> {
    if !args.watch {
        let said = look(ctx).await?;
        ctx.out.show(&views::caches::stats(&said, None))?;
        let any = said.iter().any(|one| one.answer.is_ok());
        return Ok(if any { Exit::Done } else { Exit::Unavailable });
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
        match look(ctx).await {
            Ok(said) => {
                let rates = before.rates(&said, Instant::now());
                ctx.out.show_next(&views::caches::stats(&said, Some(&rates)))?;
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

async fn look(ctx: &Ctx) -> Result<Vec<Said<CacheStats>>> {
    let of = |reply| match reply {
        CacheReply::Stats(stats) => Some(*stats),
        _ => None,
    };
    nodes::ask(ctx, CacheRequest::Stats, of).await
}

/// The look before.
#[derive(Debug, Default)]
struct Before {
    at: Option<Instant>,
    /// Reads and changes of each node.
    totals: BTreeMap<String, (u64, u64)>,
}

impl Before {
    /// What was done in a second since the look before, which this one becomes. Pure.
    fn rates(&mut self, now: &[Said<CacheStats>], at: Instant) -> Rates {
        let passed = self.at.map_or(0.0, |before| at.duration_since(before).as_secs_f64());
        let answers = || now.iter().filter_map(|one| one.answer.as_ref().ok());
        let totals = |stats: &CacheStats| (stats.hits + stats.misses + stats.stale, stats.writes);
        let rates = answers().filter_map(|stats| {
            let (reads, writes) = totals(stats);
            let (reads_before, writes_before) = self.totals.get(&stats.node)?;
            let per_second = |now: u64, before: u64| {
                // Counts that fell are those of a node that was started anew.
                f64::from(u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX)) / passed
            };
            let rate = Rate {
                reads: per_second(reads, *reads_before),
                writes: per_second(writes, *writes_before),
            };
            (passed > 0.0).then(|| (stats.node.clone(), rate))
        });
        let rates = rates.collect();
        self.totals = answers().map(|stats| (stats.node.clone(), totals(stats))).collect();
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
    use dsync_core::node::Role;

    use super::*;
    use crate::commands::survey::Known;

    fn said(node: &str, hits: u64, writes: u64) -> Said<CacheStats> {
        let address = "127.0.0.1:7001".to_owned();
        let known = Known { node: Some(node.to_owned()), role: Some(Role::Cache), address };
        let stats = CacheStats { node: node.to_owned(), hits, writes, ..CacheStats::default() };
        Said { known, answer: Ok(stats) }
    }

    #[test]
    fn rates_are_what_changed_since_the_look_before() {
        let (mut before, start) = (Before::default(), Instant::now());
        assert!(before.rates(&[said("a", 10, 5)], start).is_empty(), "nothing to compare with");
        let later = start + Duration::from_secs(2);
        let rates = before.rates(&[said("a", 30, 6), said("new", 9, 9)], later);
        let found: Vec<_> = rates.iter().map(|(name, rate)| (name.as_str(), *rate)).collect();
        assert_eq!(found, [("a", Rate { reads: 10.0, writes: 0.5 })]);
        let rates = before.rates(&[said("a", 0, 0)], later + Duration::from_secs(1));
        let all: Vec<_> = rates.into_values().collect();
        assert_eq!(all, [Rate { reads: 0.0, writes: 0.0 }], "never below 0");
    }
}
