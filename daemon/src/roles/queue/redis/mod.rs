//! Queues in Redis: any node serves any queue; the ring decides where consumers wait.

mod dispatch;
mod members;

use std::sync::Arc;
use std::time::Duration;

use dsync::api::{Answer, Head, QueueReply, QueueRequest, Ring, RingMember};
use dsync_core::config::Store as StoreKind;
use dsync_core::name::Name;
use dsync_core::node::ClusterId;
use dsync_core::queue::redis::{COMMANDS, READS, decode, decode_query, encode, encode_query};
use dsync_core::queue::{Command, Query, Seen, Stats, partition_of};
use dsync_core::{Code, Effect, Fault};
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use self::dispatch::Dispatch;
use self::members::{Me, Members, View};
use super::serve::Desk;
use super::waiting::Waiting;
use crate::forward::Forwarder;
use crate::roles::leader::{answer_by, stopping};
use crate::store::redis::{RedisLink, Script};
use crate::telemetry::Metrics;

/// Pause before a request is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// Time for the node in charge to answer, beyond what the request waits by itself; then this one
/// serves it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause before the queues are listed again, where Redis could not be asked.
const AGAIN: Duration = Duration::from_secs(1);
/// Queues that are looked at together, and the pause after them: others want Redis too.
const TEND: usize = 100;
const TEND_PAUSE: Duration = Duration::from_millis(10);

/// The queue service of a node whose store is Redis. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RedisQueues {
    desk: Desk<Dispatch>,
    members: Members,
    link: RedisLink,
    reads: Arc<(Script, Script)>,
    forwarder: Arc<Forwarder>,
    stopping: CancellationToken,
}

/// Who the node is.
#[derive(Debug)]
pub struct Myself {
    /// NODE_ID.
    pub node: Name,
    /// Which start of it.
    pub incarnation: u64,
    /// Where others reach it.
    pub address: String,
}

impl RedisQueues {
    /// Starts the role on a link. Long polls end with `stopping`.
    ///
    /// # Errors
    /// Another process lives under this node's name; the text names it.
    pub async fn start(
        link: RedisLink,
        me: Myself,
        forwarder: Arc<Forwarder>,
        (stopping, metrics): (CancellationToken, Arc<Metrics>),
    ) -> Result<Self, String> {
        let Myself { node, incarnation, address } = me;
        let members = Members::join(link.clone(), Me { node, incarnation, address }).await?;
        let waiting = Waiting::default();
        let ring = members.clone();
        let shared = move |queue: &Name| ring.is_shared(partition_of(queue));
        let dispatch =
            Dispatch::new(link.clone(), (waiting.clone(), Arc::clone(&metrics)), Box::new(shared));
        tokio::spawn(hear_wakes(link.clone(), dispatch.clone()).in_current_span());
        let queues = Self {
            desk: Desk::new(dispatch, waiting, metrics),
            members,
            link,
            reads: Arc::new((Script::new(COMMANDS), Script::new(READS))),
            forwarder,
            stopping,
        };
        tokio::spawn(queues.clone().tend_for_ever().in_current_span());
        Ok(queues)
    }

    /// Looks at the queues that this node is in charge of whenever the ring changes: what ends by
    /// itself in them ends in time, used or not.
    async fn tend_for_ever(self) {
        let mut view = self.members.follow();
        let stop = self.link.stopped().clone();
        stop.run_until_cancelled(async {
            loop {
                let tended = self.tend().await;
                tokio::select! {
                    changed = view.changed() => if changed.is_err() {
                        return;
                    },
                    () = tokio::time::sleep(AGAIN), if tended.is_err() => {}
                }
            }
        })
        .await;
    }

