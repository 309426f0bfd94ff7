//! A node among the others: signs of life, changes of the view, leases with the homes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dsync::peer::{CacheAnswer, CacheCall};
use dsync_core::cache::command::{Ask, Command, Done, Sign, Told};
use dsync_core::cache::membership::{Membership, Todo};
use dsync_core::cache::told::WritePolicy;
use dsync_core::cache::view::{Member, View, partition_of};
use dsync_core::name::Name;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::errands::Cache;

/// Time for a dirty line to reach the memory when the view changes.
const FLUSH: Duration = Duration::from_millis(500);
/// Shortest time between two signs of life that something else than the clock calls for.
const SOON: Duration = Duration::from_millis(20);
/// Events that wait to be heard.
const EVENTS: usize = 1_024;
/// Attempts to be left out of the view by a node that stops.
const LEAVE_TRIES: usize = 5;
/// Lines given up that one renewal tells of.
const EVICTED_MAX: usize = 1_000;

/// What the members hear of.
#[derive(Debug)]
enum Event {
    /// Somebody acts by that view.
    View(View),
    /// A member acts by the view of that epoch.
    Ready(Name, u64),
    /// The memory refuses what is older.
    TookOver(u64),
    /// Another sign of life is due now.
    Beat,
}

/// Tells the members something. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Bell {
    events: mpsc::Sender<Event>,
}

/// What the bell rings.
#[derive(Debug)]
pub(super) struct Rung {
    events: mpsc::Receiver<Event>,
}

impl Bell {
    /// A bell, and who hears it.
    pub(super) fn new() -> (Self, Rung) {
        let (sender, events) = mpsc::channel(EVENTS);
        (Self { events: sender }, Rung { events })
    }

    /// Somebody acts by that view.
    pub(super) fn view(&self, view: View) {
        self.ring(Event::View(view));
    }

    /// Look at the memory now.
    pub(super) fn look(&self) {
        self.ring(Event::Beat);
    }

    fn ring(&self, event: Event) {
        // Nobody hears it any more when the node has stopped; when so many wait, a look at the memory
        // tells what this one would have.
        drop(self.events.try_send(event));
    }
}

/// How the node stands among the others, for others to look at.
pub(super) type Standing = Arc<Mutex<Membership>>;

/// Looks after membership and leases. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Members {
    pub(super) cache: Cache,
    pub(super) standing: Standing,
}

impl Members {
    /// Starts to take part.
    pub(super) fn start(&self, rung: Rung) {
        let (members, renewing) = (self.clone(), self.clone());
        let stop = self.cache.shared.stop.clone();
        tokio::spawn(
            async move { stop.run_until_cancelled(members.run(rung)).await }.in_current_span(),
        );
        let stop = self.cache.shared.stop.clone();
        let renewals = async move { stop.run_until_cancelled(renewing.renew_for_ever()).await };
        tokio::spawn(renewals.in_current_span());
    }

    fn third(&self) -> Duration {
        Duration::from_millis(self.cache.shared.config.lease_ms / 3)
    }

    async fn run(self, mut rung: Rung) {
        let (mut count, mut next, mut last) = (0, Instant::now(), Instant::now());
        loop {
            let now = self.cache.now();
            let tick = self.standing.lock().next_tick().map(|at| at.saturating_sub(now).max(1));
            let tick = tick.map(|left| Instant::now() + Duration::from_millis(left));
            // A sign of life is due before all that is heard: the lease hangs on it.
            let todo = tokio::select! {
                biased;
                () = tokio::time::sleep_until(next) => {
                    count += 1;
                    last = Instant::now();
                    let todo = self.beat(count).await;
                    next = last + self.third();
                    todo
                }
                event = rung.events.recv() => match event {
                    None => return,
                    Some(Event::Beat) => {
                        next = next.min((last + SOON).max(Instant::now()));
                        Vec::new()
                    }
                    Some(Event::View(view)) => {
                        let newer = view.epoch > self.standing.lock().view().epoch;
                        if newer {
                            next = Instant::now();
                        }
                        self.standing.lock().told(self.cache.now(), &view)
                    }
                    Some(Event::Ready(node, epoch)) => self.standing.lock().ready(self.cache.now(), &node, epoch),
                    Some(Event::TookOver(epoch)) => {
                        self.standing.lock().took_over(epoch);
                        Vec::new()
                    }
                },
                () = until(tick), if tick.is_some() => {
                    self.standing.lock().tick(self.cache.now())
                }
            };
            self.perform(todo).await;
            self.install();
        }
    }

