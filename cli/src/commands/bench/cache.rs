//! Reads and changes of keys that all clients share.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use dsync::cache::{CacheClient, CacheError, Set};
use dsync_core::{Code, Fault};
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::args::BenchCache;
use crate::commands::ctx::random_id;
use crate::error::{Failure, Result};
use crate::lease::signals::Signals;
use crate::lease::take::interrupted;
use crate::output::progress;

use super::tally::{Report, Tally};
use super::{Ctx, FAREWELL, Measured, spread};

/// Keys that are set in one go before it begins.
const AT_ONCE: u32 = 1_000;
/// Longest time to delete the keys: one after the other, each on a disk or in Redis.
const CLEAN_UP: Duration = Duration::from_secs(60);
/// Most bytes of the values of one request, and of one answer: both fit into a frame.
const REQUEST_MAX: u64 = 960 * 1024;
/// Bytes of a key and its framing in a request, at most.
const PER_KEY: u64 = 256;

/// What all clients share.
struct Plan {
    tally: RefCell<Tally>,
    prefix: String,
    value: Vec<u8>,
    batch: u32,
    keys: u32,
    /// Requests in a hundred that read.
    reads: u32,
    /// Operations that end between these two count.
    from: Instant,
    until: Instant,
}

/// Measures reads and changes.
pub(super) async fn run(args: &BenchCache, ctx: &Ctx) -> Result<Report> {
    let request = u64::from(args.batch) * (u64::from(args.size) + PER_KEY);
    if request > REQUEST_MAX {
        return Err(Failure::usage(format!(
            "--batch {} of --size {} are more than one request holds",
            args.batch, args.size
        ))
        .hint("give a smaller --batch or --size: 960 KiB together, with 256 bytes for each key"));
    }
    let mut signals = Signals::ending()?;
    let clients: Vec<_> = spread(args.run.connections, ctx)
        .iter()
        .map(|client| CacheClient::new(client).timeout(ctx.settings.timeout))
        .collect();
    let Some(first) = clients.first() else { return Err(Failure::usage("no connections")) };
    let plan = Plan {
        tally: RefCell::new(Tally::new()),
        prefix: format!("bench/{:032x}/", random_id()),
        value: vec![b'x'; usize::try_from(args.size).unwrap_or(0)],
        batch: args.batch,
        keys: args.keys,
        reads: args.reads,
        from: Instant::now(),
        until: Instant::now(),
    };
    // The first call finds out whether there is a cache at all.
    let found = first.get(&plan.key(0)).await;
    found.map_err(|error| Failure::from(fault_of(error)))?;
    let filled = tokio::select! {
        filled = plan.fill(first, ctx) => filled,
        signal = signals.next_ending() => Err(interrupted(signal)),
    };
    if let Err(failure) = filled {
        plan.clean_up(first, ctx, &mut signals).await;
        return Err(failure);
    }

    let from = Instant::now() + args.run.warmup;
    let plan = Rc::new(Plan { from, until: from + args.run.duration, ..plan });
    let loops: FuturesUnordered<_> = (0..args.clients)
        .zip(clients.iter().cycle())
        .map(|(_, client)| work(client.clone(), Rc::clone(&plan)))
        .collect();
    let measured = Measured { run: args.run, from, until: plan.until, grace: FAREWELL };
    let (left, elapsed) = measured.drive(loops, ("keys", &plan.tally), ctx, &mut signals).await;
    plan.give_up(left);
    plan.clean_up(first, ctx, &mut signals).await;
    let tally = plan.tally.borrow();
    Ok(tally.report("cache", args.clients, args.run.connections, elapsed))
}

/// One client: requests, one after the other, until the time is over.
async fn work(client: CacheClient, plan: Rc<Plan>) {
    loop {
        let begun = Instant::now();
        if begun >= plan.until {
            return;
        }
        let result = plan.request(&client).await;
        let ended = Instant::now();
        match result {
            Ok(keys) if ended >= plan.from && ended <= plan.until => {
                let mut tally = plan.tally.borrow_mut();
                (0..keys).for_each(|_| tally.operation(ended - begun));
            }
            Ok(_) => {}
            Err(error) => {
                plan.tally.borrow_mut().error(&fault_of(error));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

impl Plan {
    fn key(&self, number: u32) -> String {
        format!("{}{number}", self.prefix)
    }

    /// Reads or sets as many keys as one request has. Gives how many.
    async fn request(&self, client: &CacheClient) -> std::result::Result<usize, CacheError> {
        let keys: Vec<_> =
            (0..self.batch).map(|_| self.key(rand::random_range(0..self.keys))).collect();
        if rand::random_range(0..100) >= self.reads {
            return self.set(client, keys).await;
        }
        let read = client.get_many(&keys).await?;
        if read.iter().any(|one| one.value.is_none()) {
            return Err(Fault::new(Code::Conflict, "a key that was set is not there").into());
        }
        Ok(read.len())
    }

    async fn set(
        &self,
        client: &CacheClient,
        keys: Vec<String>,
    ) -> std::result::Result<usize, CacheError> {
        let count = keys.len();
        let sets = keys.into_iter().map(|key| (key, Set::new(self.value.as_slice())));
        for ended in client.set_many(sets).await? {
            ended?;
        }
        Ok(count)
    }

    /// Sets every key once.
    async fn fill(&self, client: &CacheClient, ctx: &Ctx) -> Result<()> {
        let bar = progress::steps(&ctx.out, u64::from(self.keys), "setting keys".to_owned());
        let mut next = 0;
        while next < self.keys {
            let end = next.saturating_add(AT_ONCE).min(self.keys);
            let keys = (next..end).map(|number| self.key(number)).collect();
            let set = self.set(client, keys).await;
            set.map_err(|error| Failure::from(fault_of(error)).once_only())?;
            bar.inc(u64::from(end - next));
            next = end;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Deletes the keys; one more signal does not wait for it.
    async fn clean_up(&self, client: &CacheClient, ctx: &Ctx, signals: &mut Signals) {
        let client = client.clone().timeout(CLEAN_UP);
        let deleted = tokio::select! {
            deleted = client.invalidate_prefix(&self.prefix) => deleted.is_ok(),
            _ = signals.next_ending() => false,
        };
        if !deleted {
            ctx.out.note(&format!(
                "the keys could not be deleted; `dsctl cache invalidate --prefix {}` does it",
                self.prefix
            ));
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

fn fault_of(error: CacheError) -> Fault {
    match error {
        CacheError::Unknown { fault, .. }
        | CacheError::Unavailable(fault)
        | CacheError::TooLarge(fault)
        | CacheError::Fault(fault) => fault,
        CacheError::Full { .. } => Fault::new(Code::LimitReached, error.to_string()),
        CacheError::Unmet { .. }
        | CacheError::NotANumber { .. }
        | CacheError::Overflow { .. }
        | CacheError::NotTried { .. } => Fault::new(Code::Conflict, error.to_string()),
    }
}
