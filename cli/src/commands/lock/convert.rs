//! `dsctl lock convert`.

use std::time::Duration;

use dsync_core::lock::{Command, Lease, Outcome, RequestKey};

use crate::args::Convert;
use crate::commands::ctx::random_id;
use crate::error::Result;
use crate::exit::Exit;
use crate::lease::keeper::Keeper;
use crate::lease::signals::Signals;
use crate::lease::take::{await_decision, interrupted};
use crate::output::views::lock::converted;
use crate::output::{human, progress};

use super::{Ctx, get, refusal};

/// Changes how a grant is held.
pub(super) async fn run(args: Convert, ctx: &Ctx) -> Result<Exit> {
    ctx.extend(args.wait);
    let key = RequestKey::Detached(ctx.request_id);
    let command = Command::Convert {
        lock: args.name.clone(),
        token: args.token,
        to: args.to.into(),
        wait_ms: human::millis(args.wait),
    };
    let changed = ctx.change(key, command).await?;
    let outcome = match changed.outcome {
        Outcome::Queued { .. } => wait(ctx, &args, key).await?,
        decided => decided,
    };
    match outcome {
        Outcome::Converted(grant) => {
            ctx.out.show(&converted(&grant))?;
            Ok(Exit::Done)
        }
        other => Err(refusal::of(&other, args.name.as_str()).of_request(ctx.request_id)),
    }
}

/// Waits for the decision and keeps the grant's session alive; a signal withdraws the request.
async fn wait(ctx: &Ctx, args: &Convert, key: RequestKey) -> Result<Outcome> {
    let mut signals = Signals::ending()?;
    let sent = ctx.net().boot_time();
    let holders = get(ctx, &args.name).await?.map(|lock| lock.holders).unwrap_or_default();
    let Some(own) = holders.iter().find(|holder| holder.token == args.token) else {
        return Ok(Outcome::NotHolder { current: holders });
    };
    let lease = Lease { confirmed: sent, ttl: Duration::from_millis(own.expires_in_ms) };
    let mut keeper = Keeper::start(ctx.client(), ctx.net(), own.session, lease, &[]);
    let spinner =
        progress::spinner(&ctx.out, format!("waiting for the others to leave {}", args.name));
    let decided = tokio::select! {
        decided = await_decision(ctx, key, args.name.as_str(), &mut keeper) => decided,
        signal = signals.next_ending() => {
            withdraw(ctx, key).await;
            Err(interrupted(signal))
        }
    };
    spinner.finish_and_clear();
    decided.map(|(outcome, _)| outcome)
}

/// Withdraws a waiting request, within a second.
async fn withdraw(ctx: &Ctx, key: RequestKey) {
    let cancel = ctx.change(RequestKey::Detached(random_id()), Command::Cancel { target: key });
    if tokio::time::timeout(Duration::from_millis(900), cancel).await.is_err() {
        ctx.out.note("the withdrawal was not confirmed");
    }
}
