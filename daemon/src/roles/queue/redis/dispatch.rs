//! One dispatcher per queue in use: while one call of the script is on its way, the next one fills.
//! It also wakes who waits, and looks at the queue when something is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dsync::api::Durability;
use dsync_core::Fault;
use dsync_core::name::Name;
use dsync_core::queue::redis::{COMMANDS, Done, Kind, decode, encode};
use dsync_core::queue::{BATCH_MAX, Command, Outcome};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::roles::queue::pops::Store;
use crate::roles::queue::waiting::Waiting;
use crate::store::redis::{RedisLink, Script};
use crate::telemetry::Metrics;

/// Calls on their way at one time, of one queue.
const IN_FLIGHT: usize = 2;
/// Commands of one call: beyond that a batch brings nothing more, and holds up other clients of that
/// Redis.
const CALL_COMMANDS: usize = 200;
/// Bytes after which a call takes no further command.
const CALL_BYTES: usize = 512 * 1024;
/// Commands that wait for a place in a call, of one queue.
const BACKLOG: usize = 4_096;
/// Whoever waits looks again after so long, whatever was told or not.
const SAFETY: Duration = Duration::from_secs(1);
/// A queue that nobody uses for so long needs no dispatcher.
const IDLE: Duration = Duration::from_secs(10);
/// Pause after a look that failed, where somebody waits.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest pause where nobody does: a node may look after thousands of queues while Redis is gone.
const AGAIN_MAX: Duration = Duration::from_secs(5);

type Given = Result<(Outcome, Durability), Fault>;

struct Job {
    command: Command,
    size: usize,
    durability: Option<Durability>,
    reply: oneshot::Sender<Given>,
}

/// What a dispatcher is asked.
enum Ask {
    Do(Job),
    /// Another node touched the queue.
    Look,
}

/// A cheap handle on the dispatchers of a node.
#[derive(Clone)]
pub(super) struct Dispatch {
    inner: Arc<Inner>,
}

struct Inner {
    link: RedisLink,
    metrics: Arc<Metrics>,
    waiting: Waiting,
    script: Script,
    queues: Mutex<HashMap<Name, mpsc::Sender<Ask>>>,
    /// Consumers may wait for that queue at another node.
    shared: Box<dyn Fn(&Name) -> bool + Send + Sync>,
}

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch").field("link", &self.inner.link).finish_non_exhaustive()
    }
}

impl Dispatch {
    pub(super) fn new(
        link: RedisLink,
        (waiting, metrics): (Waiting, Arc<Metrics>),
        shared: Box<dyn Fn(&Name) -> bool + Send + Sync>,
    ) -> Self {
        let script = Script::new(COMMANDS);
        let inner = Inner { link, metrics, waiting, script, queues: Mutex::default(), shared };
        Self { inner: Arc::new(inner) }
    }

    /// Has a command carried out, no less safely than that.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the command is carried out.
    pub(super) async fn submit_safely(
        &self,
        queue: &Name,
        command: Command,
        durability: Option<Durability>,
    ) -> Given {
        let (reply, answer) = oneshot::channel();
        let size = command.size();
        self.ask(queue, Ask::Do(Job { command, size, durability, reply }))?;
        answer.await.unwrap_or_else(|_| Err(Fault::unknown("the command was abandoned")))
    }

    /// Looks at a queue, and goes on as long as something changes by itself in it: leases and
    /// delays that end, jobs that expire.
    pub(super) fn tend(&self, queue: &Name) {
        // Full: it is looking all the time.
        drop(self.ask(queue, Ask::Look));
    }

    /// Another node touched the queue: whoever waits for it here is worth a look.
    pub(super) fn look(&self, queue: &Name) {
        let used = self.inner.queues.lock().get(queue).cloned();
        if let Some(used) = used {
            // Full: it is looking all the time.
            drop(used.try_send(Ask::Look));
        }
    }

