//! `dsctl queue …`.

mod audit;
mod dlq;
mod export;
mod import;
mod jsonl;
mod limit;
mod lines;
mod list;
mod pause;
mod peek;
mod pop;
mod purge;
mod push;
mod ring;
mod settle;
mod show;
mod stats;
mod work;

use std::time::Duration;

use dsync::api::{Durability, QueueReply, QueueRequest};
use dsync_core::name::Name;
use dsync_core::queue::{Command, Outcome, Query, Seen, Stats, check};
use dsync_core::{Code, Fault};

use crate::args::Queue;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::{human, views};

use super::Ctx;
use super::ctx::unexpected;

/// Carries a verb out.
pub(super) async fn run(verb: Queue, ctx: &Ctx) -> Result<Exit> {
    match verb {
        Queue::Push(args) => push::run(*args, ctx).await,
        Queue::Pop(args) => pop::run(args, ctx).await,
        Queue::Ack(args) => settle::ack(args, ctx).await,
        Queue::Nack(args) => settle::nack(args, ctx).await,
        Queue::Reject(args) => settle::reject(args, ctx).await,
        Queue::Release(args) => settle::release(args, ctx).await,
        Queue::Extend(args) => settle::extend(args, ctx).await,
        Queue::Work(args) => work::run(args, ctx).await,
        Queue::Export(args) => export::run(args, ctx).await,
        Queue::Import(args) => import::run(*args, ctx).await,
        other => steer(other, ctx).await,
    }
}

/// Carries out a verb that moves no jobs to or from a program.
async fn steer(verb: Queue, ctx: &Ctx) -> Result<Exit> {
    match verb {
        Queue::List(args) => list::run(args, ctx).await,
        Queue::Stats(args) => stats::run(args, ctx).await,
        Queue::Show(args) => show::run(args, ctx).await,
        Queue::Peek(args) => peek::run(args, ctx).await,
        Queue::Pause(args) => pause::pause(args, ctx).await,
        Queue::Resume(args) => pause::resume(args, ctx).await,
        Queue::Purge(args) => purge::run(args, Command::Purge, ctx).await,
        Queue::Delete(args) => purge::run(args, Command::Delete, ctx).await,
        Queue::Limit(args) => limit::run(args, ctx).await,
        Queue::Dlq(verb) => dlq::run(verb, ctx).await,
        Queue::Audit(args) => audit::run(args, ctx).await,
        Queue::Ring(args) => ring::run(args, ctx).await,
        _ => Err(Failure::new(Code::Internal, "a verb without a command")),
    }
}

/// How a command is sent.
#[derive(Debug, Clone, Copy)]
struct How {
    /// Names the request.
    id: u128,
    /// A pop waits so long.
    wait: Duration,
    durability: Option<Durability>,
}

/// What a command came to.
#[derive(Debug)]
struct Done {
    outcome: Outcome,
    durability: Durability,
    served_by: String,
}

/// Changes something under the name of this run.
async fn change(ctx: &Ctx, queue: &Name, command: Command) -> Result<Done> {
    let how = How { id: ctx.request_id, wait: Duration::ZERO, durability: None };
    change_how(ctx, queue, command, how).await
}

/// Changes something. What can be refused without asking is refused here.
async fn change_how(ctx: &Ctx, queue: &Name, command: Command, how: How) -> Result<Done> {
    check(&command).map_err(too_much)?;
    let may_repeat = command.may_repeat();
    let request = QueueRequest::Do {
        queue: queue.clone(),
        command,
        wait_ms: human::millis(how.wait),
        durability: how.durability,
    };
    let answer = ctx.queue(request, how.wait, how.id).await;
    let answer =
        answer.map_err(|failure| if may_repeat { failure } else { failure.once_only() })?;
    match answer.result {
        Ok(QueueReply::Outcome { outcome, durability }) => {
            Ok(Done { outcome, durability, served_by: answer.served_by })
        }
        _ => Err(unexpected(&answer.served_by)),
    }
}

/// What breaks a rule before it was sent: what is too large is bad data.
fn too_much(fault: Fault) -> Failure {
    let large = fault.code == Code::LimitReached;
    let failure = Failure::from(fault);
    if large { failure.exit(Exit::Data) } else { failure }
}

/// What a look gave.
#[derive(Debug)]
struct Looked {
    seen: Seen,
    owner: Option<String>,
    store: String,
    served_by: String,
}

/// Looks at something.
async fn look(ctx: &Ctx, query: Query) -> Result<Looked> {
    let answer = ctx.queue(QueueRequest::Read(query), Duration::ZERO, ctx.request_id).await?;
    match answer.result {
        Ok(QueueReply::Seen { seen, owner, store }) => {
            Ok(Looked { seen, owner, store, served_by: answer.served_by })
        }
        _ => Err(unexpected(&answer.served_by)),
    }
}

/// The counts of a queue; `None`: there is no such queue.
async fn find(ctx: &Ctx, queue: &Name) -> Result<Option<views::queues::Seen>> {
    let looked = look(ctx, Query::Stats { queue: queue.clone() }).await?;
    match looked.seen {
        Seen::Stats(stats) => Ok(stats.map(|stats| views::queues::Seen {
            stats,
            owner: looked.owner,
            store: looked.store,
        })),
        _ => Err(unexpected(&looked.served_by)),
    }
}

/// The counts of a queue that must be there.
async fn get(ctx: &Ctx, queue: &Name) -> Result<views::queues::Seen> {
    find(ctx, queue).await?.ok_or_else(|| no_queue(queue))
}

/// All queues whose names begin so.
async fn all(ctx: &Ctx, prefix: &str) -> Result<Vec<Stats>> {
    let mut found: Vec<Stats> = Vec::new();
    loop {
        let query = Query::Queues {
            prefix: prefix.to_owned(),
            after: found.last().map(|stats| stats.queue.clone()),
            limit: 1_000,
        };
        let looked = look(ctx, query).await?;
        let Seen::Queues { items, more } = looked.seen else {
            return Err(unexpected(&looked.served_by));
        };
        let done = !more || items.is_empty();
        found.extend(items);
        if done {
            return Ok(found);
        }
    }
}

fn no_queue(queue: &Name) -> Failure {
    Failure::new(Code::NotFound, format!("there is no queue {queue}"))
        .hint("`dsctl queue list` shows all; a queue comes into being with its first job")
}

/// What an outcome other than the hoped-for means.
fn refused(outcome: &Outcome, served_by: &str) -> Failure {
    match outcome {
        Outcome::Invalid(why) => Failure::new(Code::InvalidArgument, why.clone()),
        Outcome::LimitReached(why) => Failure::new(Code::LimitReached, why.clone()),
        Outcome::Pushed(_)
        | Outcome::Popped(_)
        | Outcome::Settled(_)
        | Outcome::Set
        | Outcome::Moved(_) => unexpected(served_by),
    }
}

/// A queue that is full: exit code 69, the table's "a limit of the service reached". Not 75: that is
/// for a wait of the caller's own that is over, and nobody here waited.
fn full(queue: &Name, limit: &str) -> Failure {
    let mut failure = Failure::new(Code::LimitReached, format!("{queue}: {limit}"))
        .named("queue_full")
        .hint("push again when there is room, or raise it: `dsctl queue limit QUEUE --max-jobs N`");
    failure.fault.retryable = true;
    failure
}
