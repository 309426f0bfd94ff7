//! Jobs: priorities, a delay, and one that never succeeds.

use std::time::Duration;

use dsync::queue::Job;
use dsync_core::queue::{Query, Seen, State};
use tokio::time::Instant;

use super::jobs::{consumer, counts, look, producer, queue, stats};
use super::story::since;
use super::{Broken, Stage, Story};

/// Longest wait for a job.
const WAIT: Duration = Duration::from_secs(10);
const DELAY: Duration = Duration::from_millis(300);
const ATTEMPTS: u32 = 2;

pub(super) async fn show(stage: &Stage, story: &mut Story) -> Result<(), Broken> {
    story.step("The urgent goes first, the late in time, the poisoned to the dead letters");
    let producer = producer(&stage.client)?;
    let pushed = Instant::now();
    producer.push(Job::new("later").id("later")?.delay(DELAY)).await?;
    producer.push(Job::new("normal").id("normal")?).await?;
    producer.push(Job::new("urgent").id("urgent")?.priority(9)).await?;
    let poisoned = Job::new("poison").id("poisoned")?.priority(1).max_attempts(ATTEMPTS);
    producer.push(poisoned.backoff(Duration::ZERO, Duration::ZERO)).await?;
    story.say("pushed: later (in 300 ms), normal, urgent (priority 9), poisoned (priority 1)");

    let worker = consumer(&stage.client, "worker", WAIT)?;
    let mut order = Vec::new();
    let mut early = None;
    while order.len() < 3 + 2 {
        let job = worker.next(WAIT).await?.ok_or_else(|| Broken::new("a job is missing"))?;
        let id = job.id().to_string();
        order.push(id.clone());
        match id.as_str() {
            "poisoned" => {
                job.nack(None, "it makes the worker fail").await?;
            }
            "later" => {
                early = (pushed.elapsed() < DELAY).then_some("later came too early");
                story.fact("later comes when it is due", since(pushed));
                job.ack().await?;
            }
            _ => job.ack().await?,
        }
    }
    story.fact("the worker gets them in this order", order.join(", "));
    if let Some(why) = early {
        return Err(Broken::new(why));
    }
    if order != ["urgent", "poisoned", "poisoned", "normal", "later"] {
        return Err(Broken::new(format!("another order was promised than {order:?}")));
    }
    let queue = queue()?;
    let peek = Query::Peek { queue: queue.clone(), state: State::Dead, skip: 0, limit: 10 };
    let Seen::Jobs { items, .. } = look(&stage.client, peek).await? else {
        return Err(Broken::new("the dead letters cannot be seen"));
    };
    let [dead] = items.as_slice() else {
        return Err(Broken::new(format!("not one dead letter: {items:?}")));
    };
    story.fact(
        format_args!("dead letter {}: {}", dead.id, dead.cause.as_deref().unwrap_or_default()),
        format_args!("\"{}\"", dead.errors.last().map(String::as_str).unwrap_or_default()),
    );
    let Seen::Audit(found) = look(&stage.client, Query::Audit { queue: queue.clone() }).await?
    else {
        return Err(Broken::new("the queue cannot be audited"));
    };
    let stats = stats(&stage.client, &queue).await?;
    let done =
        format!("{} pushed, {} done; {}", stats.totals.pushed, stats.totals.acked, counts(&stats));
    story.fact("the audit: every job that was pushed is accounted for", done);
    if !found.is_empty() {
        return Err(Broken::new(found.join("; ")));
    }
    Ok(())
}
