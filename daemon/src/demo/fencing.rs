//! A holder that is paused for too long, and the resource that refuses it.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use dsync::Client;
use dsync::lock::{Acquire, FencingGuard, LockError, Session, SessionOptions, StaleToken, Token};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::contend::token;
use super::story::since;
use super::{Broken, Stage, Story};

const LOCK: &str = "report/daily";
const TTL: Duration = Duration::from_secs(1);

/// What the paused program sees when it goes on.
struct Woken {
    /// Whether its lock still looked good, right before the pause.
    was_valid: bool,
    /// And right after.
    is_valid: bool,
    /// What the resource said to its write.
    written: Result<(), StaleToken>,
}

pub(super) async fn show(stage: &Stage, story: &mut Story) -> Result<(), Broken> {
    story.step("A paused holder wakes up too late, and is fenced off");
    // The resource that the lock protects: it remembers the largest token that it has seen.
    let resource = Arc::new(FencingGuard::new());
    let (has, took) = oneshot::channel();
    let (wake, sleeping) = mpsc::channel::<()>();
    let program = {
        let (client, resource) = (stage.client.clone(), Arc::clone(&resource));
        tokio::task::spawn_blocking(move || paused_program(&client, &resource, has, &sleeping))
    };
    let old = took.await.map_err(|_| Broken::new("dave's program ended early"))??;
    let paused = Instant::now();
    story.fact(format_args!("dave takes {LOCK} on a lease of 1 s"), token(old.0));
    story.say("dave looks: his lock is good. Then his program is paused, whole");

    let erin = stage.session("erin", Duration::from_secs(15)).await?;
    let refused = erin.try_acquire(LOCK, &Acquire::exclusive()).await?;
    if refused.is_some() {
        return Err(Broken::new("erin got the lock while dave's lease ran"));
    }
    let held = erin.acquire(LOCK, &Acquire::exclusive()).await?;
    story.fact(
        format_args!(
            "dave's lease and the lock-delay run out; erin has it, after {}",
            since(paused)
        ),
        token(held.token().0),
    );
    resource.check(held.token()).map_err(|stale| Broken::new(stale.to_string()))?;
    story.fact("erin writes to the resource", "accepted");
    drop(wake);
    let woken = program.await.map_err(|e| Broken::new(e.to_string()))??;
    story.fact("dave wakes up and writes what he was about to", said(&woken.written));
    let fenced = woken.written.is_err_and(|s| s.token == old && s.largest == held.token());
    if !woken.was_valid || !fenced {
        return Err(Broken::new("the resource accepted the write of a holder that had lost"));
    }
    story.fact(
        "only then does dave look again",
        if woken.is_valid { "good" } else { "his lock is lost" },
    );
    if woken.is_valid || erin.validate(LOCK, old).await?.is_some() {
        return Err(Broken::new("dave's token is still good"));
    }
    held.release().await?;
    erin.close().await?;
    Ok(())
}

fn said(written: &Result<(), StaleToken>) -> String {
    match written {
        Ok(()) => "accepted".to_owned(),
        Err(stale) => format!("refused: {stale}"),
    }
}

/// A program with a runtime of its own, which nobody drives while it is paused: no keep-alive is
/// sent, no timer runs, as in a process that was stopped.
fn paused_program(
    client: &Client,
    resource: &FencingGuard,
    has: oneshot::Sender<Result<Token, LockError>>,
    sleeping: &mpsc::Receiver<()>,
) -> Result<Woken, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Broken::new(error.to_string()))?;
    let got = runtime.block_on(async {
        // A client of its own: the connections, too, belong to this runtime.
        let client = Client::new(client.config().clone(), Arc::clone(client.net()));
        let session = Session::open(&client, SessionOptions::new("dave").ttl(TTL)).await?;
        let guard = session.acquire(LOCK, &Acquire::exclusive()).await?;
        Ok::<_, LockError>((session, guard))
    });
    let (session, guard) = match got {
        Ok(got) => got,
        Err(error) => {
            let broken = Broken::new(error.to_string());
            drop(has.send(Err(error)));
            return Err(broken);
        }
    };
    let was_valid = session.is_valid();
    drop(has.send(Ok(guard.token())));
    // The pause: until the other side hangs up.
    while sleeping.recv().is_ok() {}
    let written = resource.check(guard.token());
    Ok(Woken { was_valid, is_valid: session.is_valid(), written })
}
