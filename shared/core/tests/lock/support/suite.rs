//! Runs one history over the real machine: the invariants first, then the reference model.

use super::api::lock::{
    Applied, At, Batch, EventKind, LockMachine, Outcome, SessionId, Settings, Snapshot,
};
use super::history::{Clients, Event, Op};
use super::invariants::Checkers;
use super::reference::Reference;

/// What was broken, and who saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// `L1` … `L9`, `reference` or `snapshot`.
    pub(crate) checker: &'static str,
    pub(crate) what: String,
}

/// Times that make much happen in little time.
pub(crate) const SETTINGS: Settings = Settings {
    new_term_grace_ms: 1_500,
    lock_delay_ms: 400,
    wound_grace_ms: 700,
    min_ttl_ms: 1_200,
};

/// Who judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Judge {
    /// The invariants, then the reference model and the snapshots.
    #[default]
    All,
    /// The invariants alone.
    Invariants,
}

/// Runs a history; every entry is checked.
pub(crate) fn run(history: &[Event], judge: Judge) -> Result<Run, Violation> {
    let mut run = Run { judge, ..Run::default() };
    let mut batch = Batch { settings: SETTINGS, ..Batch::default() };
    for event in history {
        let alone =
            matches!(event.op, Op::Retry { .. } | Op::NewTerm { .. } | Op::Restore | Op::Tick);
        if alone || !event.joined {
            run.flush(&mut batch)?;
            run.t_ms += u64::from(event.pause) * 10;
        }
        match &event.op {
            Op::NewTerm { clock_behind } => {
                run.term += 1;
                run.flush_now(&mut batch, u64::from(*clock_behind) * 10)?;
            }
            Op::Tick => run.flush_now(&mut batch, 0)?,
            Op::Restore if judge == Judge::All => run.restore()?,
            Op::Restore => {}
            Op::Retry { .. } => {
                // Time stands still: whatever happens is the repetition's doing.
                run.flush_now(&mut batch, 0)?;
                run.clients.put(&event.op, &mut batch);
                run.checkers.expect_no_effect = true;
                run.flush(&mut batch)?;
                run.checkers.expect_no_effect = false;
            }
            op => run.clients.put(op, &mut batch),
        }
    }
    run.flush(&mut batch)?;
    run.heal()?;
    Ok(run)
}

/// A run on its way.
#[derive(Debug, Default)]
pub(crate) struct Run {
    judge: Judge,
    pub(crate) machine: LockMachine,
    reference: Reference,
    clients: Clients,
    checkers: Checkers,
    index: u64,
    term: u64,
    t_ms: u64,
    /// What happened, to see that a run is not vacuous.
    pub(crate) seen: Seen,
}

/// Counts of what happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) granted: u32,
    pub(crate) queued: u32,
    pub(crate) deadlocks: u32,
    pub(crate) wounded: u32,
    pub(crate) expired: u32,
    pub(crate) timeouts: u32,
    pub(crate) converted: u32,
    pub(crate) revoked: u32,
}

impl Run {
    fn flush(&mut self, batch: &mut Batch) -> Result<(), Violation> {
        if batch.requests.is_empty() && batch.keep_alives.is_empty() {
            return Ok(());
        }
        self.flush_now(batch, 0)
    }

    fn flush_now(&mut self, batch: &mut Batch, behind_ms: u64) -> Result<(), Violation> {
        self.index += 1;
        let t_ms = self.t_ms.saturating_sub(behind_ms);
        let at = At { index: self.index, term: self.term, t_ms };
        let applied = self.machine.apply(at, batch);
        self.seen.count(&applied);
        self.checkers.check(at, batch, &applied, &self.machine)?;
        self.clients.hear(batch, &applied);
        if self.judge == Judge::All {
            self.compare(at, batch, &applied)?;
        }
        batch.requests.clear();
        batch.keep_alives.clear();
        Ok(())
    }

    fn compare(&mut self, at: At, batch: &Batch, applied: &Applied) -> Result<(), Violation> {
        let mut expected = self.reference.apply(at, batch);
        let mut got = applied.clone();
        blur(&mut expected);
        blur(&mut got);
        same("what was done", &got, &expected)?;
        same("the locks", &self.machine.list("", false, None, 1_000).0, &self.reference.locks())?;
        let sessions = self.machine.sessions(SessionId(0), 1_000).0;
        same("the sessions", &sessions, &self.reference.sessions())
    }

    /// A machine restored from a snapshot is the machine, down to its indices.
    fn restore(&mut self) -> Result<(), Violation> {
        let violation = |what: String| Violation { checker: "snapshot", what };
        let bytes = postcard::to_stdvec(&self.machine.snapshot_ref()).unwrap();
        let snapshot: Snapshot = postcard::from_bytes(&bytes).unwrap();
        let restored =
            LockMachine::restore(snapshot).map_err(|fault| violation(fault.to_string()))?;
        if restored != self.machine {
            return Err(violation(format!("{restored:#?}\nis not\n{:#?}", self.machine)));
        }
        let again = postcard::to_stdvec(&restored.snapshot()).unwrap();
        if again != bytes {
            return Err(violation("the bytes differ".to_owned()));
        }
        self.machine = restored;
        Ok(())
    }

    /// At the end nobody keeps anything alive: all must become free, by deadlines alone.
    fn heal(&mut self) -> Result<(), Violation> {
        for _ in 0..1_000 {
            let Some(next) = self.machine.next_deadline() else { break };
            self.t_ms = self.t_ms.max(next);
            self.flush_now(&mut Batch { settings: SETTINGS, ..Batch::default() }, 0)?;
        }
        let counts = self.machine.counts();
        if (counts.sessions, counts.locks, counts.grants, counts.tickets) != (0, 0, 0, 0) {
            let what = format!("left over when all deadlines have passed: {counts:?}");
            return Err(Violation { checker: "L4", what });
        }
        Ok(())
    }
}

impl Seen {
    fn count(&mut self, applied: &Applied) {
        for outcome in applied.outcomes.iter().chain(applied.settled.iter().map(|(_, o)| o)) {
            let count = match outcome {
                Outcome::Granted(_) => &mut self.granted,
                Outcome::Queued { .. } => &mut self.queued,
                Outcome::Deadlock(_) => &mut self.deadlocks,
                Outcome::Wounded { .. } => &mut self.wounded,
                Outcome::Timeout => &mut self.timeouts,
                Outcome::Converted(_) => &mut self.converted,
                _ => continue,
            };
            *count += 1;
        }
        for event in &applied.events {
            match event.kind {
                EventKind::SessionExpired { .. } => self.expired += 1,
                EventKind::Revoke { .. } => self.revoked += 1,
                _ => {}
            }
        }
    }
}

/// Texts for people, and which of several cycles is shown, are not the reference's business.
fn blur(applied: &mut Applied) {
    let settled = applied.settled.iter_mut().map(|(_, outcome)| outcome);
    for outcome in applied.outcomes.iter_mut().chain(settled) {
        match outcome {
            Outcome::Invalid(text) => text.clear(),
            Outcome::Deadlock(cycle) => cycle.clear(),
            _ => {}
        }
    }
    for event in &mut applied.events {
        if let EventKind::Deadlock(cycle) = &mut event.kind {
            cycle.clear();
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, want: &T) -> Result<(), Violation> {
    if got == want {
        return Ok(());
    }
    let what = format!("{what} differ: machine {got:#?}\nreference {want:#?}");
    Err(Violation { checker: "reference", what })
}
