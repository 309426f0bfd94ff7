//! A backup becomes the state of a cluster again, in place of the one that runs.

use std::collections::BTreeMap;

use super::machine::LockMachine;
use super::snapshot::Snapshot;
use super::state::{Lost, State};
use super::{DEFAULT_LOCK_DELAY_MS, Mode, SessionId, Token};
use crate::fault::{Code, Fault};
use crate::name::Name;

/// Tokens and session ids skipped when a backup is restored: more than were given out since.
const RESTORE_GAP: u64 = 1 << 32;

impl Snapshot {
    /// Prepares a backup to be the state of a cluster again, in place of what `running` has.
    ///
    /// - Tokens and sessions given out after the backup was taken are unknown to it, so that both
    ///   counters skip 2^32, and never fall behind those of `running`, which may have been restored
    ///   from the same backup before (L1).
    /// - Cluster time goes on as that of `running`: the times of the backup move with it, and every
    ///   session of the backup has a full lease, for its client may be alive (L7).
    /// - What `running` holds and the backup does not keeps others out until the lease of its
    ///   holder is over, at least for the default lock-delay, as a grant that was lost (L2). Its
    ///   lock-delays go on as well.
    /// - Index and term begin anew with the log. Its first entry starts the grace of a new term,
    ///   and time stands still until then, for the last entry may be long ago.
    ///
    /// # Errors
    /// `LimitReached` when the counters are used up.
    pub fn restored_from_backup(mut self, running: &LockMachine) -> Result<Self, Fault> {
        let skip = |counter: u64, what: &str| {
            counter.checked_add(RESTORE_GAP).ok_or_else(|| {
                Fault::new(
                    Code::LimitReached,
                    format!("{what} {counter} leaves no room to restore"),
                )
            })
        };
        let state = &mut self.state;
        let token = Token(skip(state.last_token.0, "token")?);
        let session = SessionId(skip(state.last_session.0, "session id")?);
        state.last_token = token.max(running.state.last_token);
        state.last_session = session.max(running.state.last_session);
        state.index = 0;
        state.term = 0;
        state.move_to(running.state.now_ms);
        for session in state.sessions.values_mut() {
            let full = state.now_ms.saturating_add(session.ttl_ms);
            session.expires_at_ms = session.expires_at_ms.max(full);
        }
        state.keep_out(running);
        Ok(self)
    }
}

impl LockMachine {
    /// Lets the time of a restored backup begin with the first entry after it: the entry before may
    /// be long ago, and nothing of the backup may be due at once.
    pub(super) fn begin_at(&mut self, now_ms: u64) {
        if now_ms <= self.state.now_ms || self.state.sessions.len() + self.state.locks.len() == 0 {
            return;
        }
        let mut state = self.state.canonical();
        state.move_to(now_ms);
        *self = Self { state, ..Self::default() };
        self.reindex();
    }
}

impl State {
    /// Makes `now_ms` the cluster time: every time is as far from it as it was before.
    fn move_to(&mut self, now_ms: u64) {
        let from = self.now_ms;
        let moved = |at: u64| {
            if at >= from {
                now_ms.saturating_add(at - from)
            } else {
                now_ms.saturating_sub(from - at)
            }
        };
        self.now_ms = now_ms;
        self.no_expiry_before_ms = moved(self.no_expiry_before_ms);
        for session in self.sessions.values_mut() {
            session.expires_at_ms = moved(session.expires_at_ms);
        }
        for lock in self.locks.values_mut() {
            for held in lock.holders.values_mut() {
                held.hold_until_ms = held.hold_until_ms.map(moved);
                if let Some(wound) = &mut held.wound {
                    wound.until_ms = moved(wound.until_ms);
                }
            }
            for lost in lock.lost.values_mut() {
                lost.until_ms = moved(lost.until_ms);
            }
        }
        for ticket in self.tickets.values_mut() {
            ticket.since_ms = moved(ticket.since_ms);
            ticket.until_ms = moved(ticket.until_ms);
        }
        self.remembered.move_times(moved);
    }

    /// Lets what `running` holds, or has lost a moment ago, keep others out for a while. Both are
    /// at the same cluster time.
    fn keep_out(&mut self, running: &LockMachine) {
        let permits = self.permits_waited_for();
        for (name, lock) in &running.state.locks {
            let mut out = Vec::new();
            let here = self.locks.get(name);
            for (token, held) in &lock.holders {
                let same = here.and_then(|here| here.holders.get(token));
                if same.is_some_and(|same| same.who() == held.who() && same.mode == held.mode) {
                    continue;
                }
                let lease = running.lease_left(held.session).max(DEFAULT_LOCK_DELAY_MS);
                let until_ms = self.now_ms.saturating_add(lease);
                let reason = format!("held by {} when a backup was restored", held.owner);
                out.push((*token, Lost { mode: held.mode, until_ms, reason }));
            }
            out.extend(lock.lost.iter().map(|(token, lost)| (*token, lost.clone())));
            for (token, lost) in out {
                self.lose(name, token, lost, permits.get(name).copied());
            }
        }
    }

    /// The number of permits that those who wait for a lock agree on.
    fn permits_waited_for(&self) -> BTreeMap<Name, u32> {
        let wants = self.tickets.values().flat_map(|ticket| &ticket.wants);
        wants.filter_map(|w| Some((w.want.lock.clone(), w.want.mode.permits_of()?))).collect()
    }

    /// Adds a lost grant, under a token of its own if another cluster gave out the same.
    fn lose(&mut self, name: &Name, mut token: Token, mut lost: Lost, waited_for: Option<u32>) {
        let lock = self.locks.entry(name.clone()).or_default();
        if let Some(known) = lock.lost.get_mut(&token)
            && known.mode == lost.mode
        {
            known.until_ms = known.until_ms.max(lost.until_ms);
            return;
        }
        if lock.holders.contains_key(&token) || lock.lost.contains_key(&token) {
            self.last_token = Token(self.last_token.0.saturating_add(1));
            token = self.last_token;
        }
        let modes = lock.holders.values().map(|h| h.mode).chain(lock.lost.values().map(|l| l.mode));
        let mut numbers = modes.filter_map(Mode::permits_of).chain(waited_for);
        // All users of a lock agree on the number of permits: one that does not keeps all out.
        if lost.mode.permits_of().is_some_and(|of| numbers.any(|other| other != of)) {
            lost.mode = Mode::Exclusive;
        }
        lock.lost.insert(token, lost);
    }
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
