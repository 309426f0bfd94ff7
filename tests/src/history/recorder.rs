//! Collects a history from many clients on one clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Action, Answer, Fence, History, Lease, Op, Us};

/// A history under way; cheap to clone.
pub type SharedHistory = Arc<Recorder>;

/// Collects a history.
pub struct Recorder {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    history: History,
    fence: Fence,
}

/// A request under way; gives its record when it is answered.
#[derive(Debug, Clone, Copy)]
pub struct Pending(usize);

/// Who asks for what.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The client.
    pub client: u32,
    /// Its session.
    pub session: u64,
    /// Names the request.
    pub request: u64,
    /// Owner label.
    pub owner: &'a str,
    /// What.
    pub action: Action,
}

impl Recorder {
    /// A history whose times come from `clock`, which never goes back.
    pub fn new(clock: impl Fn() -> Duration + Send + Sync + 'static) -> SharedHistory {
        Arc::new(Self { clock: Box::new(clock), inner: Mutex::default() })
    }

    /// A history on this process's clock.
    pub fn on_real_time() -> SharedHistory {
        let begin = tokio::time::Instant::now();
        Self::new(move || begin.elapsed())
    }

    /// Now.
    pub fn now(&self) -> Us {
        u64::try_from((self.clock)().as_micros()).expect("a run shorter than 500 000 years")
    }

    /// A request is about to be sent.
    pub fn called(&self, asked: Asked<'_>) -> Pending {
        let called = self.now();
        let ops = &mut self.inner.lock().history.ops;
        ops.push(Op {
            client: asked.client,
            session: asked.session,
            request: asked.request,
            owner: asked.owner.to_owned(),
            called,
            queued: None,
            withdrawn: None,
            returned: None,
            action: asked.action,
            answer: Answer::NotGranted,
            again: Vec::new(),
        });
        Pending(ops.len() - 1)
    }

    /// The client learnt that its request waits in the queue.
    pub fn queued(&self, pending: Pending) {
        let now = self.now();
        if let Some(op) = self.inner.lock().history.ops.get_mut(pending.0) {
            op.queued.get_or_insert(now);
        }
    }

    /// The client is about to withdraw its request.
    pub fn withdrawing(&self, pending: Pending) {
        let now = self.now();
        if let Some(op) = self.inner.lock().history.ops.get_mut(pending.0) {
            op.withdrawn.get_or_insert(now);
        }
    }

    /// The request was sent again after its answer, and this was said.
    pub fn told_again(&self, pending: Pending, answer: Answer) {
        if let Some(op) = self.inner.lock().history.ops.get_mut(pending.0) {
            op.again.push(answer);
        }
    }

    /// What was left after all clients were gone and all leases over.
    pub fn remains(&self, left: Vec<String>) {
        self.inner.lock().history.remains = Some(left);
    }

    /// The request was answered, or given up as [`Answer::Unknown`].
    pub fn returned(&self, pending: Pending, answer: Answer) {
        let now = self.now();
        if let Some(op) = self.inner.lock().history.ops.get_mut(pending.0) {
            op.returned = Some(now);
            op.answer = answer;
        }
    }

    /// A session was opened by a request sent at `sent`.
    pub fn opened(&self, client: u32, session: u64, ttl_ms: u64, sent: Us) {
        let lease = Lease {
            session,
            client,
            ttl: ttl_ms * 1_000,
            renewals: vec![(sent, self.now())],
            last_sent: sent,
            ..Lease::default()
        };
        self.inner.lock().history.leases.push(lease);
    }

    /// Changes what is known of a session's lease.
    pub fn lease(&self, session: u64, change: impl FnOnce(&mut Lease, Us)) {
        let now = self.now();
        let leases = &mut self.inner.lock().history.leases;
        if let Some(lease) = leases.iter_mut().find(|l| l.session == session) {
            change(lease, now);
        }
    }

    /// A holder writes to the resource that the lock guards; true when let in.
    pub fn write(&self, resource: u64, token: u64) -> bool {
        let mut inner = self.inner.lock();
        // Read under the lock, so that the order of writes is the order of their times.
        let write = inner.fence.write(self.now(), resource, token);
        inner.history.writes.push(write);
        write.accepted
    }

    /// A fault was in force from `begin` until now.
    pub fn outage(&self, begin: Us) {
        let now = self.now();
        self.inner.lock().history.outages.push((begin, now));
    }

    /// A fault was in force, or its recovery under way, for this time.
    pub fn outage_until(&self, begin: Us, end: Us) {
        self.inner.lock().history.outages.push((begin, end));
    }

    /// The run is to show this fault: it counts as not fired until it is [`Self::fired`].
    pub fn wants(&self, fault: &str) {
        self.fired_times(fault, 0);
    }

    /// The fault happened.
    pub fn fired(&self, fault: &str) {
        self.fired_times(fault, 1);
    }

    /// The fault happened so many times.
    pub fn fired_times(&self, fault: &str, times: u64) {
        *self.inner.lock().history.faults.entry(fault.to_owned()).or_insert(0) += times;
    }

    /// Longest delay between a lost lease and the next grant.
    pub fn lock_delay_ms(&self, delay_ms: u64) {
        self.inner.lock().history.lock_delay = delay_ms * 1_000;
    }

    /// What was collected so far.
    pub fn history(&self) -> History {
        self.inner.lock().history.clone()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("inner", &self.inner).finish_non_exhaustive()
    }
}
