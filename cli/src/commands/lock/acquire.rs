//! `dsctl lock acquire`.

use std::time::Duration;

use dsync_core::lock::Want;
use dsync_core::{Code, Effect};

use crate::args::Acquire;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::lease::keeper::Keeper;
use crate::lease::signals::Signals;
use crate::lease::take::{Ask, Held, close, take};
use crate::output::human;
use crate::output::views::lock::{Taken, taken};

use super::Ctx;

/// Longest time that the release at the end may take.
const FAREWELL: Duration = Duration::from_millis(900);

/// Takes a lock and prints the grant; with --keepalive holds it until interrupted.
pub(super) async fn run(args: Acquire, ctx: &Ctx) -> Result<Exit> {
    let wait = if args.no_wait { Duration::ZERO } else { args.wait.unwrap_or_default() };
    ctx.extend(wait);
    let ask = Ask {
        wants: vec![Want { lock: args.name, mode: args.share.mode() }],
        owner: ctx.settings.owner(args.owner.as_ref())?,
        ttl: args.ttl,
        wait,
        policy: args.policy.into(),
        id: ctx.request_id,
    };
    let mut signals = Signals::ending()?;
    let held = take(ctx, &ask, &mut signals).await?;
    if let Err(failure) = print(ctx, &ask, &held) {
        return Err(take_back(ctx, &held, failure).await);
    }
    if args.keepalive { hold(ctx, &held, &mut signals).await } else { Ok(Exit::Done) }
}

fn print(ctx: &Ctx, ask: &Ask, held: &Held) -> Result<()> {
    let left = (held.lease.confirmed + held.lease.ttl).saturating_sub(ctx.net().boot_time());
    for grant in &held.grants {
        ctx.out.show(&taken(&Taken {
            grant,
            owner: ask.owner.as_str(),
            session: held.session,
            ttl_ms: human::millis(held.lease.ttl),
            expires_in_ms: human::millis(left),
            served_by: &held.served_by,
        }))?;
    }
    Ok(())
}

/// Nobody was told the token: gives the lock back. Not under a name that the user gave, since what it
/// took may have been told to an earlier run; then, and when that fails, the token is told on stderr.
async fn take_back(ctx: &Ctx, held: &Held, mut failure: Failure) -> Failure {
    let named = ctx.settings.request_id.is_some();
    if !named && close(ctx, held.session, FAREWELL).await {
        failure.fault.message.push_str("; the lock was given back");
        return failure.on_stderr();
    }
    let tokens: Vec<_> = held.grants.iter().map(|grant| grant.token.0.to_string()).collect();
    failure.fault.effect = Effect::Done;
    failure.hint(format!("the lock is held with token {}", tokens.join(", "))).on_stderr()
}

/// Renews until interrupted, or until an older request wants the lock, then releases. An interruption
/// is how this ends well.
async fn hold(ctx: &Ctx, held: &Held, signals: &mut Signals) -> Result<Exit> {
    let mut keeper = Keeper::start(ctx.client(), ctx.net(), held.session, held.lease, &held.grants);
    ctx.out.note("held until interrupted");
    let end = loop {
        let kept = keeper.now();
        let left = kept.lease.left(ctx.net().boot_time());
        if let Some(why) = kept.lost {
            return Err(lost(&why));
        }
        if left.is_zero() {
            let why = kept.trouble.unwrap_or_else(|| "no keep-alive was answered".to_owned());
            return Err(lost(&why));
        }
        if let Some(revoked) = kept.revoked {
            let why = format!("{} goes to the older request of {}", revoked.lock, revoked.by);
            break Err(Failure::new(Code::Wounded, why).hint("it was released in time"));
        }
        tokio::select! {
            _ = signals.next_ending() => break Ok(Exit::Done),
            () = keeper.changed() => {}
            // Short looks, because the timer stands still while the machine sleeps.
            () = tokio::time::sleep(left.min(Duration::from_millis(500))) => {}
        }
    };
    drop(keeper);
    let released = tokio::select! {
        done = close(ctx, held.session, FAREWELL) => done,
        _ = signals.next_ending() => false,
    };
    if !released {
        ctx.out.note("the release was not confirmed; the lease ends by itself");
    }
    end
}

fn lost(why: &str) -> Failure {
    Failure::new(Code::SessionExpired, format!("the lock is lost: {why}"))
        .named("lock_lost")
        .exit(Exit::LockLost)
}
