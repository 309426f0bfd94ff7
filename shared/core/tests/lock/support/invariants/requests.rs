//! L6 and L8: one request, one effect, and none after its end.

use super::super::api::lock::{
    Applied, Batch, Command, LockMachine, Lookup, Outcome, Request, RequestKey,
};
use super::super::suite::Violation;
use super::{Checkers, Waiting, violation};

impl Checkers {
    /// L8: the same request gives the same answer, and acts once.
    pub(super) fn one_effect(&mut self, batch: &Batch, applied: &Applied) -> Result<(), Violation> {
        if self.expect_no_effect && !(applied.events.is_empty() && applied.settled.is_empty()) {
            return Err(violation("L8", format!("{:?} acted again: {applied:?}", batch.requests)));
        }
        for (request, outcome) in batch.requests.iter().zip(&applied.outcomes) {
            if let Outcome::Queued { .. } = outcome {
                self.note_queued(request)?;
            } else {
                self.note_decided(request.key, outcome)?;
            }
            if let (Command::Cancel { target }, Outcome::Cancelled) = (&request.command, outcome) {
                self.decided.insert(*target, Outcome::Cancelled);
            }
        }
        for (key, outcome) in &applied.settled {
            if self.pending.remove(key).is_none() {
                return Err(violation("L8", format!("{key:?} did not wait, got {outcome:?}")));
            }
            if self.decided.get(key) != Some(&Outcome::Cancelled) {
                self.note_decided(*key, outcome)?;
            }
        }
        Ok(())
    }

    fn note_queued(&mut self, request: &Request) -> Result<(), Violation> {
        if let Some(outcome) = self.decided.get(&request.key) {
            return Err(violation("L8", format!("{request:?} waits again, was {outcome:?}")));
        }
        let waiting = match &request.command {
            Command::Acquire { owner, .. } => {
                let RequestKey::Session { session, .. } = request.key else {
                    return Err(violation("L8", format!("{request:?} has no session")));
                };
                Waiting { session, owner: owner.clone() }
            }
            Command::Convert { token, .. } => {
                let Some((session, owner)) = self.granted.get(token) else {
                    return Err(violation("L8", format!("{request:?} converts no grant")));
                };
                Waiting { session: *session, owner: owner.clone() }
            }
            _ => return Err(violation("L8", format!("{request:?} cannot wait"))),
        };
        self.pending.insert(request.key, waiting);
        Ok(())
    }

    fn note_decided(&mut self, key: RequestKey, outcome: &Outcome) -> Result<(), Violation> {
        match self.decided.get(&key) {
            None => {
                self.decided.insert(key, outcome.clone());
                Ok(())
            }
            Some(first) if first == outcome => Ok(()),
            // The client gave up its claim to the answer, or the session that kept it is over.
            Some(_) if matches!(outcome, Outcome::StaleSeq | Outcome::SessionExpired) => Ok(()),
            Some(first) => {
                Err(violation("L8", format!("{key:?} was {first:?}, repeated it is {outcome:?}")))
            }
        }
    }

    /// L6: whoever is shown waiting waits, once, and nobody else does.
    pub(super) fn no_ghosts(&self, machine: &LockMachine) -> Result<(), Violation> {
        for lock in &self.locks {
            let total = lock.waiters.len();
            for w in &lock.waiters {
                let known = self.pending.values();
                if !known.clone().any(|p| p.session == w.session && p.owner == w.owner) {
                    return Err(violation("L6", format!("{w:?} is a ghost at {}", lock.name)));
                }
                let of_owner = lock
                    .waiters
                    .iter()
                    .filter(|o| o.session == w.session && o.owner == w.owner)
                    .count();
                if of_owner != 1 {
                    return Err(violation("L8", format!("{w:?} waits {of_owner} times")));
                }
            }
            let last = lock.waiters.last().map_or(0, |w| usize::try_from(w.position).unwrap());
            if last != total {
                return Err(violation("L6", format!("{} has places without a waiter", lock.name)));
            }
        }
        for (key, waiting) in &self.pending {
            let shown = self.locks.iter().flat_map(|lock| &lock.waiters);
            let mut own =
                shown.filter(|w| w.session == waiting.session && w.owner == waiting.owner);
            if own.next().is_none() || !matches!(machine.lookup(key), Lookup::Pending { .. }) {
                return Err(violation("L6", format!("{key:?} lost its place")));
            }
        }
        for step in machine.wait_graph().0 {
            let mut waiting = self.pending.values();
            if !waiting.any(|p| p.session == step.session && p.owner == step.waiter) {
                return Err(violation("L6", format!("{step:?} is of one who does not wait")));
            }
        }
        let counts = machine.counts();
        // An entry of a lock that nothing is left of shows nowhere but here.
        if counts.tickets != self.pending.len() || counts.locks != self.locks.len() {
            return Err(violation("L6", format!("{counts:?}, {} wait", self.pending.len())));
        }
        let empty = |l: &&super::LockView| {
            l.holders.is_empty() && l.waiters.is_empty() && l.delay.is_none()
        };
        match self.locks.iter().find(empty) {
            Some(lock) => Err(violation("L6", format!("{lock:?} is kept though it is empty"))),
            None => Ok(()),
        }
    }
}