    /// Leaves a sign of life, and sees the view.
    async fn beat(&self, count: u64) -> Vec<Todo> {
        let shared = &*self.cache.shared;
        if shared.apart.load(Ordering::Relaxed) {
            let store = shared.memory.name();
            self.note(Some(format!(
                "most of the other cache nodes keep their keys elsewhere than in {store}: this node \
                 serves nothing; give all of them the same REDIS_HOST and REDIS_PORT"
            )));
            return Vec::new();
        }
        let sign = Sign { member: shared.me.clone(), count, leaves: false };
        let sent = self.cache.now();
        let patience = Duration::from_millis(shared.config.lease_ms / 2);
        match self.cache.ask_memory(&Ask::Live(sign), Instant::now() + patience).await {
            Ok(Told::Seen(seen)) => {
                let now = self.cache.now();
                let mut standing = self.standing.lock();
                let todo = standing.saw(sent, now, &seen);
                let other = standing.namesake(now).map(|address| {
                    format!(
                        "NODE_ID {} is in use by a live node at {address}: give each node a name of \
                         its own",
                        shared.me.node
                    )
                });
                self.note(other);
                todo
            }
            Ok(_) => Vec::new(),
            Err(fault) => {
                self.note(Some(format!("no sign of life can be left: {fault}")));
                Vec::new()
            }
        }
    }

    fn note(&self, problem: Option<String>) {
        let before = std::mem::replace(&mut *self.cache.shared.problem.lock(), problem.clone());
        match problem {
            Some(why) if before.as_ref() != Some(&why) => tracing::warn!("{why}"),
            None if before.is_some() => tracing::info!("signs of life are left again"),
            Some(_) | None => {}
        }
    }

    /// Requests go by what the node knows now.
    fn install(&self) {
        let standing = self.standing.lock();
        let (until, now) = (standing.until(), self.cache.now());
        let serving = standing.serves(now).is_some();
        let mut acting = self.cache.shared.acting.write();
        if acting.view.epoch == standing.view().epoch {
            (acting.until, acting.serving) = (until, serving);
        }
    }

    async fn perform(&self, todo: Vec<Todo>) {
        for one in todo {
            match one {
                Todo::Adopt(view) => self.adopt(view).await,
                Todo::Prepare(others) => self.prepare(others),
                Todo::TakeOver(epoch) => self.take_over(epoch),
                Todo::Replace(epoch, view) => self.replace(epoch, view),
            }
        }
    }

    /// Acts by another view: gives up what earlier ones gave.
    async fn adopt(&self, view: View) {
        let cache = &self.cache;
        let names: Vec<&str> = view.members.iter().map(|member| member.node.as_str()).collect();
        let silent: Vec<&str> = view.silent.iter().map(|member| member.node.as_str()).collect();
        tracing::info!(
            epoch = view.epoch,
            members = names.join(", "),
            silent = silent.join(", "),
            "the view changed"
        );
        self.give_up().await;
        cache.shared.home.begin(view.epoch);
        let epoch = view.epoch;
        cache.shared.acting.write().adopt(view);
        cache.shared.adopted.send_replace(epoch);
        // What could not be written in time is lost, and told.
        cache.with(false, |ctx| ((), cache.shared.table.lapse(ctx)));
    }

