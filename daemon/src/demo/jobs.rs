//! Jobs: a consumer dies, a leader dies, and no job does.

use std::time::Duration;

use dsync::api::{QueueReply, QueueRequest};
use dsync::queue::{Consumer, ConsumerOptions, Job, Producer, Status};
use dsync::{CallOptions, Client};
use dsync_core::name::Name;
use dsync_core::queue::{Command, Outcome, Query, Seen, Settled, Stats};
use tokio::time::Instant;

use super::story::since;
use super::{Broken, Stage, Story};

const QUEUE: &str = "invoices";
/// Lease of the consumer that dies.
const SHORT: Duration = Duration::from_millis(500);
/// Longest wait for a job.
const WAIT: Duration = Duration::from_secs(10);

pub(super) async fn show(stage: &mut Stage, story: &mut Story) -> Result<(), Broken> {
    story.step("A job outlives its consumer, and the leader of its queue");
    let producer = Producer::new(&stage.client, QUEUE)?;
    let invoice = Job::new("invoice 1").id("invoice-1")?;
    let begun = Instant::now();
    producer.push(&invoice).await?;
    story.fact(
        "invoice-1 is pushed at a lock node, which hands it on",
        format_args!("on the disks of a majority after {}", since(begun)),
    );
    let again = producer.push(&invoice).await?;
    let Status::Duplicate(state) = again.status else {
        return Err(Broken::new("a push that was repeated made a second job"));
    };
    story.fact(
        "its producer repeats the push, as after a lost answer",
        format_args!("a duplicate, {}", state.as_str()),
    );

    let alice = consumer(&stage.client, "alice", SHORT)?;
    let lost = alice.next(WAIT).await?.ok_or_else(|| Broken::new("alice found no job"))?;
    let old = lost.receipt().clone();
    story.fact("alice takes it on a lease of 500 ms, and dies", format_args!("receipt {old}"));
    drop(lost);

    let leader = stage.queues.leader().await?;
    stage.queues.kill(stage.queues.number(&leader.node)?).await?;
    story.say(format_args!("{}, the leader of the queues, is killed as well", leader.node));

    let bob = consumer(&stage.client, "bob", WAIT)?;
    let begun = Instant::now();
    let job = bob.next(WAIT).await?.ok_or_else(|| Broken::new("the job is lost"))?;
    story.fact(
        format_args!("bob gets it {} later, attempt {}", since(begun), job.attempt()),
        format_args!("receipt {}", job.receipt()),
    );
    if job.payload() != b"invoice 1" || job.attempt() != 2 {
        return Err(Broken::new(format!("bob got something else: {job:?}")));
    }
    let queue = Name::parse("queue", QUEUE)?;
    let late = Command::Ack { receipts: vec![old] };
    let answer = run(&stage.client, &queue, late).await?;
    if answer != Outcome::Settled(vec![Settled::Stale]) {
        return Err(Broken::new(format!("a stale receipt was accepted: {answer:?}")));
    }
    story.fact("alice wakes up and acknowledges what she had", "refused: her receipt is stale");
    job.ack().await?;
    let left = stats(&stage.client, &queue).await?;
    story.fact("bob acknowledges it", counts(&left));
    if left.ready + left.leased + left.delayed + left.dead > 0 {
        return Err(Broken::new("the queue is not empty"));
    }
    let number = stage.queues.number(&leader.node)?;
    stage.queues.start_node(number).await.map_err(|error| Broken::new(error.what))
}

pub(super) fn consumer(client: &Client, name: &str, lease: Duration) -> Result<Consumer, Broken> {
    let (queue, options) = (QUEUE, ConsumerOptions::new(name).lease(lease));
    Ok(Consumer::new(client, queue, options)?)
}

pub(super) fn producer(client: &Client) -> Result<Producer, Broken> {
    Ok(Producer::new(client, QUEUE)?)
}

pub(super) fn queue() -> Result<Name, Broken> {
    Ok(Name::parse("queue", QUEUE)?)
}

/// How many jobs are where.
pub(super) fn counts(stats: &Stats) -> String {
    let Stats { ready, delayed, leased, dead, .. } = stats;
    format!("{ready} ready, {delayed} delayed, {leased} leased, {dead} dead")
}

pub(super) async fn run(
    client: &Client,
    queue: &Name,
    command: Command,
) -> Result<Outcome, Broken> {
    let request = QueueRequest::Do { queue: queue.clone(), command, wait_ms: 0, durability: None };
    let reply = client.queue(request, CallOptions::default()).await?.result?;
    if let QueueReply::Outcome { outcome, .. } = reply {
        return Ok(outcome);
    }
    Err(Broken::new(format!("a reply out of place: {reply:?}")))
}

pub(super) async fn look(client: &Client, query: Query) -> Result<Seen, Broken> {
    let reply = client.queue(QueueRequest::Read(query), CallOptions::default()).await?.result?;
    if let QueueReply::Seen { seen, .. } = reply {
        return Ok(seen);
    }
    Err(Broken::new(format!("a reply out of place: {reply:?}")))
}

pub(super) async fn stats(client: &Client, queue: &Name) -> Result<Stats, Broken> {
    let seen = look(client, Query::Stats { queue: queue.clone() }).await?;
    if let Seen::Stats(Some(stats)) = seen {
        return Ok(stats);
    }
    Err(Broken::new(format!("no counts: {seen:?}")))
}
