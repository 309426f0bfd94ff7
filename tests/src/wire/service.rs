//! A service whose requests do what a test needs, and a server around it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsd::server::{Call, Counters, Handlers, Identity, Limits, NodeHandler, PeerHandler, Server};
use dsync::api::{
    AdminReply, AdminRequest, Answer, CacheReply, CacheRequest, Head, LockReply, LockRequest,
    QueueReply, QueueRequest,
};
use dsync::net::{Listener, Net, Network, TcpNetwork};
use dsync::peer::{CacheAnswer, CacheCall, CacheFrom, Destination, RaftCall, RaftReply};
use dsync::preamble::{Hail, Plane};
use dsync_core::lock::{LockView, Lookup, Outcome, Request, RequestKey, SessionId};
use dsync_core::name::Name;
use dsync_core::node::{ClusterId, Hello, Role};
use dsync_core::{Code, Effect, Fault};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What became of the handlers.
#[derive(Debug, Default)]
pub struct Seen {
    /// Handlers begun.
    pub begun: AtomicU64,
    /// Handlers that ran to their end.
    pub ended: AtomicU64,
    /// Handlers dropped before.
    pub dropped: AtomicU64,
    /// Most handlers at one time.
    pub most: AtomicU64,
}

impl Seen {
    /// Waits until `done` holds.
    pub async fn until(&self, done: impl Fn(&Self) -> bool) {
        let check = async {
            while !done(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), check).await.expect("not in 30 s");
    }
}

struct Watch {
    seen: Arc<Seen>,
    ended: bool,
}

impl Watch {
    fn new(seen: &Arc<Seen>) -> Self {
        let begun = seen.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let over = seen.ended.load(Ordering::SeqCst) + seen.dropped.load(Ordering::SeqCst);
        seen.most.fetch_max(begun.saturating_sub(over), Ordering::SeqCst);
        Self { seen: Arc::clone(seen), ended: false }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let of = if self.ended { &self.seen.ended } else { &self.seen.dropped };
        of.fetch_add(1, Ordering::SeqCst);
    }
}

/// The service: `Get` of the locks `panic` and `unavailable` does what they say, `Await` sleeps,
/// `List` answers as many locks as asked for, `Do` is carried out once per key.
#[derive(Debug, Clone)]
pub struct Service {
    /// What became of the handlers.
    pub seen: Arc<Seen>,
    /// Commands carried out, by key, with how often they were asked for.
    pub done: Arc<Mutex<BTreeMap<RequestKey, u32>>>,
    /// Who answers: NODE_ID and address.
    pub who: Arc<Mutex<(String, String)>>,
}

impl Service {
    /// A service of that node.
    pub fn new(node: &str, address: &str) -> Self {
        Self {
            seen: Arc::default(),
            done: Arc::default(),
            who: Arc::new(Mutex::new((node.to_owned(), address.to_owned()))),
        }
    }

    fn answer<T>(&self, result: Result<T, Fault>) -> Answer<T> {
        let (served_by, address) = self.who.lock().clone();
        Answer { served_by, address, result }
    }

    async fn decide(&self, request: LockRequest) -> Result<LockReply, Fault> {
        match request {
            LockRequest::Get { lock } if lock.as_str() == "panic" => {
                std::panic::panic_any("a test asked for it")
            }
            LockRequest::Get { lock } if lock.as_str() == "unavailable" => {
                Err(Fault::unavailable("no leader"))
            }
            LockRequest::Get { .. } => Ok(LockReply::Lock(None)),
            LockRequest::Await { wait_ms, .. } => {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                Ok(LockReply::Lookup(Lookup::Unknown))
            }
            LockRequest::List { limit, .. } => {
                let view = LockView {
                    name: name(&"x".repeat(200)),
                    mode: None,
                    holders: Vec::new(),
                    waiters: Vec::new(),
                    delay: None,
                    more_holders: 0,
                    more_waiters: 0,
                };
                let count = usize::try_from(limit).expect("fits");
                Ok(LockReply::Locks { items: vec![view; count], more: false })
            }
            LockRequest::Do(Request { key, .. }) => {
                *self.done.lock().entry(key).or_default() += 1;
                Ok(LockReply::Outcome(Outcome::SessionOpened {
                    session: SessionId(1),
                    ttl_ms: 15_000,
                }))
            }
            LockRequest::KeepAlive { .. }
            | LockRequest::Validate { .. }
            | LockRequest::WaitGraph
            | LockRequest::Sessions { .. }
            | LockRequest::Events { .. }
            | LockRequest::Holding { .. } => {
                Err(Fault::new(Code::InvalidArgument, "not in this test"))
            }
        }
    }
}