    fn ask(&self, queue: &Name, ask: Ask) -> Result<(), Fault> {
        let mut queues = self.inner.queues.lock();
        let ask = match queues.get(queue) {
            None => ask,
            Some(used) => match used.try_send(ask) {
                Ok(()) => return Ok(()),
                // It ended for want of work.
                Err(mpsc::error::TrySendError::Closed(ask)) => ask,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    return Err(Fault::unavailable(format!(
                        "{BACKLOG} commands for the queue {queue} wait for Redis already; nothing \
                         was done"
                    )));
                }
            },
        };
        let (sender, receiver) = mpsc::channel(BACKLOG);
        // There is room in a new one.
        drop(sender.try_send(ask));
        queues.insert(queue.clone(), sender);
        let task = Task::new(Arc::clone(&self.inner), queue.clone(), receiver);
        tokio::spawn(task.run().in_current_span());
        Ok(())
    }
}

impl Store for Dispatch {
    async fn submit(&self, queue: Name, command: Command) -> Result<Outcome, Fault> {
        self.submit_safely(&queue, command, None).await.map(|(outcome, _)| outcome)
    }

    fn name(&self) -> String {
        self.inner.link.name()
    }
}

/// What a call told of the queue.
enum Told {
    /// It was done; `looked`: it was asked for to see what is there.
    Done {
        done: Done,
        looked: bool,
    },
    Failed,
}

/// The dispatcher of one queue.
struct Task {
    inner: Arc<Inner>,
    queue: Name,
    asks: mpsc::Receiver<Ask>,
    /// When the queue changes by itself, as the last call told.
    due: Option<Instant>,
    looked: Instant,
    used: Instant,
    look: bool,
    /// Calls that failed, one after the other.
    failed: u32,
}

impl Task {
    fn new(inner: Arc<Inner>, queue: Name, asks: mpsc::Receiver<Ask>) -> Self {
        let now = Instant::now();
        Self { inner, queue, asks, due: None, looked: now, used: now, look: false, failed: 0 }
    }

    async fn run(mut self) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            if in_flight.len() < IN_FLIGHT && self.look_is_due() {
                self.look = false;
                self.due = None;
                self.looked = Instant::now();
                in_flight.push(call(Arc::clone(&self.inner), self.queue.clone(), Vec::new()));
                continue;
            }
            let wake = self.wake_at();
            tokio::select! {
                biased;
                Some(told) = in_flight.next(), if !in_flight.is_empty() => {
                    for one in told {
                        self.hear(one);
                    }
                }
                ask = self.asks.recv(), if in_flight.len() < IN_FLIGHT => match ask {
                    Some(ask) => {
                        let jobs = self.collect(ask);
                        if !jobs.is_empty() {
                            self.used = Instant::now();
                            let inner = Arc::clone(&self.inner);
                            in_flight.push(call(inner, self.queue.clone(), jobs));
                        }
                    }
                    None => return,
                },
                () = tokio::time::sleep_until(wake) => {
                    if in_flight.is_empty() && self.is_idle() {
                        self.end();
                    }
                }
            }
        }
    }

    /// Takes no more: what is asked from now on begins a new dispatcher.
    fn end(&mut self) {
        let mut queues = self.inner.queues.lock();
        self.asks.close();
        queues.remove(&self.queue);
    }

    fn is_awaited(&self) -> bool {
        self.inner.waiting.is_awaited(&self.queue)
    }

    fn look_is_due(&self) -> bool {
        let now = Instant::now();
        let safety = self.is_awaited() && now >= self.looked + SAFETY;
        self.look || safety || self.due.is_some_and(|due| due <= now)
    }

    fn wake_at(&self) -> Instant {
        let awaited = self.is_awaited().then(|| self.looked + SAFETY);
        let next = self.due.into_iter().chain(awaited).min().unwrap_or(self.used + IDLE);
        // Never at once again: a look that is due is taken before.
        next.max(Instant::now() + Duration::from_millis(1))
    }

    /// Nobody uses the queue, and nothing will change by itself.
    fn is_idle(&self) -> bool {
        self.used.elapsed() >= IDLE && self.due.is_none() && !self.look && !self.is_awaited()
    }

    /// The commands that wait, as many as one call takes: those that bring jobs before those that
    /// take them.
    fn collect(&mut self, first: Ask) -> Vec<Job> {
        let mut jobs = Vec::new();
        let (mut bytes, mut items) = (0, 0);
        let mut next = Some(first);
        while let Some(ask) = next.take() {
            match ask {
                Ask::Look => self.look = true,
                Ask::Do(job) => {
                    bytes += job.size;
                    items = job.command.touches().saturating_add(items);
                    jobs.push(job);
                }
            }
            if jobs.len() < CALL_COMMANDS && bytes < CALL_BYTES && items < BATCH_MAX {
                next = self.asks.try_recv().ok();
            }
        }
        jobs.sort_by_key(|job| (job.durability.is_some(), Kind::of(&job.command)));
        jobs
    }

    fn hear(&mut self, told: Told) {
        let Told::Done { done, looked } = told else {
            let longer = AGAIN.saturating_mul(1 << self.failed.min(8)).min(AGAIN_MAX);
            self.failed = self.failed.saturating_add(1);
            self.due = Some(Instant::now() + if self.is_awaited() { AGAIN } else { longer });
            return;
        };
        self.failed = 0;
        self.inner.metrics.happened(&done.happened);
        self.due = done.next_due_ms.map(|ms| Instant::now() + Duration::from_millis(ms.max(1)));
        if done.ready > 0 && (done.woken || looked) {
            let ready = usize::try_from(done.ready).unwrap_or(usize::MAX);
            self.inner.waiting.wake(&self.queue, ready);
        }
        if done.woken && (self.inner.shared)(&self.queue) {
            self.inner.link.tell(self.queue.as_str());
        }
    }
}

