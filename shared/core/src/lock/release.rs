//! Giving up, extending and taking away: who may, and what follows.

use super::grant::End;
use super::machine::{LockMachine, Step};
use super::{DAY_MS, Outcome, RequestKey, SessionId, Token};
use crate::name::Name;

impl LockMachine {
    /// Gives a grant up, found by its token or by (session of the key, owner label).
    pub(super) fn release(
        &mut self,
        step: &mut Step,
        key: RequestKey,
        lock: &Name,
        (token, owner): (Option<Token>, Option<&Name>),
        all: bool,
    ) -> Outcome {
        let token = match token {
            Some(token) => self.own_grant(key, lock, token, owner),
            None => match (session_of(key), owner) {
                (Some(session), Some(owner)) => {
                    self.state.sessions.get(&session).and_then(|s| s.token(owner, lock))
                }
                _ => None,
            },
        };
        let left = token.and_then(|token| {
            self.leave(step, lock, token, all, &End::released()).map(|left| (token, left))
        });
        match left {
            Some((token, remaining)) => Outcome::Released { token, remaining },
            None => Outcome::NotHolder { current: self.holders_shown(lock) },
        }
    }

    /// The token, if it holds the lock and the caller may act on it: a session on its own grants
    /// only, one without a session on what it knows the token of.
    pub(super) fn own_grant(
        &self,
        key: RequestKey,
        lock: &Name,
        token: Token,
        owner: Option<&Name>,
    ) -> Option<Token> {
        if super::mutant!(ReleaseWithoutOwnerCheck) {
            return self.state.locks.get(lock)?.holders.keys().next().copied();
        }
        let held = self.held(lock, token)?;
        let own = session_of(key).is_none_or(|session| session == held.session)
            && owner.is_none_or(|owner| *owner == held.owner);
        own.then_some(token)
    }

    /// Lets the lease of the grant's session run anew.
    pub(super) fn renew(
        &mut self,
        step: &Step,
        key: RequestKey,
        (lock, token): (&Name, Token),
        ttl_ms: Option<u64>,
    ) -> Outcome {
        let token = self.own_grant(key, lock, token, None);
        let Some(session) = token.and_then(|token| Some(self.held(lock, token)?.session)) else {
            return Outcome::NotHolder { current: self.holders_shown(lock) };
        };
        if let Some(live) = self.state.sessions.get_mut(&session)
            && let Some(ttl_ms) = ttl_ms
        {
            live.ttl_ms = ttl_ms.max(step.settings.min_ttl_ms).min(DAY_MS);
        }
        match self.keep_alive(session) {
            Some(expires_in_ms) => Outcome::Renewed { expires_in_ms, session },
            None => Outcome::SessionExpired,
        }
    }

    /// Takes a grant away from whoever has it.
    pub(super) fn force_release(
        &mut self,
        step: &mut Step,
        (lock, token): (&Name, Token),
        actor: &Name,
        reason: &str,
    ) -> Outcome {
        if self.held(lock, token).is_none() {
            return Outcome::NotHolder { current: self.holders_shown(lock) };
        }
        let why = format!("force-released by {actor}: {reason}");
        self.take_back(step, lock, token, &End { why: why.clone(), delay: Some(why) });
        Outcome::Released { token, remaining: 0 }
    }
}

/// The session of a key.
pub(super) fn session_of(key: RequestKey) -> Option<SessionId> {
    match key {
        RequestKey::Session { session, .. } => Some(session),
        RequestKey::Detached(_) => None,
    }
}