    /// Writes what is dirty, for a short time, and begins nothing new.
    async fn give_up(&self) {
        let cache = &self.cache;
        cache.shared.acting.write().closing = true;
        if cache.shared.config.write == WritePolicy::Through {
            return;
        }
        let until = Instant::now() + FLUSH;
        while cache.shared.table.dirty() > 0 && Instant::now() < until {
            cache.with(true, |ctx| ((), cache.shared.table.flush(ctx.now, ctx)));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks the others whether they act by the view.
    fn prepare(&self, others: Vec<Member>) {
        let view = self.standing.lock().view().clone();
        for member in others {
            let (cache, view) = (self.cache.clone(), view.clone());
            let asking = async move {
                let shared = &*cache.shared;
                let mut pause = Duration::from_millis(10);
                while cache.shared.acting.read().view.epoch <= view.epoch {
                    let call = CacheCall::Prepare(view.clone());
                    let until = Instant::now() + Duration::from_millis(shared.config.lease_ms / 2);
                    let to = member.incarnation;
                    match shared.peers.call(&member.address, to, call, until).await {
                        Ok(CacheAnswer::View(theirs)) if theirs == view => {
                            return shared.bell.ring(Event::Ready(member.node, view.epoch));
                        }
                        Ok(CacheAnswer::View(theirs)) if theirs.epoch > view.epoch => {
                            return shared.bell.view(theirs);
                        }
                        Ok(_) | Err(_) => {}
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(200));
                }
            };
            let stop = self.cache.shared.stop.clone();
            let asking = Box::pin(asking);
            tokio::spawn(async move { stop.run_until_cancelled(asking).await }.in_current_span());
        }
    }

    fn take_over(&self, epoch: u64) {
        let members = self.clone();
        let taking = async move {
            if members.done(Command::TakeOver { epoch }).await == Some(true) {
                members.cache.shared.bell.ring(Event::TookOver(epoch));
                tracing::info!(epoch, "this node serves as a home");
            }
        };
        tokio::spawn(taking.in_current_span());
    }

    fn replace(&self, epoch: u64, view: View) {
        let members = self.clone();
        let replacing = async move {
            members.done(Command::Replace { epoch, view }).await;
            members.cache.shared.bell.look();
        };
        tokio::spawn(replacing.in_current_span());
    }

    /// What a command that any repetition of is harmless answered.
    async fn done(&self, command: Command) -> Option<bool> {
        let shared = &*self.cache.shared;
        let until = Instant::now() + Duration::from_millis(shared.config.lease_ms / 2);
        match self.cache.ask_memory(&Ask::Do(command), until).await {
            Ok(Told::Done(Done::Is(done))) => Some(done),
            Ok(_) | Err(_) => None,
        }
    }

    /// Renews sessions, ends those of others that have run out, and writes what is dirty.
    async fn renew_for_ever(self) {
        let shared = &*self.cache.shared;
        let back = shared.config.write == WritePolicy::Back;
        let flush = Duration::from_millis((shared.config.max_dirty_ms / 4).max(1));
        let (mut renew_at, mut flush_at) = (Instant::now(), Instant::now());
        loop {
            let now = self.cache.now();
            let over = shared.home.run_out(now);
            self.cache.perform_at_home(over);
            if back && Instant::now() >= flush_at {
                flush_at = Instant::now() + flush;
                let before = now.saturating_sub(shared.config.max_dirty_ms / 4);
                self.cache.with(true, |ctx| ((), shared.table.flush(before, ctx)));
            }
            if Instant::now() >= renew_at {
                renew_at = Instant::now() + self.third();
                self.renew_all();
            }
            // A session runs out no sooner than that.
            let end = shared.home.next_end().map(|at| at.saturating_sub(now).max(1));
            let end =
                Duration::from_millis(end.unwrap_or(u64::MAX).min(shared.config.lease_ms / 3));
            let mut wake = renew_at.min(Instant::now() + end);
            if back {
                wake = wake.min(flush_at);
            }
            tokio::time::sleep_until(wake).await;
        }
    }

    fn renew_all(&self) {
        let shared = &*self.cache.shared;
        let now = self.cache.now();
        let evicted = shared.table.take_evicted();
        let acting = shared.acting.read();
        let (mut of_home, members) = (Vec::new(), acting.view.members.clone());
        of_home.resize_with(members.len(), Vec::new);
        for (key, gid) in evicted {
            if let Some(home) = acting.homes.get(partition_of(&key))
                && let Some(lines) = of_home.get_mut(home)
                && lines.len() < EVICTED_MAX
            {
                lines.push((key, gid));
            }
        }
        for (number, (member, evicted)) in members.into_iter().zip(of_home).enumerate() {
            if let Some(session) = acting.with(number, now) {
                let cache = self.cache.clone();
                let renewing = async move { cache.renew(number, member, session, evicted).await };
                tokio::spawn(renewing.in_current_span());
            }
        }
    }
}

impl Members {
    /// The node stops: what it has is written and given up, and the others need not wait for it.
    pub(super) async fn leave(&self) {
        self.cache.shared.acting.write().leaving = true;
        self.give_up().await;
        let shared = &*self.cache.shared;
        shared.acting.write().until = 0;
        // Its sign goes first: who sees the next view must not take it for living.
        self.sign(u64::MAX).await;
        for _ in 0..LEAVE_TRIES {
            let next = self.standing.lock().leave(self.cache.now());
            let Some((epoch, view)) = next else { break };
            if self.done(Command::Replace { epoch, view }).await == Some(true) {
                break;
            }
            // Others leave too: without them, then.
            self.sign(u64::MAX).await;
        }
    }

    /// Takes the sign of life of a node that leaves away, and sees the view. If that fails, the others
    /// find out by themselves.
    async fn sign(&self, count: u64) {
        let shared = &*self.cache.shared;
        let sign = Sign { member: shared.me.clone(), count, leaves: true };
        let (sent, until) = (self.cache.now(), Instant::now() + self.third());
        if let Ok(Told::Seen(seen)) = self.cache.ask_memory(&Ask::Live(sign), until).await {
            self.standing.lock().saw(sent, self.cache.now(), &seen);
        }
    }
}

async fn until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}
