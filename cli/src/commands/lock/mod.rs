//! `dsctl lock …`.

mod acquire;
mod convert;
mod force_release;
mod list;
mod release;
mod renew;
mod run;
mod show;
mod validate;
mod waits;
mod watch;

use dsync::api::{LockReply, LockRequest};
use dsync_core::lock::LockView;
use dsync_core::name::Name;

use crate::args::Lock;
use crate::error::Result;
use crate::exit::Exit;

use super::ctx::unexpected;
use super::{Ctx, refusal};

/// Carries a verb out.
pub(super) async fn run(verb: Lock, ctx: &Ctx) -> Result<Exit> {
    match verb {
        Lock::Acquire(args) => acquire::run(args, ctx).await,
        Lock::Release(args) => release::run(args, ctx).await,
        Lock::Renew(args) => renew::run(args, ctx).await,
        Lock::Run(args) => run::run(args, ctx).await,
        Lock::Convert(args) => convert::run(args, ctx).await,
        Lock::List(args) => list::run(args, ctx).await,
        Lock::Show(args) => show::run(args, ctx).await,
        Lock::Validate(args) => validate::run(args, ctx).await,
        Lock::ForceRelease(args) => force_release::run(args, ctx).await,
        Lock::Deadlocks => waits::run(ctx).await,
    }
}

/// One lock; `None` when free and not waited for.
async fn get(ctx: &Ctx, name: &Name) -> Result<Option<LockView>> {
    let answer = ctx.lock(LockRequest::Get { lock: name.clone() }).await?;
    match answer.result {
        Ok(LockReply::Lock(lock)) => Ok(lock),
        _ => Err(unexpected(&answer.served_by)),
    }
}
