//! `dsctl lock show`.

use std::collections::BTreeSet;

use dsync_core::Code;
use dsync_core::lock::{Event, EventKind, LockView, SessionId};
use dsync_core::name::Name;

use crate::args::Show;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views::lock::show;

use super::watch::{Wanted, events_from_now, follow};
use super::{Ctx, get};

/// Shows one lock; exit 66 when it is free and nobody waits.
pub(super) async fn run(args: Show, ctx: &Ctx) -> Result<Exit> {
    if !args.watch {
        let lock = get(ctx, &args.name).await?.ok_or_else(|| {
            Failure::new(Code::NotFound, format!("{} is free: nobody holds it or waits", args.name))
        })?;
        ctx.out.show(&show(&lock))?;
        return Ok(Exit::Done);
    }
    let mut next = events_from_now(ctx).await?;
    let mut concerned = Concerned { name: args.name, sessions: BTreeSet::new() };
    loop {
        if let Some(lock) = get(ctx, &concerned.name).await? {
            ctx.out.show_next(&show(&lock))?;
        }
        match follow(ctx, next, &mut concerned).await? {
            Some(anew) => next = anew,
            None => return Ok(Exit::Done),
        }
    }
}

/// One lock, and the sessions that hold it or wait for it.
struct Concerned {
    name: Name,
    sessions: BTreeSet<SessionId>,
}

impl Concerned {
    /// Takes note of who holds and waits now.
    fn see(&mut self, lock: Option<&LockView>) {
        let Some(lock) = lock else { return };
        self.sessions.extend(lock.holders.iter().map(|holder| holder.session));
        self.sessions.extend(lock.waiters.iter().map(|waiter| waiter.session));
    }
}

impl Wanted for Concerned {
    fn wants(&mut self, event: &Event) -> bool {
        match &event.kind {
            EventKind::Granted { grant, session, .. } if grant.lock == self.name => {
                self.sessions.insert(*session);
                true
            }
            EventKind::Granted { .. } => false,
            EventKind::Released { lock, .. } | EventKind::Revoke { lock, .. } => *lock == self.name,
            EventKind::SessionExpired { session, .. } => self.sessions.remove(session),
            EventKind::Deadlock(steps) => steps.iter().any(|step| step.lock == self.name),
        }
    }

    /// Nothing tells of a request that begins to wait.
    async fn refresh(&mut self, ctx: &Ctx) -> Result<()> {
        self.see(get(ctx, &self.name).await?.as_ref());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dsync_core::lock::{CycleStep, Grant, Holder, Mode, Token};

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse("name", text).unwrap()
    }

    fn event(kind: EventKind) -> Event {
        Event { index: 1, at_ms: 1, kind }
    }

    #[test]
    fn only_what_concerns_the_lock_is_wanted() {
        let mut concerned = Concerned { name: name("x"), sessions: BTreeSet::new() };
        let expired = |session| {
            event(EventKind::SessionExpired { session: SessionId(session), owner: name("a@x") })
        };
        let granted = |lock, session| {
            let grant = Grant { lock: name(lock), mode: Mode::Shared, token: Token(1), count: 1 };
            event(EventKind::Granted { grant, owner: name("a@x"), session: SessionId(session) })
        };
        let deadlock = |lock| {
            let (waiter, holder) = (name("a@x"), name("b@x"));
            let step = CycleStep { waiter, session: SessionId(1), lock: name(lock), holder };
            event(EventKind::Deadlock(vec![step]))
        };
        let holder = Holder {
            owner: name("a@x"),
            session: SessionId(7),
            mode: Mode::Shared,
            token: Token(1),
            count: 1,
            expires_in_ms: 1,
        };
        concerned.see(Some(&LockView {
            name: name("x"),
            mode: Some(Mode::Shared),
            holders: vec![holder],
            waiters: Vec::new(),
            delay: None,
            more_holders: 0,
            more_waiters: 0,
        }));
        assert!(concerned.wants(&expired(7)) && !concerned.wants(&expired(7)));
        assert!(concerned.wants(&granted("x", 8)) && !concerned.wants(&granted("y", 9)));
        assert!(concerned.wants(&expired(8)) && !concerned.wants(&expired(9)));
        assert!(concerned.wants(&deadlock("x")) && !concerned.wants(&deadlock("y")));
    }
}
