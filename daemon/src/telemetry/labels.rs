//! Label values of metrics: closed lists, so that nobody outside can make a new time series.

use std::fmt::{self, Write as _};

use dsync::api::{AdminRequest, CacheRequest, LockRequest, QueueRequest};
use dsync_core::cache::told::LineState;
use dsync_core::lock::Command;
use dsync_core::{Code, queue};
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// Declares an enum whose values are label values, with their names.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The label value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
                encoder.write_str(self.as_str())
            }
        }
    };
}

label! {
    /// Who is at the other end of a connection.
    Plane {
        /// Clients, and nodes that hand requests of theirs on.
        Client = "client",
        /// Nodes, for Raft and greetings.
        Peer = "peer",
    }
}

label! {
    /// What was asked.
    RequestKind {
        /// Opens a session.
        OpenSession = "open_session",
        /// Ends a session.
        CloseSession = "close_session",
        /// Asks for locks.
        Acquire = "acquire",
        /// Withdraws a request.
        Cancel = "cancel",
        /// Gives a lock up.
        Release = "release",
        /// Extends a lease by token.
        Renew = "renew",
        /// Changes how a lock is held.
        Convert = "convert",
        /// Takes a lock away.
        ForceRelease = "force_release",
        /// Extends a session.
        KeepAlive = "keep_alive",
        /// Waits for a queued request.
        Await = "await",
        /// Reads about locks and sessions.
        Read = "read",
        /// Waits for events.
        Events = "events",
        /// Anything about nodes.
        Admin = "admin",
        /// Adds jobs.
        Push = "push",
        /// Takes jobs.
        Pop = "pop",
        /// Ends or prolongs a lease on jobs.
        Settle = "settle",
        /// Changes a queue itself, or many of its jobs.
        Manage = "manage",
        /// Reads about queues.
        Look = "look",
        /// Reads keys of the cache.
        Get = "get",
        /// Changes keys of the cache.
        Change = "change",
        /// Deletes many keys of the cache.
        Invalidate = "invalidate",
        /// Reads about the cache.
        LookAtCache = "look_at_cache",
    }
}

impl From<&QueueRequest> for RequestKind {
    fn from(request: &QueueRequest) -> Self {
        let QueueRequest::Do { command, .. } = request else { return Self::Look };
        match command {
            queue::Command::Push { .. } => Self::Push,
            queue::Command::Pop { .. } => Self::Pop,
            queue::Command::Ack { .. }
            | queue::Command::Nack { .. }
            | queue::Command::Reject { .. }
            | queue::Command::Release { .. }
            | queue::Command::Extend { .. }
            | queue::Command::GiveBack { .. } => Self::Settle,
            queue::Command::Pause { .. }
            | queue::Command::Resume
            | queue::Command::Purge
            | queue::Command::Delete
            | queue::Command::Limit { .. }
            | queue::Command::Redrive { .. }
            | queue::Command::PurgeDead { .. } => Self::Manage,
        }
    }
}

impl From<&CacheRequest> for RequestKind {
    fn from(request: &CacheRequest) -> Self {
        match request {
            CacheRequest::Get { .. } => Self::Get,
            CacheRequest::Do { .. } => Self::Change,
            CacheRequest::Invalidate { .. } => Self::Invalidate,
            CacheRequest::Inspect { .. }
            | CacheRequest::Line { .. }
            | CacheRequest::Keys { .. }
            | CacheRequest::Stats
            | CacheRequest::Lost
            | CacheRequest::View => Self::LookAtCache,
        }
    }
}

impl From<&LockRequest> for RequestKind {
    fn from(request: &LockRequest) -> Self {
        match request {
            LockRequest::Do(request) => match request.command {
                Command::OpenSession { .. } => Self::OpenSession,
                Command::CloseSession => Self::CloseSession,
                Command::Acquire { .. } => Self::Acquire,
                Command::Cancel { .. } => Self::Cancel,
                Command::Release { .. } => Self::Release,
                Command::Renew { .. } => Self::Renew,
                Command::Convert { .. } => Self::Convert,
                Command::ForceRelease { .. } => Self::ForceRelease,
            },
            LockRequest::KeepAlive { .. } => Self::KeepAlive,
            LockRequest::Await { .. } => Self::Await,
            LockRequest::Get { .. }
            | LockRequest::List { .. }
            | LockRequest::Validate { .. }
            | LockRequest::WaitGraph
            | LockRequest::Sessions { .. } => Self::Read,
            LockRequest::Events { .. } | LockRequest::Holding { .. } => Self::Events,
        }
    }
}

impl From<&AdminRequest> for RequestKind {
    fn from(_: &AdminRequest) -> Self {
        Self::Admin
    }
}

label! {
    /// What answered a read of the cache.
    CacheRead {
        /// A line of the node.
        Line = "line",
        /// The home of the key was asked.
        Home = "home",
        /// The memory, past all lines.
        Memory = "memory",
        /// A copy that may be old, as the reader allowed.
        Stale = "stale",
    }
}

