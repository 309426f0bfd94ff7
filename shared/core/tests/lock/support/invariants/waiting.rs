//! L4, L5 and L9: the order of queues, and no end to none of them.

use std::collections::BTreeMap;

use super::super::api::lock::{
    Applied, Batch, Command, CycleStep, EventKind, LockView, Mode, Outcome, RequestKey, SessionId,
    Waiter,
};
use super::super::api::name::Name;
use super::super::suite::Violation;
use super::{Checkers, Waiting, conflict, fit, violation};

fn same(a: &Waiter, b: &Waiter) -> bool {
    a.session == b.session && a.owner == b.owner
}

fn view<'a>(locks: &'a [LockView], name: &Name) -> Option<&'a LockView> {
    locks.iter().find(|lock| lock.name == *name)
}

impl Checkers {
    /// L5: nobody is granted what one who waited before, and still waits, cannot share with him.
    pub(super) fn nobody_overtakes(
        &self,
        before: &[LockView],
        pending_before: &BTreeMap<RequestKey, Waiting>,
        applied: &Applied,
    ) -> Result<(), Violation> {
        for event in &applied.events {
            let EventKind::Granted { grant, owner, session } = &event.kind else { continue };
            let (Some(was), Some(is)) = (view(before, &grant.lock), view(&self.locks, &grant.lock))
            else {
                continue;
            };
            let of_grantee = |s: SessionId, o: &Name| s == *session && o == owner;
            if was.holders.iter().any(|h| of_grantee(h.session, &h.owner)) {
                continue; // an upgrade goes before all
            }
            let place = was.waiters.iter().find(|w| of_grantee(w.session, &w.owner));
            for passed in was.waiters.iter().filter(|w| is.waiters.iter().any(|o| same(o, w))) {
                let still = pending_before.iter().any(|(key, p)| {
                    p.session == passed.session
                        && p.owner == passed.owner
                        && self.pending.contains_key(key)
                });
                let both_permits = matches!(
                    (grant.mode, passed.mode),
                    (Mode::Permits { .. }, Mode::Permits { .. })
                );
                let behind = place.is_none_or(|w| w.position > passed.position);
                let shares = !conflict(grant.mode, passed.mode)
                    || (both_permits && !passed.group.is_empty());
                if still && behind && !shares {
                    return Err(violation("L5", format!("{event:?} overtakes {passed:?}")));
                }
            }
        }
        Ok(())
    }

    /// L9: every cycle was reported: among those who wait now, someone can always go on.
    pub(super) fn no_cycle_stays(&self) -> Result<(), Violation> {
        let mut stuck: Vec<(SessionId, Name)> =
            self.pending.values().map(|p| (p.session, p.owner.clone())).collect();
        stuck.retain(|who| !self.counts_on_a_revoked_grant(who));
        loop {
            let count = stuck.len();
            let snapshot = stuck.clone();
            stuck.retain(|who| self.is_blocked(who, Some(&snapshot)));
            if stuck.is_empty() {
                return Ok(());
            }
            if stuck.len() == count {
                return Err(violation("L9", format!("{stuck:?} wait for each other for ever")));
            }
        }
    }

    /// L4: whoever could be granted now is.
    pub(super) fn nobody_waits_in_vain(&self) -> Result<(), Violation> {
        for waiting in self.pending.values() {
            let who = (waiting.session, waiting.owner.clone());
            if !self.is_blocked(&who, None) {
                return Err(violation("L4", format!("{who:?} could be granted")));
            }
        }
        Ok(())
    }

    /// True for one who waits to enter again, or to upgrade, what is being taken from him: that
    /// wait ends with the grant.
    fn counts_on_a_revoked_grant(&self, who: &(SessionId, Name)) -> bool {
        let waiters = self.locks.iter().flat_map(|l| l.waiters.iter().map(move |w| (l, w)));
        let mut own = waiters.filter(|(_, w)| w.session == who.0 && w.owner == who.1);
        own.any(|(lock, w)| {
            let names = w.group.iter().chain(w.upgrade.then_some(&lock.name));
            let held = names.filter_map(|name| view(&self.locks, name)).flat_map(|l| &l.holders);
            held.filter(|h| h.session == who.0 && h.owner == who.1)
                .any(|h| self.revoked.contains_key(&h.token))
        })
    }

    /// True when some lock is closed to that waiter, counting all others or only `stuck` ones.
    fn is_blocked(&self, who: &(SessionId, Name), stuck: Option<&[(SessionId, Name)]>) -> bool {
        let counts = |session: SessionId, owner: &Name| {
            stuck.is_none_or(|stuck| stuck.iter().any(|s| s.0 == session && s.1 == *owner))
        };
        self.locks.iter().any(|lock| {
            let Some(place) =
                lock.waiters.iter().position(|w| w.session == who.0 && w.owner == who.1)
            else {
                return false;
            };
            let waiter = &lock.waiters[place];
            if stuck.is_none() && lock.delay.is_some() {
                return true; // what is delayed does not show
            }
            let holders = lock
                .holders
                .iter()
                .filter(|h| stuck.is_none() || !self.revoked.contains_key(&h.token))
                .filter(|h| !(waiter.upgrade && h.session == who.0 && h.owner == who.1))
                .filter(|h| counts(h.session, &h.owner));
            let ahead = lock.waiters[..place].iter().filter(|w| counts(w.session, &w.owner));
            let mut modes: Vec<Mode> = holders.map(|h| h.mode).collect();
            modes.extend(ahead.map(|w| w.mode));
            modes.push(waiter.mode);
            !fit(&modes)
        })
    }
}

/// L9: no victim without a cycle: each step is true, and the last leads to the first.
pub(super) fn cycles_are_real(
    before: &[LockView],
    batch: &Batch,
    applied: &Applied,
) -> Result<(), Violation> {
    for (request, outcome) in batch.requests.iter().zip(&applied.outcomes) {
        let Outcome::Deadlock(cycle) = outcome else { continue };
        let [first, ..] = cycle.as_slice() else {
            return Err(violation("L9", format!("{request:?}: a deadlock without a cycle")));
        };
        let next = cycle.iter().skip(1).chain([first]);
        if cycle.iter().zip(next).any(|(step, next)| step.holder != next.waiter) {
            return Err(violation("L9", format!("{cycle:?} does not close")));
        }
        if let Command::Acquire { owner, .. } = &request.command
            && first.waiter != *owner
        {
            return Err(violation("L9", format!("{cycle:?} is not of {owner}")));
        }
        // What was true in the middle of an entry cannot be seen from outside.
        let alone = batch.requests.len() == 1
            && applied.settled.is_empty()
            && matches!(applied.events.as_slice(), [e] if matches!(e.kind, EventKind::Deadlock(_)));
        if alone && !cycle.iter().all(|step| is_true(step, step == first, before)) {
            return Err(violation("L9", format!("{cycle:?} is not true of {before:?}")));
        }
    }
    Ok(())
}

/// True when the step's waiter waits (the first one only asks) and its holder is in the way.
fn is_true(step: &CycleStep, first: bool, locks: &[LockView]) -> bool {
    let Some(lock) = view(locks, &step.lock) else { return false };
    let waits = first || lock.waiters.iter().any(|w| w.owner == step.waiter);
    let in_way = lock.holders.iter().any(|h| h.owner == step.holder)
        || lock.waiters.iter().any(|w| w.owner == step.holder);
    waits && in_way
}
