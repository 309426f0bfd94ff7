//! One request, one effect (L8): repetitions, look-ups and cancellations.

use super::grant::End;
use super::machine::{LockMachine, Step};
use super::{Lookup, Outcome, Request, RequestKey};

impl LockMachine {
    /// What is known of a request.
    pub fn lookup(&self, key: &RequestKey) -> Lookup {
        if let Some(ticket) = self.pending.get(key) {
            return Lookup::Pending { position: self.position(*ticket) };
        }
        let known = match key {
            RequestKey::Detached(_) => self.state.remembered.get(key).cloned(),
            RequestKey::Session { session, seq } => match self.state.sessions.get(session) {
                Some(live) => match live.saved.get(*seq) {
                    None if live.saved.is_stale(*seq) => Some(Outcome::StaleSeq),
                    saved => saved.cloned(),
                },
                None if *session > self.state.last_session => None,
                None => Some(self.of_ended_session(key)),
            },
        };
        known.map_or(Lookup::Unknown, Lookup::Done)
    }

    /// The answer to a repetition; `None` for a request that was not seen yet.
    pub(super) fn recall(&mut self, request: &Request) -> Option<Outcome> {
        let key = request.key;
        if let RequestKey::Session { session, .. } = key
            && let Some(live) = self.state.sessions.get_mut(&session)
        {
            live.saved.raise_floor(request.first_outstanding);
        }
        if super::mutant!(RetryQueuesTwice) && self.pending.contains_key(&key) {
            return None;
        }
        if let Some(ticket) = self.pending.get(&key) {
            return Some(self.queued(*ticket));
        }
        let RequestKey::Session { session, seq } = key else {
            return self.state.remembered.get(&key).cloned();
        };
        let Some(live) = self.state.sessions.get(&session) else {
            return Some(self.of_ended_session(&key));
        };
        match live.saved.get(seq) {
            None => live.saved.is_stale(seq).then_some(Outcome::StaleSeq),
            saved => saved.cloned(),
        }
    }

    fn of_ended_session(&self, key: &RequestKey) -> Outcome {
        self.state.remembered.get(key).cloned().unwrap_or(Outcome::SessionExpired)
    }

    /// Keeps the outcome of a request for its repetitions.
    pub(super) fn save(&mut self, key: RequestKey, outcome: Outcome) {
        if let RequestKey::Session { session, seq } = key
            && let Some(live) = self.state.sessions.get_mut(&session)
        {
            live.saved.keep(seq, outcome);
        } else {
            self.state.remembered.keep(self.state.now_ms, key, outcome);
        }
    }

    /// Withdraws a request, or gives back what it was granted. A request that was not seen yet is
    /// marked, so that it has no effect when it comes late.
    ///
    /// Answers what became of the target: `Cancelled`, or the outcome that cannot be undone.
    pub(super) fn cancel(
        &mut self,
        step: &mut Step,
        key: RequestKey,
        target: RequestKey,
    ) -> Outcome {
        if key == target {
            return Outcome::Invalid("a request cannot cancel itself: name another".to_owned());
        }
        if let RequestKey::Session { session, seq } = target {
            let own = matches!(key, RequestKey::Session { session: s, .. } if s == session);
            if !own || seq == 0 {
                return Outcome::Invalid(format!(
                    "request {seq} of session {} is not the caller's: \
                     cancel it with a key of its own session",
                    session.0
                ));
            }
        }
        if let Some(ticket) = self.pending.get(&target) {
            self.settle(step, *ticket, Outcome::Cancelled);
            return Outcome::Cancelled;
        }
        match self.lookup(&target) {
            Lookup::Done(Outcome::Granted(grants)) => {
                for grant in grants {
                    self.leave(step, &grant.lock, grant.token, false, &End::released());
                }
                self.save(target, Outcome::Cancelled);
                Outcome::Cancelled
            }
            Lookup::Done(outcome) => outcome,
            Lookup::Unknown | Lookup::Pending { .. } => {
                self.save(target, Outcome::Cancelled);
                Outcome::Cancelled
            }
        }
    }
}
