//! What the lock machine is asked and what it answers: the types on the wire and in the log.
//!
//! Append only: a variant's place is its number on disk and on the wire (golden-byte tests).

use serde::{Deserialize, Serialize};

use crate::name::Name;

/// Longest wait and longest lease: 24 h.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Lease of a session that does not name one.
pub const DEFAULT_TTL_MS: u64 = 15_000;
/// Shortest lease whatever the timers are.
pub const MIN_TTL_MS: u64 = 1_000;
/// Delay after a lease was lost by expiry or force, unless configured.
pub const DEFAULT_LOCK_DELAY_MS: u64 = 1_000;
/// Locks in one `AcquireMany`.
pub const GROUP_MAX: usize = 64;
/// Waiters of one lock.
pub const WAITERS_MAX: usize = 1_024;
/// Grants and tickets of one session.
pub const GRANTS_MAX: usize = 10_000;
/// Live sessions.
pub const SESSIONS_MAX: usize = 100_000;
/// Locks that are held or waited for.
pub const LOCKS_MAX: usize = 1_000_000;
/// Bytes of a session's description.
pub const META_MAX: usize = 4_096;

/// A session: the log index of its `OpenSession`, or the next free number above it when one entry
/// opens several. It rises and is never used twice.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct SessionId(pub u64);

/// A fencing token: strictly increases in the order of grants over all locks, never reused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct Token(pub u64);

/// Names one request for ever, so that its repetition has no second effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RequestKey {
    /// The `seq`-th request of a session.
    Session {
        /// The session.
        session: SessionId,
        /// Chosen by the client, rising from 1.
        seq: u64,
    },
    /// A request outside a session, named by 128 random bits.
    Detached(u128),
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// By one.
    Exclusive,
    /// By any number of sharers.
    Shared,
    /// `take` of `of` permits; all users of one lock must agree on `of`.
    Permits {
        /// Permits taken, 1 to `of`.
        take: u32,
        /// Permits there are.
        of: u32,
    },
}

/// What to do when a request would wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum Policy {
    /// Wait, unless that would close a cycle: then fail with the cycle spelled out.
    #[default]
    Detect,
    /// An older requester takes the lock from a younger holder; a younger one waits.
    WoundWait,
    /// An older requester waits; a younger one fails at once.
    WaitDie,
}

/// One lock asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Want {
    /// Its name.
    pub lock: Name,
    /// How to hold it.
    pub mode: Mode,
}

/// A command with the name that makes its repetition harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Names the request.
    pub key: RequestKey,
    /// The client still waits for answers from this `seq` on; older saved outcomes are dropped.
    /// 0 with a detached key.
    pub first_outstanding: u64,
    /// What to do.
    pub command: Command,
}

/// What changes the lock state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Opens a session (detached key; its 128 bits are the nonce).
    OpenSession {
        /// Lease: the session ends when no keep-alive came for so long.
        ttl_ms: u64,
        /// Who, for people to read.
        owner: Name,
        /// Anything, at most [`META_MAX`] bytes.
        meta: String,
        /// Ends by itself when the last grant or ticket is gone (one-shot use from a shell).
        ephemeral: bool,
    },
    /// Ends the session of the key: its tickets are withdrawn, its grants released cleanly.
    CloseSession,
    /// Asks for one lock or, all at once or none, for a group (session key).
    Acquire {
        /// The locks, 1 to [`GROUP_MAX`], each named once.
        wants: Vec<Want>,
        /// Owner label: (session, owner) is who holds.
        owner: Name,
        /// Longest wait; 0 answers `WouldBlock` instead of waiting.
        wait_ms: u64,
        /// What to do when it would wait.
        policy: Policy,
        /// Age for wound-wait and wait-die, kept over retries; 0: the session's.
        age: u64,
        /// The grant ends after so long even if the session lives; 0: no such limit.
        max_hold_ms: u64,
    },
    /// Withdraws a waiting request, or releases what it was granted meanwhile.
    Cancel {
        /// The request.
        target: RequestKey,
    },
    /// Gives one grant up (one level of a re-entered one unless `all`). Needs the token, or a session key and the owner label.
    Release {
        /// The lock.
        lock: Name,
        /// The grant's token; `None`: the one that (session of the key, `owner`) holds.
        token: Option<Token>,
        /// Owner label, where no token is given.
        owner: Option<Name>,
        /// Every level of a re-entered grant.
        all: bool,
    },
    /// Extends the lease of the session that holds the grant.
    Renew {
        /// The lock.
        lock: Name,
        /// The grant's token.
        token: Token,
        /// A new lease length; `None` keeps it.
        ttl_ms: Option<u64>,
    },
    /// Changes how a grant is held. An upgrade may wait, at the head of the queue.
    Convert {
        /// The lock.
        lock: Name,
        /// The grant's token.
        token: Token,
        /// Exclusive or shared.
        to: Mode,
        /// Longest wait.
        wait_ms: u64,
    },
    /// Takes a grant away from whoever has it; a lock-delay follows.
    ForceRelease {
        /// The lock.
        lock: Name,
        /// The grant's token, so that only what was looked at is taken.
        token: Token,
        /// Who did it.
        actor: Name,
        /// Why.
        reason: String,
    },
}