    async fn tend(&self) -> Result<(), Fault> {
        let (prefix, mut after) = (String::new(), None);
        loop {
            let page = Query::Queues { prefix: prefix.clone(), after, limit: u32::MAX };
            let QueueReply::Seen { seen: Seen::Queues { items, more }, .. } =
                self.read(&page).await?
            else {
                return Ok(());
            };
            let mine =
                |queue: &&Stats| self.members.owner_elsewhere(partition_of(&queue.queue)).is_none();
            let mine: Vec<&Stats> = items.iter().filter(mine).collect();
            for some in mine.chunks(TEND) {
                for queue in some {
                    self.desk.store.tend(&queue.queue);
                }
                tokio::time::sleep(TEND_PAUSE).await;
            }
            after = items.last().filter(|_| more).map(|queue| queue.queue.clone());
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Redis is there, and takes no writes.
    pub(super) fn is_refused(&self) -> bool {
        self.members.is_refused()
    }

    pub(super) fn waiters(&self) -> usize {
        self.desk.waiting.count()
    }

    /// What keeps this node from serving, in words.
    pub fn problems(&self) -> Vec<String> {
        self.link.problem().into_iter().chain(self.members.namesake()).collect()
    }

    /// The store's number, as it is known.
    pub fn cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.link.cluster()
    }

    /// Lets the others take over.
    pub async fn leave(&self) {
        self.members.leave().await;
    }

    pub(super) async fn call(
        &self,
        head: &Head,
        request: QueueRequest,
        within: Duration,
    ) -> Answer<QueueReply> {
        let until = match super::admit(&request, within) {
            Ok(until) => answer_by(until),
            Err(fault) => return self.forwarder.answer(Err(fault)),
        };
        let long_poll = super::is_long_poll(&request);
        match request {
            QueueRequest::Do { queue, command, wait_ms, durability } => {
                let wait_until = Instant::now() + Duration::from_millis(wait_ms);
                let todo = Todo { queue, command, durability, wait_until };
                tokio::select! {
                    answer = self.carry_out(head, &todo, until) => answer,
                    // Asked again at another node, it waits on.
                    () = self.stopping.cancelled(), if long_poll => {
                        self.forwarder.answer(Err(stopping()))
                    }
                }
            }
            QueueRequest::Read(query) => {
                let seen = tokio::time::timeout_at(until, Box::pin(self.read(&query))).await;
                let late = || {
                    let text = format!("{} did not answer in time", self.link.name());
                    Err(Fault::unavailable(text))
                };
                self.forwarder.answer(seen.unwrap_or_else(|_| late()))
            }
            QueueRequest::Ring { queue } => {
                self.forwarder.answer(Ok(QueueReply::Ring(self.ring(queue.as_ref()))))
            }
        }
    }

    /// Carries a command out at the node in charge, or here where that one does not answer; tries on
    /// while that may help and do no harm.
    async fn carry_out(&self, head: &Head, todo: &Todo, until: Instant) -> Answer<QueueReply> {
        let partition = partition_of(&todo.queue);
        // Who was asked by another node answers itself: two that disagree would ask each other.
        let mut elsewhere = head.hops == 0;
        loop {
            let owner = self.members.owner_elsewhere(partition).filter(|_| elsewhere);
            let answer = match owner {
                Some((owner, address)) => {
                    let handing_on = self.hand_on((&owner, &address), head, todo, until);
                    let sent = Box::pin(handing_on).await;
                    match sent {
                        Some(answer) => answer,
                        // The ring changed: another node is in charge now.
                        None => continue,
                    }
                }
                None => match self.here(todo, until).await {
                    Some(result) => self.forwarder.answer(result),
                    None => continue,
                },
            };
            let Err(fault) = &answer.result else { return answer };
            let harmless = fault.effect == Effect::None || todo.command.may_repeat();
            if !fault.retryable || !harmless || Instant::now() + RETRY >= until {
                return answer;
            }
            // The node in charge cannot: perhaps this one can.
            elsewhere = false;
            tokio::time::sleep(RETRY).await;
        }
    }

    /// `None`: the node is not in charge any more, and may not answer.
    async fn hand_on(
        &self,
        (owner, address): (&Name, &str),
        head: &Head,
        todo: &Todo,
        until: Instant,
    ) -> Option<Answer<QueueReply>> {
        let wait = todo.wait_until.saturating_duration_since(Instant::now());
        let request = QueueRequest::Do {
            queue: todo.queue.clone(),
            command: todo.command.clone(),
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(0),
            durability: todo.durability,
        };
        let patient =
            if todo.command.may_repeat() { Instant::now() + wait + PATIENCE } else { until };
        let sent = self.forwarder.hand_on(address, head, request, until.min(patient));
        let moved = self.moved(&todo.queue, |now| now != Some(owner));
        tokio::select! {
            biased;
            sent = sent => Some(sent.unwrap_or_else(|fault| {
                self.forwarder.forget(address);
                self.forwarder.answer(Err(fault))
            })),
            () = moved, if todo.command.may_repeat() => {
                self.forwarder.forget(address);
                None
            }
        }
    }

    /// `None`: consumers of this queue wait elsewhere by now.
    async fn here(&self, todo: &Todo, until: Instant) -> Option<Result<QueueReply, Fault>> {
        let wait = todo.wait_until.saturating_duration_since(Instant::now());
        if let (Some(durability), Command::Push { .. }) = (todo.durability, &todo.command) {
            let push =
                self.desk.store.submit_safely(&todo.queue, todo.command.clone(), Some(durability));
            let done = tokio::time::timeout_at(until, push).await;
            let done = done.unwrap_or_else(|_| Err(self.desk.late()));
            let checked = done.and_then(|(outcome, durability)| {
                let outcome = super::serve::checked(outcome)?;
                self.desk.tally(&todo.command, &outcome);
                Ok(QueueReply::Outcome { outcome, durability })
            });
            return Some(checked);
        }
        let me = self.members.owner(partition_of(&todo.queue));
        let moved = self.moved(&todo.queue, |now| now != me.as_ref());
        let done = self.desk.carry_out(&todo.queue, &todo.command, wait, until);
        tokio::select! {
            biased;
            done = done => Some(done.map(|outcome| {
                QueueReply::Outcome { outcome, durability: self.link.plain() }
            })),
            () = moved, if !wait.is_zero() => None,
        }
    }

    /// Ends once the owner of a queue is one that `gone` says so of.
    async fn moved(&self, queue: &Name, gone: impl Fn(Option<&Name>) -> bool) {
        let partition = partition_of(queue);
        let mut view = self.members.follow();
        let gone = |view: &View| gone(view.assignment.owner(partition));
        let stopped = view.wait_for(gone).await.is_err();
        if stopped {
            std::future::pending::<()>().await;
        }
    }

    async fn read(&self, query: &Query) -> Result<QueueReply, Fault> {
        let (commands, reads) = &*self.reads;
        let queue = query.queue();
        if let Some(queue) = queue {
            // What is due by now is seen as done.
            let swept = self.link.run(commands, &encode(queue, &[], None)).await;
            if let Ok(done) = decode(&[], swept.map_err(seen_nothing)?) {
                self.desk.metrics.happened(&done.happened);
            }
        }
        let calls = encode_query(query, None);
        let replies = join_all(calls.iter().map(|call| self.link.run(reads, call))).await;
        let replies: Result<Vec<_>, Fault> = replies.into_iter().collect();
        let seen = decode_query(query, replies.map_err(seen_nothing)?)
            .map_err(|why| Fault::new(Code::Internal, why))?;
        let owner = queue.and_then(|queue| self.members.owner(partition_of(queue)));
        let owner = owner.map(|node| node.to_string());
        Ok(QueueReply::Seen { seen, owner, store: StoreKind::Redis.as_str().to_owned() })
    }

    fn ring(&self, queue: Option<&Name>) -> Ring {
        let view = self.members.follow();
        let view = view.borrow();
        let member = |beat: &dsync_core::queue::Beat| RingMember {
            node: beat.node.to_string(),
            address: beat.address.clone(),
            partitions: view.assignment.load(&beat.node),
            live: beat.is_live(),
        };
        let partition = queue.map(partition_of);
        let owner = partition.and_then(|partition| view.assignment.owner(partition));
        Ring {
            store: StoreKind::Redis.as_str().to_owned(),
            members: view.beats.iter().map(member).collect(),
            partition,
            owner: owner.map(Name::to_string),
        }
    }
}

/// A command on its way.
#[derive(Debug)]
struct Todo {
    queue: Name,
    command: Command,
    durability: Option<dsync::api::Durability>,
    wait_until: Instant,
}

/// A read changes nothing, whatever became of it.
fn seen_nothing(fault: Fault) -> Fault {
    Fault { effect: Effect::None, ..fault }
}

async fn hear_wakes(link: RedisLink, dispatch: Dispatch) {
    let mut wakes = link.wakes();
    while let Some(queue) = wakes.recv().await {
        if let Ok(queue) = Name::parse("queue", &queue) {
            dispatch.look(&queue);
        }
    }
}