label! {
    /// Whom the cache role asked.
    CallTo {
        /// The memory.
        Memory = "memory",
        /// Another node.
        Node = "node",
    }
}

label! {
    /// State of a line.
    State {
        /// Nothing is held.
        I = "I",
        /// Held to be read.
        S = "S",
        /// Held to be written.
        E = "E",
        /// Written, and not in the memory.
        M = "M",
        /// Asked for, to be read.
        IsD = "IS_D",
        /// Asked for, to be written.
        ImD = "IM_D",
        /// The same, and read meanwhile.
        SmD = "SM_D",
        /// A change is on its way to the memory.
        Ew = "E_W",
        /// What was written is on its way to the memory.
        Mf = "M_F",
    }
}

impl From<LineState> for State {
    fn from(state: LineState) -> Self {
        match state {
            LineState::I => Self::I,
            LineState::S => Self::S,
            LineState::E => Self::E,
            LineState::M => Self::M,
            LineState::IsD => Self::IsD,
            LineState::ImD => Self::ImD,
            LineState::SmD => Self::SmD,
            LineState::Ew => Self::Ew,
            LineState::Mf => Self::Mf,
        }
    }
}

label! {
    /// How a request ended: `ok`, or the code of its fault.
    Outcome {
        /// It was answered.
        Ok = "ok",
        /// The request broke a rule of its own.
        InvalidArgument = "invalid_argument",
        /// Nothing of that name was there.
        NotFound = "not_found",
        /// No leader, no quorum, or stopping.
        Unavailable = "unavailable",
        /// A fault of dsync.
        Internal = "internal",
        /// The state did not allow it.
        Conflict = "conflict",
        /// The time given was used up.
        Timeout = "timeout",
        /// The other side speaks something else.
        Incompatible = "incompatible",
        /// Another cluster.
        WrongCluster = "wrong_cluster",
        /// Someone else holds it.
        NotOwner = "not_owner",
        /// Waiting would have closed a cycle.
        Deadlock = "deadlock",
        /// It gave way to an older request.
        Wounded = "wounded",
        /// The session was over.
        SessionExpired = "session_expired",
        /// A limit was reached.
        LimitReached = "limit_reached",
        /// Another role does that.
        WrongRole = "wrong_role",
        /// Not allowed.
        Denied = "denied",
        /// It would have had to wait.
        WouldBlock = "would_block",
    }
}

impl From<Code> for Outcome {
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidArgument => Self::InvalidArgument,
            Code::NotFound => Self::NotFound,
            Code::Unavailable => Self::Unavailable,
            Code::Internal => Self::Internal,
            Code::Conflict => Self::Conflict,
            Code::Timeout => Self::Timeout,
            Code::Incompatible => Self::Incompatible,
            Code::WrongCluster => Self::WrongCluster,
            Code::NotOwner => Self::NotOwner,
            Code::Deadlock => Self::Deadlock,
            Code::Wounded => Self::Wounded,
            Code::SessionExpired => Self::SessionExpired,
            Code::LimitReached => Self::LimitReached,
            Code::WrongRole => Self::WrongRole,
            Code::Denied => Self::Denied,
            Code::WouldBlock => Self::WouldBlock,
        }
    }
}

label! {
    /// What a node is in its Raft group.
    RaftState {
        /// The cluster is not formed.
        Forming = "forming",
        /// Receives the log, has no vote.
        Learner = "learner",
        /// Follows a leader.
        Follower = "follower",
        /// Stands for election.
        Candidate = "candidate",
        /// Leads.
        Leader = "leader",
        /// Raft ended.
        Stopped = "stopped",
        /// It has no Raft.
        None = "none",
    }
}

label! {
    /// Why an election began.
    ElectionReason {
        /// The cluster was formed or the node started.
        Started = "started",
        /// The leader was not heard for an election timeout.
        LeaderSilent = "leader_silent",
        /// The leader lost its quorum.
        QuorumLost = "quorum_lost",
        /// The leader handed leadership over.
        Transfer = "transfer",
        /// An earlier election had no winner.
        NoWinner = "no_winner",
        /// None of these.
        Other = "other",
    }
}

label! {
    /// What became of jobs.
    JobEvent {
        /// Came into a queue.
        Pushed = "pushed",
        /// Were pushed again.
        Duplicate = "duplicate",
        /// Found the queue full.
        Refused = "refused",
        /// Were given to a consumer.
        Delivered = "delivered",
        /// Were done, by the pop that took them too.
        Acked = "acked",
        /// Failed, or were given up, and not for the last time.
        Returned = "returned",
        /// Had a lease that ran out.
        Expired = "expired",
        /// Went to the dead letters.
        Dead = "dead",
        /// Were lost to another before their consumer said what became of them.
        Stale = "stale",
    }
}

label! {
    /// What ended by itself.
    Expired {
        /// A session: no keep-alive came.
        Session = "session",
        /// A grant: held longer than it asked for.
        Grant = "grant",
        /// A wait: longer than it asked for.
        Wait = "wait",
    }
}