/// Times that every node must agree on: the leader's, carried in each entry, so that nodes with
/// different configuration still compute the same state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to the name")]
pub struct Settings {
    /// After the first entry of a new term nothing expires for so long (twice the longest election
    /// timeout): time for clients to find the new leader.
    pub new_term_grace_ms: u64,
    /// Delay before a lock whose lease was lost (not released) is granted again.
    pub lock_delay_ms: u64,
    /// Time a wounded holder has to release by itself.
    pub wound_grace_ms: u64,
    /// Shortest lease granted.
    pub min_ttl_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            new_term_grace_ms: 1_200,
            lock_delay_ms: DEFAULT_LOCK_DELAY_MS,
            wound_grace_ms: 2_000,
            min_ttl_ms: MIN_TTL_MS,
        }
    }
}

/// Where and when an entry applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Log index of the entry.
    pub index: u64,
    /// Term of the leader that proposed it.
    pub term: u64,
    /// Cluster time, the leader's monotone clock.
    pub t_ms: u64,
}

/// What applying one [`Batch`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// For each keep-alive the time left, or `None` when the session is over.
    pub keep_alives: Vec<Option<u64>>,
    /// For each request its outcome.
    pub outcomes: Vec<Outcome>,
    /// Earlier requests that were `Queued` and are now decided.
    pub settled: Vec<(RequestKey, Outcome)>,
    /// What watchers want to know.
    pub events: Vec<Event>,
}

/// What the machine knows of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lookup {
    /// It waits.
    Pending {
        /// Place in the first queue in which it is not at the head, from 1.
        position: u32,
    },
    /// It is decided.
    Done(Outcome),
    /// Nothing is known of it (yet, or any more).
    Unknown,
}

/// One log entry of the lock service: what the leader collected while the last one was written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Times in force.
    pub settings: Settings,
    /// Sessions to refresh, before anything expires.
    pub keep_alives: Vec<SessionId>,
    /// Then the requests, in this order.
    pub requests: Vec<Request>,
}

/// One lock that was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its name.
    pub lock: Name,
    /// How it is held.
    pub mode: Mode,
    /// The fencing token.
    pub token: Token,
    /// Times this owner has entered, 1 for a new grant.
    pub count: u32,
}

/// One who holds, as shown to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Owner label.
    pub owner: Name,
    /// Session.
    pub session: SessionId,
    /// How.
    pub mode: Mode,
    /// Fencing token.
    pub token: Token,
    /// Times entered.
    pub count: u32,
    /// Time until its lease ends if no keep-alive comes.
    pub expires_in_ms: u64,
}

/// One who waits, as shown to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Owner label.
    pub owner: Name,
    /// Session.
    pub session: SessionId,
    /// How it wants to hold.
    pub mode: Mode,
    /// Place in the queue, from 1.
    pub position: u32,
    /// Time since it was queued.
    pub waiting_ms: u64,
    /// Names of the other locks of its group.
    pub group: Vec<Name>,
    /// It waits to upgrade a grant that it has.
    pub upgrade: bool,
}

/// One step of a cycle: `waiter` waits for `lock`, which `holder` has or is ahead for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleStep {
    /// Who waits.
    pub waiter: Name,
    /// The waiter's session.
    pub session: SessionId,
    /// For what.
    pub lock: Name,
    /// Who is in the way.
    pub holder: Name,
}

