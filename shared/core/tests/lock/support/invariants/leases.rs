//! L7 and its other side: nothing ends before its time, and nothing long after it.

use super::super::api::lock::{
    Applied, At, Batch, Command, Event, EventKind, LockMachine, Outcome, SessionId,
};
use super::super::suite::Violation;
use super::{Checkers, violation};

impl Checkers {
    /// Cluster time as the rules T1-T3 say it, counted here once more.
    pub(super) fn move_time(&mut self, at: At, batch: &Batch, applied: &Applied) {
        self.now_ms = self.now_ms.max(at.t_ms);
        if at.term > self.term {
            self.term = at.term;
            self.grace_until_ms = self.now_ms + batch.settings.new_term_grace_ms;
        }
        for (session, left) in batch.keep_alives.iter().zip(&applied.keep_alives) {
            if let (Some(lease), Some(_)) = (self.leases.get_mut(session), left) {
                lease.0 = self.now_ms;
            }
        }
    }

    /// L7: no early expiry, whatever any clock says.
    pub(super) fn leases_run_out(&mut self, event: &Event) -> Result<(), Violation> {
        let due = match &event.kind {
            EventKind::SessionExpired { session, .. } => {
                let Some((since, ttl)) = self.leases.remove(session) else {
                    return Err(violation("L7", format!("{event:?} ends no session")));
                };
                since + ttl
            }
            EventKind::Released { why, token, .. } if why.starts_with("wounded by") => {
                let Some(until) = self.revoked.remove(token) else {
                    return Err(violation("L7", format!("{event:?} without a revoke")));
                };
                until
            }
            EventKind::Released { why, .. } if why == "max hold reached" => 0,
            EventKind::Revoke { token, grace_ms, .. } => {
                self.revoked.insert(*token, event.at_ms + grace_ms);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let due = due.max(self.grace_until_ms);
        if self.now_ms < due || event.at_ms != self.now_ms {
            let now = self.now_ms;
            return Err(violation("L7", format!("{event:?} at {now}, not due before {due}")));
        }
        Ok(())
    }

    /// New and renewed leases.
    pub(super) fn learn_leases(&mut self, batch: &Batch, applied: &Applied) {
        for (request, outcome) in batch.requests.iter().zip(&applied.outcomes) {
            if self.decided.contains_key(&request.key) {
                continue;
            }
            // A cancellation answers what became of its target, which is no news.
            match outcome {
                _ if matches!(request.command, Command::Cancel { .. }) => {}
                Outcome::SessionOpened { session, ttl_ms } => {
                    self.leases.insert(*session, (self.now_ms, *ttl_ms));
                }
                Outcome::Renewed { session, expires_in_ms } => {
                    self.leases.insert(*session, (self.now_ms, *expires_in_ms));
                }
                _ => {}
            }
        }
    }

    /// L4: what is due ends in the first entry after, so that who waits gets it.
    pub(super) fn no_lease_outlives(&mut self, machine: &LockMachine) -> Result<(), Violation> {
        let live = machine.sessions(SessionId(0), 10_000).0;
        self.leases.retain(|id, _| live.iter().any(|view| view.session == *id));
        for view in live {
            let Some((since, ttl)) = self.leases.get(&view.session) else {
                return Err(violation("L4", format!("{view:?} is over")));
            };
            if (since + ttl).max(self.grace_until_ms) <= self.now_ms {
                return Err(violation("L4", format!("{view:?} outlives its lease")));
            }
        }
        match machine.next_deadline() {
            Some(next) if next <= self.now_ms => {
                Err(violation("L4", format!("due at {next}, undone at {}", self.now_ms)))
            }
            _ => Ok(()),
        }
    }
}
