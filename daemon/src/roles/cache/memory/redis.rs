//! The memory in Redis.
//!
//! # Rules
//! - A Redis that was restarted, or that took over from another one, may have lost what was
//!   acknowledged. So each question goes to one run of the server, that of the last `Live` that was
//!   answered, and a write or a look only if the view in force is of that run too. Whoever asks learns
//!   of the new run by its next `Live`, and has no lease until then.

use std::sync::Arc;

use dsync_core::cache::command::{Ask, Command, Done, Told};
use dsync_core::cache::redis::{COMMANDS, READS, decode, encode};
use dsync_core::{Code, Effect, Fault};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::store::redis::{RedisLink, Script};

/// The memory that Redis keeps. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RedisMemory {
    link: RedisLink,
    commands: Script,
    reads: Script,
    known: Arc<Mutex<Known>>,
}

/// What the last `Live` showed.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The run that answered it; empty: there was none yet.
    run: String,
    /// The run that the view is of.
    view_of: String,
    /// Why the last `Live` failed, though Redis is there.
    refused: Option<String>,
}

impl RedisMemory {
    /// The memory behind that link.
    ///
    /// # Errors
    /// `InvalidArgument`: the link leads to a Redis Cluster, of which nobody can say that it was not
    /// restarted.
    pub fn new(link: RedisLink) -> Result<Self, Fault> {
        if link.is_cluster() {
            let text = "REDIS_CLUSTER cannot keep what the cache holds: a node of it that is \
                        restarted forgets writes without a sign of it";
            return Err(Fault::new(Code::InvalidArgument, text).hint(
                "set REDIS_HOST, or REDIS_SENTINELS for one that fails over; or STORE=raft",
            ));
        }
        let (commands, reads) = (Script::new(COMMANDS), Script::new(READS));
        Ok(Self { link, commands, reads, known: Arc::default() })
    }

    /// Asks Redis: [`Memory::ask`](super::Memory::ask). It is asked once.
    ///
    /// # Errors
    /// As there. `Do` and `Look` are refused with effect `None` while the Redis that is there is
    /// another run than that of the last `Live`; so are writes and looks while the view is of
    /// another run.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn ask(&self, ask: &Ask, until: Instant) -> Result<Told, Fault> {
        let wanted = match ask {
            Ask::Live(_) => None,
            Ask::Do(command) => Some(self.wanted(matches!(command, Command::Write { .. }))?),
            Ask::Look(_) => Some(self.wanted(true)?),
        };
        let told = self.told(wanted.as_deref(), ask, until).await.map_err(|fault| match ask {
            Ask::Do(_) => fault,
            // Nothing that matters was changed, whatever became of it.
            Ask::Look(_) | Ask::Live(_) => Fault { effect: Effect::None, ..fault },
        });
        self.note(ask, &told);
        told.map(|(told, _)| told)
    }

    /// The run that may be asked.
    fn wanted(&self, by_view: bool) -> Result<String, Fault> {
        let known = self.known.lock();
        if known.run.is_empty() {
            return Err(Fault::unavailable(format!("{} was not seen yet", self.link.name())));
        }
        if by_view && known.view_of != known.run {
            let name = self.link.name();
            let text = format!("the cache nodes have not begun anew since {name} was started");
            return Err(Fault::unavailable(text));
        }
        Ok(known.run.clone())
    }

    async fn told(
        &self,
        wanted: Option<&str>,
        ask: &Ask,
        until: Instant,
    ) -> Result<(Told, String), Fault> {
        let script = if matches!(ask, Ask::Look(_)) { &self.reads } else { &self.commands };
        let call = encode(ask);
        let asked = self.link.run_at(wanted, script, &call);
        let (reply, run) = tokio::time::timeout_at(until, asked).await.map_err(|_| {
            let text = format!("{} did not answer in time", self.link.name());
            Fault { code: Code::Unavailable, ..Fault::unknown(text) }
        })??;
        let told = decode(ask, &run, reply).map_err(|why| {
            let text = format!("{}: {why}", self.link.name());
            Fault { effect: Effect::Unknown, ..Fault::new(Code::Internal, text) }
        })?;
        Ok((told, run))
    }

    fn note(&self, ask: &Ask, told: &Result<(Told, String), Fault>) {
        let mut known = self.known.lock();
        match (ask, told) {
            (_, Ok((Told::Seen(seen), run))) => {
                *known = Known { run: run.clone(), view_of: seen.view.run.clone(), refused: None };
            }
            (Ask::Live(_), Err(fault)) => known.refused = Some(fault.message.clone()),
            // What this node put in force itself it need not be told of.
            (Ask::Do(Command::Replace { view, .. }), Ok((Told::Done(Done::Is(true)), run)))
                if *run == known.run =>
            {
                known.view_of.clone_from(&view.run);
            }
            _ => {}
        }
    }

    /// What it is called in error texts.
    pub fn name(&self) -> String {
        self.link.name()
    }

    /// What is wrong with it, in words.
    pub fn problems(&self) -> Vec<String> {
        if let Some(why) = self.link.problem() {
            return vec![why];
        }
        let refused = self.known.lock().refused.clone();
        let found = self.link.server().map(|server| server.unsafe_settings());
        refused.into_iter().chain(found.into_iter().flatten()).collect()
    }

    /// The link below.
    pub fn link(&self) -> &RedisLink {
        &self.link
    }
}