/// Why a lock that nobody holds is not granted yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// Time left.
    pub remaining_ms: u64,
    /// "lease of ci@build7 expired", "force-released by root@ops: …".
    pub reason: String,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The session is open.
    SessionOpened {
        /// Its id.
        session: SessionId,
        /// The lease in force.
        ttl_ms: u64,
    },
    /// The session is over.
    SessionClosed,
    /// Granted, in the order asked for.
    Granted(Vec<Grant>),
    /// Waiting; await it by its key.
    Queued {
        /// Place in the first queue in which it is not at the head, from 1.
        position: u32,
        /// Who is in the way.
        blockers: Vec<Holder>,
    },
    /// It would have had to wait.
    WouldBlock {
        /// Who holds.
        holders: Vec<Holder>,
        /// Set when nobody holds and a lock-delay runs.
        delay: Option<Delay>,
    },
    /// Not granted within its wait; the ticket is gone.
    Timeout,
    /// It would have closed this cycle.
    Deadlock(Vec<CycleStep>),
    /// An older request has or gets what it wanted (wound-wait, wait-die).
    Wounded {
        /// The lock.
        lock: Name,
        /// The older one.
        by: Name,
    },
    /// The request was withdrawn.
    Cancelled,
    /// One level, or all, of the grant is given up.
    Released {
        /// The grant's token.
        token: Token,
        /// Levels left; 0: free.
        remaining: u32,
    },
    /// The lease of the grant's session runs anew.
    Renewed {
        /// Time until it ends.
        expires_in_ms: u64,
        /// Holding session.
        session: SessionId,
    },
    /// Held in the new mode.
    Converted(Grant),
    /// The session is over or never was.
    SessionExpired,
    /// That token or owner does not hold the lock.
    NotHolder {
        /// Who does.
        current: Vec<Holder>,
    },
    /// A limit was reached; the text names it.
    LimitReached(String),
    /// The request is older than the client said it still waits for.
    StaleSeq,
    /// The request breaks a rule; the text names value and rule.
    Invalid(String),
}

/// What all should know of, beside the answer to the request: for waiters, watchers and logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Log index of the entry; several events may share it.
    pub index: u64,
    /// Cluster time.
    pub at_ms: u64,
    /// What.
    pub kind: EventKind,
}

/// Kinds of [`Event`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A lock was granted.
    Granted {
        /// The grant.
        grant: Grant,
        /// To whom.
        owner: Name,
        /// Its session.
        session: SessionId,
    },
    /// A lock was given up.
    Released {
        /// The lock.
        lock: Name,
        /// The grant's token.
        token: Token,
        /// Who had it.
        owner: Name,
        /// "released", "lease expired", "force-released by …", "wounded by …", "max hold reached".
        why: String,
    },
    /// An older request wants what this session holds: release it within the grace.
    Revoke {
        /// The lock.
        lock: Name,
        /// The grant's token.
        token: Token,
        /// The holder's session.
        session: SessionId,
        /// The older one.
        by: Name,
        /// Time until the token is taken.
        grace_ms: u64,
    },
    /// A session ended because no keep-alive came.
    SessionExpired {
        /// The session.
        session: SessionId,
        /// Its owner.
        owner: Name,
    },
    /// A cycle of waiters was refused.
    Deadlock(Vec<CycleStep>),
}

/// A lock as shown to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockView {
    /// Its name.
    pub name: Name,
    /// How it is held; `None` when free (waited for or delayed).
    pub mode: Option<Mode>,
    /// Who holds it.
    pub holders: Vec<Holder>,
    /// Who waits, in order.
    pub waiters: Vec<Waiter>,
    /// Why it is not granted though free.
    pub delay: Option<Delay>,
    /// Holders beyond those named.
    pub more_holders: u32,
    /// Waiters beyond those named.
    pub more_waiters: u32,
}

/// A session as shown to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its id.
    pub session: SessionId,
    /// Its owner.
    pub owner: Name,
    /// Its description.
    pub meta: String,
    /// Its lease.
    pub ttl_ms: u64,
    /// Time until it ends if no keep-alive comes.
    pub expires_in_ms: u64,
    /// Locks it holds.
    pub grants: u32,
    /// Locks it waits for.
    pub tickets: u32,
}
