//! What the queue machine is asked and what it answers: the types on the wire, in the log and
//! between the stores.
//!
//! Append only: a variant's place is its number on disk and on the wire (golden-byte tests).

use serde::{Deserialize, Serialize};

use super::id::{JobId, Receipt};
use super::limits::Limits;
use super::view::Stats;
use crate::name::Name;

/// A job as it is pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJob {
    /// Names the job: pushing it again within the dedup window is no second job.
    pub id: JobId,
    /// Anything, at most [`PAYLOAD_MAX`](super::PAYLOAD_MAX) bytes.
    #[serde(with = "super::bytes")]
    pub payload: Vec<u8>,
    /// 0 to 9; 9 goes first.
    pub priority: u8,
    /// Not delivered before so long after the push; 0: at once.
    pub delay_ms: u64,
    /// Deliveries before it goes to the dead letters; 0: no limit.
    pub max_attempts: u32,
    /// Pauses between failed deliveries.
    pub backoff: Backoff,
    /// Goes to the dead letters if not done so long after the push; 0: never.
    pub ttl_ms: u64,
    /// Anything, for the consumer.
    pub headers: Vec<(String, String)>,
}

/// Pauses between failed deliveries: doubled each time, with a quarter of jitter either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// After the first failure; 0: none.
    pub base_ms: u64,
    /// At most.
    pub max_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base_ms: 1_000, max_ms: 3_600_000 }
    }
}

/// What changes a queue. Most commands may be repeated after a lost answer: a push has its id, a pop
/// its request, a receipt what was last done with it, and some set a state. A repeated `Purge`,
/// `Delete`, `Redrive` or `PurgeDead` may find more than the first one did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Adds jobs, in order.
    Push {
        /// The jobs.
        jobs: Vec<NewJob>,
    },
    /// Takes jobs on a lease.
    Pop {
        /// Names the pop: its repetition, while the leases last, gives the same jobs.
        request: u128,
        /// At most so many jobs.
        max: u32,
        /// Lease of each.
        lease_ms: u64,
        /// Acknowledges at once: at most once, for those who want that.
        ack: bool,
        /// Who takes them, for people to read.
        consumer: Name,
    },
    /// Done: the jobs are gone, their ids remembered for the dedup window.
    Ack {
        /// The deliveries.
        receipts: Vec<Receipt>,
    },
    /// Failed: counted, and tried again after a pause, or dead.
    Nack {
        /// The deliveries.
        receipts: Vec<Receipt>,
        /// The pause; `None`: the job's backoff.
        delay_ms: Option<u64>,
        /// Why, kept with the job.
        error: String,
    },
    /// Failed for good: to the dead letters at once.
    Reject {
        /// The deliveries.
        receipts: Vec<Receipt>,
        /// Why, kept with the job.
        error: String,
    },
    /// Given back, not counted.
    Release {
        /// The deliveries.
        receipts: Vec<Receipt>,
    },
    /// The lease runs anew from now.
    Extend {
        /// The deliveries.
        receipts: Vec<Receipt>,
        /// Its new length.
        lease_ms: u64,
    },
    /// Nothing is delivered until resumed.
    Pause {
        /// Why, for people to read.
        reason: String,
    },
    /// Delivers again.
    Resume,
    /// Removes all jobs but the dead letters; leases on them are lost.
    Purge,
    /// Sets the limits.
    Limit {
        /// The new ones, whole.
        limits: Limits,
    },
    /// Puts dead letters back, as new jobs with their old ids.
    Redrive {
        /// Which; empty: the oldest `max`.
        ids: Vec<JobId>,
        /// At most so many.
        max: u32,
    },
    /// Removes dead letters for good.
    PurgeDead {
        /// Which; empty: the oldest `max`.
        ids: Vec<JobId>,
        /// At most so many.
        max: u32,
    },
    /// Gives back, not counted, what a pop took and nobody received; nothing if it was asked for
    /// again meanwhile. The request is forgotten with it.
    GiveBack {
        /// The pop's.
        request: u128,
    },
    /// Removes the queue and all that is known of it: jobs, dead letters, remembered ids, limits,
    /// pause and counters. Leases on its jobs are lost.
    Delete,
}

