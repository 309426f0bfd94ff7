//! One key: reads and changes, tried on until there is an answer.

use std::time::Duration;

use dsync::api::{Changed, Got, Source};
use dsync::peer::{CacheAnswer, CacheCall};
use dsync_core::cache::item::Item;
use dsync_core::cache::op::{Key, Op, Value};
use dsync_core::cache::told::{Failed, LineState, WritePolicy};
use dsync_core::{Effect, Fault};
use tokio::time::Instant;

use super::errands::{Cache, count};
use super::table::{Ctx, Found, Told, Waiting};

/// Pauses between attempts: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Time for a home to give a line, before the memory is read.
const PATIENCE: Duration = Duration::from_millis(300);
/// Time for a read of the memory, past all lines.
const PAST: Duration = Duration::from_millis(500);

/// What an attempt came to.
enum Attempt<T> {
    Done(T),
    /// Nothing was done; why, in words.
    Again(String),
    /// It may have been done.
    Unknown(String),
}

impl Cache {
    /// Reads a key, if that needs nobody else.
    pub(super) fn hit(&self, key: &Key) -> Option<Got> {
        let (item, state, until) = {
            let acting = self.shared.acting.read();
            let (now, policy) = (self.now(), self.shared.config.write);
            self.shared.table.hit(key, Ctx { now, acting: &acting, policy, gives_up: false })?
        };
        Some(self.got(item, from(state), until))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// `Unavailable`: there is no way to a value that is current, nor a copy as young as it may be.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn get(
        &self,
        key: &Key,
        max_stale_ms: Option<u64>,
        until: Instant,
    ) -> Result<Got, Fault> {
        let (mut pause, mut first) = (PAUSE, true);
        loop {
            let found = self.with(false, |ctx| self.shared.table.read(key, ctx));
            let why = match found {
                Found::Here { item, state, until } => {
                    return Ok(self.got(item, from(state), until));
                }
                Found::Waits(waiting) => match self.fetched(key, waiting, until).await {
                    Attempt::Done(got) => return Ok(got),
                    Attempt::Again(why) | Attempt::Unknown(why) => why,
                },
            };
            if let Some(got) = self.past_all_lines(key, first, until).await {
                return Ok(got);
            }
            first = false;
            if let Some(got) = max_stale_ms.and_then(|most| self.stale(key, most)) {
                return Ok(got);
            }
            if Instant::now() + pause >= until {
                return Err(self.unavailable(&why));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn got(&self, item: Item<Value>, from: Source, until: Option<u64>) -> Got {
        let ttl_ms = until.map(|until| until.saturating_sub(self.now()));
        Got { value: item.value, version: item.version, from, ttl_ms }
    }

    async fn fetched(&self, key: &Key, mut waiting: Waiting, until: Instant) -> Attempt<Got> {
        let early = until.min(Instant::now() + PATIENCE);
        let mut told = tokio::time::timeout_at(early, waiting.told()).await;
        if told.is_err() {
            // The home waits for somebody's lease, or says nothing: the memory has the value.
            if let Some(got) = self.past_all_lines(key, false, until).await {
                return Attempt::Done(got);
            }
            told = tokio::time::timeout_at(until, waiting.told()).await;
        }
        match told {
            Ok(Told::Read(item)) => {
                let kept = self.shared.table.kept(key);
                let until = kept.filter(|(now, ..)| now.version == item.version);
                let until = until.and_then(|(_, _, until)| until);
                Attempt::Done(self.got(item, Source::Fetched, until))
            }
            Ok(Told::Failed(why)) => self.failed(key, why).await,
            Ok(Told::Changed(..)) => Attempt::Again("the line answered something else".to_owned()),
            Err(_) => Attempt::Again("the home of the key did not answer in time".to_owned()),
        }
    }

    async fn failed<T>(&self, key: &Key, why: Failed) -> Attempt<T> {
        match why {
            Failed::NoLease => {
                let opened = self.open_session(key).await;
                Attempt::Again(opened.err().unwrap_or_else(|| "a lease was opened".to_owned()))
            }
            Failed::NoGrant => Attempt::Again("the home of the key gave no line".to_owned()),
            Failed::Fenced => Attempt::Again("the memory did not take the change".to_owned()),
            Failed::Unknown => {
                Attempt::Unknown("the memory did not say whether it made the change".to_owned())
            }
        }
    }

    /// The memory's own value, while this node knows that every change is there before anybody
    /// hears of it.
    async fn past_all_lines(&self, key: &Key, first: bool, until: Instant) -> Option<Got> {
        let (may, covered) = {
            let acting = self.shared.acting.read();
            let now = self.now();
            let may = now < acting.until && acting.view.writes_through() && !acting.closing;
            (may, acting.session(key, now).is_some())
        };
        // With a session there is a line to be had, unless that was tried.
        if !may || (covered && first) {
            return None;
        }
        let until = until.min(Instant::now() + PAST);
        let sent = self.now();
        let (item, ttl_ms) = self.read_memory(key, until).await.ok()?;
        // The memory may have let a value expire that somebody still has: only its home knows.
        item.value.as_ref()?;
        // What was known when it was sent must still be when it is told.
        let acting = self.shared.acting.read();
        if self.now() >= acting.until || !acting.view.writes_through() {
            return None;
        }
        drop(acting);
        count(&self.shared.tally.past);
        Some(self.got(item, Source::Memory, ttl_ms.map(|ttl| sent + ttl)))
    }

    /// A copy that was current not too long ago.
    pub(super) fn stale(&self, key: &Key, most: u64) -> Option<Got> {
        let (item, session, until) = self.shared.table.kept(key)?;
        let now = self.now();
        if until.is_some_and(|until| now >= until) {
            return None;
        }
        let age = self.shared.acting.read().age(session, now).filter(|age| *age <= most)?;
        count(&self.shared.tally.stale);
        Some(self.got(item, Source::Stale(age), until))
    }

    /// Changes a key: here, where the node has it, or at its home.
    ///
    /// # Errors
    /// `Unavailable`, with effect `Unknown` where it may have been made.
    ///
    /// # Cancel safety
    /// The change may be made all the same.
    pub(super) async fn change(&self, key: &Key, op: Op, until: Instant) -> Result<Changed, Fault> {
        let mut pause = PAUSE;
        loop {
            let table = &self.shared.table;
            let has = self.with(false, |ctx| (table.right(key, ctx), Vec::new())).is_some();
            let here = has || self.shared.config.write == WritePolicy::Back;
            let attempt = if here {
                self.change_here(key, op.clone(), until).await
            } else {
                self.change_at_home(key, op.clone(), until).await
            };
            let why = match attempt {
                Attempt::Done(changed) => return Ok(changed),
                Attempt::Again(why) => why,
                Attempt::Unknown(why) => return Err(unknown(key, &why)),
            };
            if Instant::now() + pause >= until {
                return Err(self.unavailable(&why));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn change_here(&self, key: &Key, op: Op, until: Instant) -> Attempt<Changed> {
        let table = &self.shared.table;
        let mut waiting = self.with(false, |ctx| table.change(key, op, ctx));
        match tokio::time::timeout_at(until, waiting.told()).await {
            Ok(Told::Changed(outcome, version)) => Attempt::Done(Changed { outcome, version }),
            Ok(Told::Failed(why)) => self.failed(key, why).await,
            Ok(Told::Read(_)) => Attempt::Unknown("the line answered something else".to_owned()),
            Err(_) => match (waiting.give_up(), waiting.told_by_now()) {
                (_, Some(Told::Changed(outcome, version))) => {
                    Attempt::Done(Changed { outcome, version })
                }
                (true, _) => {
                    Attempt::Again("the right to change the key did not come in time".to_owned())
                }
                (false, _) => Attempt::Unknown("the memory did not answer in time".to_owned()),
            },
        }
    }

    async fn change_at_home(&self, key: &Key, op: Op, until: Instant) -> Attempt<Changed> {
        let shared = &*self.shared;
        let Some((home, epoch)) = self.home_of(key, None) else {
            return Attempt::Again("no view of the cache nodes is known yet".to_owned());
        };
        let answer = if home == shared.me {
            let executing = self.execute_here(epoch, key, op);
            let late = Ok(CacheAnswer::Unknown);
            tokio::time::timeout_at(until, executing).await.map_or(late, Ok)
        } else {
            let call = CacheCall::Execute { epoch, key: key.clone(), op };
            tokio::select! {
                answer = shared.peers.call(&home.address, home.incarnation, call, until) => answer,
                // It may have been done before; a home that is one no more may never say so.
                () = self.epoch_over(epoch) => Ok(CacheAnswer::Unknown),
            }
        };
        match answer {
            Ok(CacheAnswer::Executed { outcome, version }) => {
                Attempt::Done(Changed { outcome, version })
            }
            Ok(CacheAnswer::View(view)) => {
                shared.bell.view(view);
                Attempt::Again("the view has changed".to_owned())
            }
            Ok(CacheAnswer::NotNow(why)) => Attempt::Again(why),
            Ok(CacheAnswer::Unknown) => {
                Attempt::Unknown("the memory did not answer in time".to_owned())
            }
            Ok(_) => Attempt::Unknown(format!("{} answered something else", home.node)),
            Err(fault) if fault.effect == Effect::None => Attempt::Again(fault.message),
            Err(fault) => Attempt::Unknown(fault.message),
        }
    }

    /// Why nothing can be said now.
    pub(super) fn unavailable(&self, why: &str) -> Fault {
        let text = if self.now() < self.shared.acting.read().until {
            why.to_owned()
        } else {
            let problem = self.shared.problem.lock().clone();
            let name = self.shared.memory.name();
            let problem = problem.unwrap_or_else(|| format!("{name} does not answer it"));
            format!("{why}; this node has no lease: {problem}")
        };
        Fault::unavailable(text)
            .hint("see `dsctl cache view`; with --max-stale a read takes an older copy")
    }
}

fn unknown(key: &Key, why: &str) -> Fault {
    let code = dsync_core::Code::Unavailable;
    Fault {
        code,
        retryable: false,
        ..Fault::unknown(format!("{key}: {why}: the change may have been made"))
    }
    .hint("read the key; or repeat the request under its id, if nobody else changes the key")
}

fn from(state: LineState) -> Source {
    match state {
        LineState::E => Source::Exclusive,
        LineState::M | LineState::Mf => Source::Modified,
        LineState::I
        | LineState::S
        | LineState::IsD
        | LineState::ImD
        | LineState::SmD
        | LineState::Ew => Source::Shared,
    }
}