/// Calls the script with those commands and answers each; gives what each call of it told.
async fn call(inner: Arc<Inner>, queue: Name, jobs: Vec<Job>) -> Vec<Told> {
    let looked = jobs.is_empty();
    let safely = jobs.iter().position(|job| job.durability.is_some()).unwrap_or(jobs.len());
    let mut plain = jobs;
    let mut safe = plain.split_off(safely);
    let mut told = Vec::new();
    if looked || !plain.is_empty() {
        told.push(call_plain(&inner, &queue, plain, looked).await);
    }
    for wanted in Durability::ALL {
        let wants = |job: &mut Job| job.durability == Some(wanted);
        let group: Vec<Job> = safe.extract_if(.., wants).collect();
        if !group.is_empty() {
            told.push(call_safely(&inner, &queue, group, wanted).await);
        }
    }
    told
}

async fn call_plain(inner: &Inner, queue: &Name, jobs: Vec<Job>, looked: bool) -> Told {
    let (commands, replies) = split(jobs);
    let done = async {
        let reply = inner.link.run(&inner.script, &encode(queue, &commands, None)).await?;
        Ok((decode(&commands, reply).map_err(|why| nonsense(&why))?, inner.link.plain()))
    };
    answer(done.await, replies, looked)
}

async fn call_safely(inner: &Inner, queue: &Name, jobs: Vec<Job>, wanted: Durability) -> Told {
    let (commands, replies) = split(jobs);
    let call = encode(queue, &commands, None);
    let done = async {
        let (reply, reached) = if inner.link.can(wanted)? {
            inner.link.run_safely(&inner.script, &call, wanted).await?
        } else {
            (inner.link.run(&inner.script, &call).await?, inner.link.plain())
        };
        Ok((decode(&commands, reply).map_err(|why| nonsense(&why))?, reached))
    };
    answer(done.await, replies, false)
}

type Replies = Vec<oneshot::Sender<Given>>;

fn split(jobs: Vec<Job>) -> (Vec<Command>, Replies) {
    jobs.into_iter().map(|job| (job.command, job.reply)).unzip()
}

/// Whoever is gone asks again, or its lease ends: a failed send loses nothing.
fn answer(done: Result<(Done, Durability), Fault>, replies: Replies, looked: bool) -> Told {
    match done {
        Ok((mut done, reached)) => {
            for (reply, outcome) in replies.into_iter().zip(done.outcomes.drain(..)) {
                drop(reply.send(Ok((outcome, reached))));
            }
            Told::Done { done, looked }
        }
        Err(fault) => {
            for reply in replies {
                drop(reply.send(Err(fault.clone())));
            }
            Told::Failed
        }
    }
}

fn nonsense(why: &str) -> Fault {
    tracing::error!("{why}");
    let text = format!("Redis answered what this program does not understand: {why}");
    Fault { effect: dsync_core::Effect::Unknown, ..Fault::new(dsync_core::Code::Internal, text) }
}