impl Command {
    /// A repetition after a lost answer has no second effect.
    pub const fn may_repeat(&self) -> bool {
        !matches!(self, Self::Purge | Self::Redrive { .. } | Self::PurgeDead { .. })
    }

    /// Jobs that it brings and receipts that it names; 1 for a command without a list.
    pub const fn items(&self) -> usize {
        match self {
            Self::Push { jobs } => jobs.len(),
            Self::Ack { receipts }
            | Self::Nack { receipts, .. }
            | Self::Reject { receipts, .. }
            | Self::Release { receipts }
            | Self::Extend { receipts, .. } => receipts.len(),
            Self::Pop { .. }
            | Self::Pause { .. }
            | Self::Resume
            | Self::Purge
            | Self::Delete
            | Self::Limit { .. }
            | Self::Redrive { .. }
            | Self::PurgeDead { .. }
            | Self::GiveBack { .. } => 1,
        }
    }

    /// Jobs that it touches, at most.
    pub fn touches(&self) -> usize {
        if let Self::Pop { max, .. } | Self::Redrive { max, .. } | Self::PurgeDead { max, .. } =
            self
        {
            return usize::try_from(*max).unwrap_or(usize::MAX);
        }
        self.items()
    }

    /// Bytes of it in a log entry, about.
    pub fn size(&self) -> usize {
        let receipts = |list: &[Receipt]| list.iter().map(|r| r.id.as_str().len() + 12).sum();
        let ids = |list: &[JobId]| list.iter().map(|id| id.as_str().len() + 2).sum();
        let variable: usize = match self {
            Self::Push { jobs } => jobs.iter().map(NewJob::size).sum(),
            Self::Pop { consumer, .. } => consumer.as_str().len(),
            Self::Ack { receipts: list }
            | Self::Release { receipts: list }
            | Self::Extend { receipts: list, .. } => receipts(list),
            Self::Nack { receipts: list, error, .. } | Self::Reject { receipts: list, error } => {
                let of_list: usize = receipts(list);
                of_list + error.len()
            }
            Self::Pause { reason } => reason.len(),
            Self::Redrive { ids: list, .. } | Self::PurgeDead { ids: list, .. } => ids(list),
            Self::Resume
            | Self::Purge
            | Self::Delete
            | Self::Limit { .. }
            | Self::GiveBack { .. } => 0,
        };
        variable + 64
    }
}

impl NewJob {
    /// Bytes of it in a log entry, about.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
        self.payload.len() + headers + self.id.as_str().len() + 64
    }
}

/// What a command answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Of `Push`, in order of the jobs.
    Pushed(Vec<Pushed>),
    /// Of `Pop`.
    Popped(Popped),
    /// Of `Ack`, `Nack`, `Reject`, `Release`, `Extend`, in order of the receipts.
    Settled(Vec<Settled>),
    /// Of `Pause`, `Resume`, `Limit`.
    Set,
    /// Of `Purge`, `Redrive`, `PurgeDead`, `GiveBack`: how many jobs.
    Moved(u64),
    /// The command breaks a rule; the text names value and rule. Nothing was done.
    Invalid(String),
    /// A limit was reached; the text names it. Nothing was done.
    LimitReached(String),
}

/// What became of a pushed job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pushed {
    /// It is in the queue.
    Created,
    /// The id is taken: the job is there, or was done within the dedup window.
    Duplicate {
        /// Where it is.
        state: State,
    },
    /// The queue is full; the text names the limit. It is not in the queue.
    Refused(String),
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Waits to be taken.
    Ready,
    /// Not due yet: pushed with a delay, or failed and pausing.
    Delayed,
    /// Taken, on a lease.
    Leased,
    /// In the dead letters.
    Dead,
    /// Acknowledged, and remembered.
    Done,
}

