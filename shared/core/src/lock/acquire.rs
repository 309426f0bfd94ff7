//! Asking for locks: one, or a group all at once.

use super::grant::Grantee;
use super::machine::{LockMachine, Step};
use super::state::{Standing, Ticket, TicketWant};
use super::{GRANTS_MAX, Grant, LOCKS_MAX, Mode, Outcome, Policy, RequestKey, SessionId, Want};
use crate::name::Name;

/// One `Acquire`.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) key: RequestKey,
    pub(super) session: SessionId,
    pub(super) owner: &'a Name,
    pub(super) wants: &'a [Want],
    pub(super) wait_ms: u64,
    pub(super) policy: Policy,
    pub(super) age: u64,
    pub(super) max_hold_ms: u64,
}

impl LockMachine {
    /// Grants now, or waits, or says why neither.
    pub(super) fn acquire(&mut self, step: &mut Step, ask: &Ask<'_>) -> Outcome {
        if let Some(refusal) = self.already_waits(ask.session, ask.owner) {
            return refusal;
        }
        let wants = match self.stand(ask) {
            Ok(wants) => wants,
            Err(outcome) => return outcome,
        };
        if let Some(limit) = self.over_limit(ask, &wants) {
            return Outcome::LimitReached(limit);
        }
        if wants.iter().all(|w| w.standing == Standing::Held || self.is_open(&w.want)) {
            let to = Grantee {
                session: ask.session,
                owner: ask.owner,
                age: ask.age,
                max_hold_ms: ask.max_hold_ms,
            };
            let grants = self.grant_all(step, &wants, to);
            for grant in &grants {
                if let Some(lock) = self.state.locks.get_mut(&grant.lock) {
                    lock.refresh_run();
                }
            }
            return Outcome::Granted(grants);
        }
        if ask.wait_ms == 0 {
            return self.would_block(ask.session, ask.owner, &wants);
        }
        let ticket = Ticket {
            key: ask.key,
            session: ask.session,
            owner: ask.owner.clone(),
            wants,
            since_ms: step.now_ms,
            until_ms: step.now_ms.saturating_add(ask.wait_ms),
            age: ask.age,
            max_hold_ms: ask.max_hold_ms,
        };
        self.wait(step, ticket, ask.policy)
    }

    /// Finds what the owner holds already and what it must queue for.
    fn stand(&self, ask: &Ask<'_>) -> Result<Vec<TicketWant>, Outcome> {
        let Some(session) = self.state.sessions.get(&ask.session) else {
            return Err(Outcome::SessionExpired);
        };
        let mut wants = Vec::with_capacity(ask.wants.len());
        for want in ask.wants {
            let held = session.token(ask.owner, &want.lock);
            let held = held.and_then(|token| Some((token, self.held(&want.lock, token)?)));
            let standing = match held {
                None => Standing::Queued,
                Some((_, held)) if held.mode.covers(want.mode) => Standing::Held,
                Some((token, held)) => {
                    return Err(Outcome::Invalid(format!(
                        "{} holds lock {:?} {} with token {}, which does not cover {}: \
                         convert the grant, release it first, or use another owner label",
                        ask.owner,
                        want.lock.as_str(),
                        words(held.mode),
                        token.0,
                        words(want.mode),
                    )));
                }
            };
            let lock = self.state.locks.get(&want.lock);
            if let Some(of) = lock.and_then(|lock| lock.disagrees_on_permits(want.mode)) {
                return Err(Outcome::Invalid(format!(
                    "lock {:?} is in use with {of} permits, not {}: all users must name one number",
                    want.lock.as_str(),
                    want.mode.permits_of().unwrap_or_default(),
                )));
            }
            wants.push(TicketWant { want: want.clone(), standing });
        }
        Ok(wants)
    }

    /// The limit that this request would break, in words.
    fn over_limit(&self, ask: &Ask<'_>, wants: &[TicketWant]) -> Option<String> {
        let session = self.state.sessions.get(&ask.session)?;
        let new = wants.iter().filter(|w| w.standing == Standing::Queued).count();
        if session.held + session.places + new > GRANTS_MAX {
            return Some(format!(
                "session {} has {} grants and tickets, {new} more make over {GRANTS_MAX}: \
                 release some or use more sessions",
                ask.session.0,
                session.held + session.places,
            ));
        }
        // Counting names costs a look-up each: only near the limit.
        if self.state.locks.len() + wants.len() > LOCKS_MAX {
            let fresh = wants.iter().filter(|w| !self.state.locks.contains_key(&w.want.lock));
            if self.state.locks.len() + fresh.count() > LOCKS_MAX {
                return Some(format!("{LOCKS_MAX} locks are in use: release some"));
            }
        }
        None
    }

    /// True when one who asks now need not wait for this lock.
    pub(super) fn is_open(&self, want: &Want) -> bool {
        self.state.locks.get(&want.lock).is_none_or(|lock| lock.open_to(want.mode))
    }

    /// Grants every want, in the order asked for.
    pub(super) fn grant_all(
        &mut self,
        step: &mut Step,
        wants: &[TicketWant],
        to: Grantee<'_>,
    ) -> Vec<Grant> {
        let mut grants = Vec::with_capacity(wants.len());
        for TicketWant { want, standing } in wants {
            let held = (*standing == Standing::Held)
                .then(|| self.state.sessions.get(&to.session)?.token(to.owner, &want.lock))
                .flatten()
                .and_then(|token| self.enter_again(&want.lock, token));
            grants.push(held.unwrap_or_else(|| self.grant(step, want, to)));
        }
        grants
    }
}

/// A mode in words.
pub(super) fn words(mode: Mode) -> String {
    match mode {
        Mode::Exclusive => "exclusive".to_owned(),
        Mode::Shared => "shared".to_owned(),
        Mode::Permits { take, of } => format!("{take} of {of} permits"),
    }
}