impl NodeHandler for Service {
    async fn lock(&self, _: Call, _: Head, request: LockRequest) -> Answer<LockReply> {
        let mut watch = Watch::new(&self.seen);
        let result = self.decide(request).await;
        watch.ended = true;
        self.answer(result)
    }

    async fn admin(&self, call: Call, _: Head, request: AdminRequest) -> Answer<AdminReply> {
        let pong = request == AdminRequest::Ping;
        let who = format!("{} on {}", call.caller.id, call.caller.plane);
        self.answer(Ok(if pong { AdminReply::Pong } else { AdminReply::Done(who) }))
    }

    async fn queue(&self, _: Call, _: Head, _: QueueRequest) -> Answer<QueueReply> {
        self.answer(Err(Fault::new(Code::InvalidArgument, "not in this test")))
    }

    async fn cache(&self, _: Call, _: Head, _: CacheRequest) -> Answer<CacheReply> {
        self.answer(Err(Fault::new(Code::InvalidArgument, "not in this test")))
    }
}

impl PeerHandler for Service {
    async fn hello(&self, _: Call, from: Hello) -> Result<Hello, Fault> {
        Ok(from)
    }

    async fn raft(&self, _: Call, to: Destination, _: RaftCall) -> Result<RaftReply, Fault> {
        if to.to == 0 {
            return Err(Fault { effect: Effect::None, ..Fault::new(Code::Conflict, "not me") });
        }
        Ok(RaftReply::Appended)
    }

    async fn cache(&self, _: Call, _: CacheFrom, _: CacheCall) -> Result<CacheAnswer, Fault> {
        Err(Fault::new(Code::InvalidArgument, "not in this test"))
    }
}

/// The real server around [`Service`].
#[derive(Debug)]
pub struct TestServer {
    /// Where it listens.
    pub address: String,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// What it serves.
    pub service: Service,
    /// Stops it.
    pub stop: CancellationToken,
    /// Its cluster.
    pub cluster: watch::Sender<Option<ClusterId>>,
    task: Option<JoinHandle<()>>,
}

impl TestServer {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    /// Starts one with those limits.
    pub async fn with(limits: Limits) -> Self {
        let listener = TcpNetwork.listen("127.0.0.1:0").await.expect("listen");
        Self::on(listener, "node-1", limits)
    }

    /// Starts one of that NODE_ID.
    pub async fn named(node: &str) -> Self {
        let listener = TcpNetwork.listen("127.0.0.1:0").await.expect("listen");
        Self::on(listener, node, Limits::default())
    }

    /// Starts one on that listener.
    pub fn on(listener: Box<dyn Listener>, node: &str, limits: Limits) -> Self {
        let address = listener.local_addr().expect("address").to_string();
        let service = Service::new(node, &address);
        Self::serving(listener, limits, service.clone(), service)
    }

    /// Starts one whose client plane is that handler.
    pub fn serving<N: NodeHandler>(
        listener: Box<dyn Listener>,
        limits: Limits,
        service: Service,
        handler: N,
    ) -> Self {
        let address = listener.local_addr().expect("address").to_string();
        let (cluster, receiver) = watch::channel(Some(ClusterId(7)));
        let identity = Identity {
            node: service.who.lock().0.clone(),
            role: Role::Lock,
            address: address.clone(),
            version: "0.1.0".to_owned(),
            cluster: receiver,
        };
        let counters = Arc::<Counters>::default();
        let stop = CancellationToken::new();
        let server = Server { listener, identity, limits, counters: Arc::clone(&counters) };
        let handlers = Handlers { node: handler, peer: service.clone() };
        let task = Some(tokio::spawn(server.run(handlers, stop.clone())));
        Self { address, counters, service, stop, cluster, task }
    }

    /// Stops it and waits until it has.
    pub async fn finish(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.expect("the server ends");
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A greeting for tests.
pub fn hail(plane: Plane) -> Hail {
    Hail { plane, id: "test".to_owned(), version: "0.1.0".to_owned(), auth: None }
}

/// A name.
pub fn name(text: &str) -> Name {
    Name::parse("name", text).expect("a name")
}

/// The real network.
pub fn net() -> Net {
    Arc::new(TcpNetwork)
}
