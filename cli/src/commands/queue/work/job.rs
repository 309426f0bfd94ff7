//! One job: its command, from the start to what is said of it.

use std::cell::RefCell;
use std::process::ExitStatus;
use std::time::Duration;

use dsync::queue::{Delivered, JobGuard, QueueError};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStderr, ChildStdin};
use tokio::sync::watch;

use crate::args::Work;
use crate::child::{self, Child};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views::queue::headers;
use crate::output::{self, human};

use super::super::Ctx;
use super::Stage;
use super::tail::{Tail, error_text};

/// Exit code of a command that wants to be tried again later.
const TRY_AGAIN: u8 = 75;
/// Time between TERM and KILL for a command whose job may be another's already.
const SHORT_GRACE: Duration = Duration::from_millis(500);
/// What a command left behind may keep its stderr open: so long it is read after the end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What became of a job.
#[derive(Debug)]
pub(super) enum Ended {
    Done,
    /// It comes back.
    Failed,
    /// It failed for the last time.
    Dead,
    /// The lease was lost while the command ran, or before it could be said how it ended.
    Lost,
    GivenBack,
    /// No node confirmed what was said of it.
    Unsettled,
    /// It was given back.
    CannotStart(Failure),
}

/// How a command ended.
enum End {
    Itself(ExitStatus),
    /// It was ended, for the lease was lost.
    LeaseLost,
    /// It was ended, for the worker is.
    GivenBack,
}

/// Runs the command and says what became of the job.
pub(super) async fn work_on(
    ctx: &Ctx,
    args: &Work,
    job: JobGuard,
    stage: watch::Receiver<Stage>,
) -> Ended {
    let started = child::start_piped(&args.command, &variables(&job));
    let (mut child, stdin, stderr) = match started {
        Ok(started) => started,
        Err(failure) => {
            tell(ctx, &job.delivered(), job.release().await.map(|()| Ended::GivenBack));
            return Ended::CannotStart(failure);
        }
    };
    let tail = RefCell::new(Tail::default());
    let end = {
        let feeding = feed(stdin, job.payload());
        let listening = listen(stderr, &tail);
        let watching = watch_over(args, &job, &mut child, stage);
        let (watching, talking) =
            (std::pin::pin!(watching), std::pin::pin!(futures::future::join(feeding, listening)));
        match futures::future::select(watching, talking).await {
            futures::future::Either::Left((end, talking)) => {
                // Silence is no reason to wait for.
                drop(tokio::time::timeout(LAST_WORDS, talking).await);
                end
            }
            futures::future::Either::Right((_, watching)) => watching.await,
        }
    };
    let delivered = job.delivered();
    let said = match end {
        Ok(End::Itself(status)) if status.success() => job.ack().await.map(|()| Ended::Done),
        Ok(End::Itself(status)) => {
            let text = error_text(&in_words(status), &tail.borrow());
            ctx.out.note(&format!("job {}: {}", delivered.id(), in_words(status)));
            let nacked = job.nack(None, text).await;
            nacked.map(|dead| if dead { Ended::Dead } else { Ended::Failed })
        }
        Ok(End::LeaseLost) => Ok(Ended::Lost),
        Ok(End::GivenBack) => job.release().await.map(|()| Ended::GivenBack),
        Err(failure) => {
            let nacked = job.nack(None, failure.fault.message).await;
            nacked.map(|dead| if dead { Ended::Dead } else { Ended::Failed })
        }
    };
    tell(ctx, &delivered, said)
}

/// Says what went wrong when it could not be said what became of the job.
fn tell(ctx: &Ctx, job: &Delivered, said: std::result::Result<Ended, QueueError>) -> Ended {
    match said {
        Ok(Ended::Lost) | Err(QueueError::Stale { .. }) => {
            ctx.out.note(&format!("job {}: the lease was lost, another may have it", job.id()));
            Ended::Lost
        }
        Ok(ended) => ended,
        Err(error) => {
            ctx.out.note(&format!("job {}: {error}", job.id()));
            Ended::Unsettled
        }
    }
}

/// What the command finds in its environment.
fn variables(job: &Delivered) -> Vec<(&'static str, String)> {
    vec![
        ("DSYNC_QUEUE", job.queue().to_string()),
        ("DSYNC_JOB_ID", job.id().to_string()),
        ("DSYNC_RECEIPT", job.receipt().to_string()),
        ("DSYNC_TOKEN", job.receipt().token.to_string()),
        ("DSYNC_ATTEMPT", job.attempt().to_string()),
        ("DSYNC_MAX_ATTEMPTS", job.max_attempts().to_string()),
        ("DSYNC_PRIORITY", job.priority().to_string()),
        ("DSYNC_LEASE_MS", human::millis(job.lease()).to_string()),
        ("DSYNC_HEADERS", headers(job.headers()).to_string()),
    ]
}

/// Waits for the command's end, or brings it about.
async fn watch_over(
    args: &Work,
    job: &Delivered,
    child: &mut Child,
    mut stage: watch::Receiver<Stage>,
) -> Result<End> {
    let give_back = stage.wait_for(|stage| *stage == Stage::GiveBack);
    let ended = tokio::select! {
        status = child.wait() => return status.map(End::Itself),
        () = job.lost() => End::LeaseLost,
        _ = give_back => End::GivenBack,
    };
    let grace = match ended {
        End::LeaseLost => args.grace.min(SHORT_GRACE),
        End::GivenBack | End::Itself(_) => args.grace,
    };
    child.signal(Signal::TERM);
    // A stopped process would not see it.
    child.signal(Signal::CONT);
    if tokio::time::timeout(grace, child.wait()).await.is_err() {
        child.signal(Signal::KILL);
        child.wait().await?;
    }
    child.kill_rest();
    Ok(ended)
}

/// Writes the payload; a command need not read it.
async fn feed(mut stdin: ChildStdin, payload: &[u8]) {
    stdin.write_all(payload).await.unwrap_or_default();
}

/// Passes on what the command says, and keeps the end of it.
async fn listen(mut stderr: ChildStderr, tail: &RefCell<Tail>) {
    let mut piece = [0; 8 * 1024];
    while let Ok(count @ 1..) = stderr.read(&mut piece).await {
        let said = piece.get(..count).unwrap_or_default();
        output::of_child(said);
        tail.borrow_mut().add(said);
    }
}

fn in_words(status: ExitStatus) -> String {
    match child::exit_of(status) {
        Exit::Child(TRY_AGAIN) => format!("exit code {TRY_AGAIN} (try again later)"),
        Exit::Signal(number) => format!("ended by signal {number}"),
        other => format!("exit code {}", other.number()),
    }
}
