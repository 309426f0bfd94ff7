//! Clients in closed loops: each pushes, pops, acknowledges, and begins again.

use std::time::Duration;

use dsync::api::{QueueReply, QueueRequest};
use dsync::{CallOptions, Client};
use dsync_core::Fault;
use dsync_core::name::Name;
use dsync_core::queue::{
    Backoff, Command, DEFAULT_ATTEMPTS, DEFAULT_LEASE_MS, Delivery, JobId, NewJob, Outcome, Pushed,
    Receipt, Settled,
};
use tokio::time::Instant;

use super::place::Place;

/// What a measurement came to.
pub(crate) struct Figures {
    pub(crate) jobs: u64,
    pub(crate) per_second: f64,
    /// Times of whole cycles, sorted.
    pub(crate) times: Vec<Duration>,
}

/// How the clients work.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) queue: Name,
    pub(crate) clients: usize,
    /// Connections that they share.
    pub(crate) connections: usize,
    /// Jobs per command.
    pub(crate) batch: usize,
    /// Bytes of a payload.
    pub(crate) bytes: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// A name.
pub(crate) fn name(text: &str) -> Name {
    Name::parse("name", text).expect("a name of the bench's own")
}

/// A job of that size.
pub(crate) fn job(bytes: usize) -> NewJob {
    NewJob {
        id: JobId::random(rand::random()),
        payload: vec![b'm'; bytes],
        priority: 0,
        delay_ms: 0,
        max_attempts: DEFAULT_ATTEMPTS,
        backoff: Backoff::default(),
        ttl_ms: 0,
        headers: Vec::new(),
    }
}

/// One command.
pub(crate) async fn call(
    client: &Client,
    queue: &Name,
    command: Command,
    wait: Duration,
) -> Result<Outcome, Fault> {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(0);
    let request = QueueRequest::Do { queue: queue.clone(), command, wait_ms, durability: None };
    let timeout = Duration::from_secs(10) + wait;
    let options = CallOptions { timeout, ..CallOptions::default() };
    let reply = client.queue(request, options).await?.result?;
    let QueueReply::Outcome { outcome, .. } = reply else {
        panic!("a command was answered by {reply:?}")
    };
    Ok(outcome)
}

/// Pushes jobs, all of them new.
pub(crate) async fn push(client: &Client, queue: &Name, jobs: Vec<NewJob>) {
    match call(client, queue, Command::Push { jobs }, Duration::ZERO).await {
        Ok(Outcome::Pushed(all)) if all.iter().all(|one| *one == Pushed::Created) => {}
        other => panic!("a push was answered by {other:?}"),
    }
}

/// Takes up to `max` jobs, or waits for the first.
pub(crate) async fn pop(
    client: &Client,
    queue: &Name,
    (max, lease_ms): (usize, u64),
    wait: Duration,
) -> Vec<Delivery> {
    let max = u32::try_from(max).unwrap_or(u32::MAX);
    let consumer = name("bench");
    let command = Command::Pop { request: rand::random(), max, lease_ms, ack: false, consumer };
    match call(client, queue, command, wait).await {
        Ok(Outcome::Popped(popped)) => popped.jobs,
        other => panic!("a pop was answered by {other:?}"),
    }
}

/// Acknowledges, each in time.
pub(crate) async fn ack(client: &Client, queue: &Name, receipts: Vec<Receipt>) {
    match call(client, queue, Command::Ack { receipts }, Duration::ZERO).await {
        Ok(Outcome::Settled(all)) if all.iter().all(|one| *one == Settled::Done) => {}
        other => panic!("an ack was answered by {other:?}"),
    }
}

/// Lets all clients work, spread over the nodes, in turn on the connections.
pub(crate) async fn run(place: &Place, load: &Load) -> Figures {
    let from = Instant::now() + load.warm_up;
    let shared: Vec<Client> = (0..load.connections).map(|at| place.client_from(at)).collect();
    let clients: Vec<_> = shared
        .iter()
        .cycle()
        .take(load.clients)
        .map(|client| tokio::spawn(work(client.clone(), load.clone(), from)))
        .collect();
    let mut times = Vec::new();
    let mut jobs = 0;
    for client in clients {
        let (mut seen, done) = client.await.expect("a client ends");
        times.append(&mut seen);
        jobs += done;
    }
    times.sort();
    let counted = f64::from(u32::try_from(jobs).expect("not so many"));
    Figures { jobs, per_second: counted / load.time.as_secs_f64(), times }
}

/// Cycles that begin within the time count.
async fn work(client: Client, load: Load, from: Instant) -> (Vec<Duration>, u64) {
    let until = from + load.time;
    let mut times = Vec::new();
    let mut jobs = 0;
    loop {
        let begun = Instant::now();
        if begun >= until {
            return (times, jobs);
        }
        let done = cycle(&client, &load).await;
        let ended = Instant::now();
        if begun >= from && ended <= until {
            times.push(ended - begun);
            jobs += done;
        }
    }
}

/// As many jobs pushed as taken and acknowledged. Who takes finds enough: each has pushed before.
async fn cycle(client: &Client, load: &Load) -> u64 {
    let queue = &load.queue;
    push(client, queue, (0..load.batch).map(|_| job(load.bytes)).collect()).await;
    let mut left = load.batch;
    while left > 0 {
        let taken = pop(client, queue, (left, DEFAULT_LEASE_MS), Duration::from_secs(5)).await;
        assert!(!taken.is_empty(), "a job that was pushed is not there");
        left -= taken.len();
        ack(client, queue, taken.into_iter().map(|job| job.receipt).collect()).await;
    }
    u64::try_from(load.batch).unwrap_or(0)
}

/// A quantile in milliseconds.
pub(crate) fn quantile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let at = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(at).map_or(0.0, Duration::as_secs_f64) * 1e3
}