impl State {
    /// The name in JSON, tables and arguments.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Delayed => "delayed",
            Self::Leased => "leased",
            Self::Dead => "dead",
            Self::Done => "done",
        }
    }
}

/// What a pop gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Popped {
    /// The jobs, in order.
    pub jobs: Vec<Delivery>,
    /// Nothing was taken because the queue is paused; the reason.
    pub paused: Option<String>,
    /// With no jobs: when asking again may give some without a push, in milliseconds from now.
    pub next_ms: Option<u64>,
}

/// A job that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its receipt: what every later command about this delivery needs.
    pub receipt: Receipt,
    /// Its payload.
    #[serde(with = "super::bytes")]
    pub payload: Vec<u8>,
    /// Its priority.
    pub priority: u8,
    /// Which delivery this is, from 1.
    pub attempt: u32,
    /// Deliveries there may be; 0: no limit.
    pub max_attempts: u32,
    /// Time until the lease ends.
    pub lease_ms: u64,
    /// Time since the push.
    pub age_ms: u64,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// What the last failed delivery said.
    pub last_error: Option<String>,
}

/// What became of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settled {
    /// As asked; also when the very same was done with it before.
    Done,
    /// It failed for the last time, or its life was over: it is in the dead letters.
    Dead,
    /// The lease was lost, or the receipt never was one: nothing was done.
    Stale,
}

/// What a read asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Counts of the queues whose name begins with `prefix`, in order of name.
    Queues {
        /// Beginning of the name.
        prefix: String,
        /// Names after this one.
        after: Option<Name>,
        /// At most so many (1 000 at most).
        limit: u32,
    },
    /// One queue.
    Stats {
        /// Its name.
        queue: Name,
    },
    /// Jobs of one state, in the order in which they are due.
    Peek {
        /// The queue.
        queue: Name,
        /// Which.
        state: State,
        /// So many of them are passed over.
        skip: u32,
        /// At most so many (100 at most).
        limit: u32,
    },
    /// One job.
    Job {
        /// The queue.
        queue: Name,
        /// Its id.
        id: JobId,
    },
    /// Do the counts agree with the jobs?
    Audit {
        /// The queue.
        queue: Name,
    },
}

impl Query {
    /// The queue that is asked for, if it is one.
    pub const fn queue(&self) -> Option<&Name> {
        match self {
            Self::Queues { .. } => None,
            Self::Stats { queue }
            | Self::Peek { queue, .. }
            | Self::Job { queue, .. }
            | Self::Audit { queue } => Some(queue),
        }
    }
}

/// What a read answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// Of `Queues`.
    Queues {
        /// One page.
        items: Vec<Stats>,
        /// There are more.
        more: bool,
    },
    /// Of `Stats`; `None`: no such queue.
    Stats(Option<Stats>),
    /// Of `Peek`.
    Jobs {
        /// One page.
        items: Vec<JobView>,
        /// There are more.
        more: bool,
    },
    /// Of `Job`; `None`: no such job.
    Job(Option<JobView>),
    /// Of `Audit`: what does not agree, in words; empty when all does.
    Audit(Vec<String>),
}

/// A job as shown to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Where it is.
    pub state: State,
    /// Its priority.
    pub priority: u8,
    /// Deliveries so far.
    pub attempts: u32,
    /// Deliveries there may be; 0: no limit.
    pub max_attempts: u32,
    /// Time since the push.
    pub age_ms: u64,
    /// Delayed: until it is due; leased: until the lease ends; dead: since it died.
    pub time_ms: u64,
    /// Who has it, or had it last.
    pub consumer: Option<Name>,
    /// The failures, oldest first; the last ones.
    pub errors: Vec<String>,
    /// Why it is dead.
    pub cause: Option<String>,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its payload, at most its first [`PEEK_BYTES`](super::PEEK_BYTES) bytes.
    #[serde(with = "super::bytes")]
    pub payload: Vec<u8>,
    /// Bytes of the whole payload.
    pub payload_bytes: u32,
}
