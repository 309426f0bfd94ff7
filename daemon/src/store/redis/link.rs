//! The connection to Redis, kept up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dsync::api::Durability;
use dsync_core::config::Redis;
use dsync_core::node::ClusterId;
use dsync_core::redis::{Call, Reply};
use dsync_core::{Code, Fault};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::connect::{self, ANSWER, CannotConnect, Met, Wire};
use super::fault::judge;
use super::reply::reply;
use super::script::Script;
use super::server::Server;

/// Pause between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(200);
/// Time between two looks at a server's settings and replicas, which change while it runs.
const LOOK: Duration = Duration::from_secs(2);
/// Time for a replica or a disk to confirm a write.
const CONFIRM: Duration = Duration::from_millis(1_500);

/// A connection that is remade whenever it breaks. Cheap to clone.
#[derive(Clone)]
pub struct RedisLink {
    shared: Arc<Shared>,
}

struct Shared {
    redis: Redis,
    seed: u64,
    state: watch::Sender<State>,
    stop: CancellationToken,
}

#[derive(Clone)]
enum State {
    Up(Arc<Up>),
    Down(CannotConnect),
}

/// A connection, and what is cancelled when it is of no more use.
type Way<'a> = (&'a Up, &'a CancellationToken);

/// A connection in use.
struct Up {
    met: Met,
    /// What the server said of itself last.
    server: Mutex<Server>,
    /// The connection for writes whose safety is waited for: WAIT holds up what comes after it. A
    /// replica that says nothing costs this one only.
    durable: tokio::sync::Mutex<Option<Durable>>,
    broken: CancellationToken,
}

#[derive(Clone)]
struct Durable {
    connection: MultiplexedConnection,
    broken: CancellationToken,
}

impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLink").field("problem", &self.problem()).finish_non_exhaustive()
    }
}

impl Up {
    /// Keeps what the server says of itself, and warns of what became unsafe meanwhile: the next
    /// connection to it would be refused for that.
    fn note(&self, server: Server) {
        let found = server.warnings();
        let known = std::mem::replace(&mut *self.server.lock(), server).warnings();
        for warning in found.iter().filter(|one| !known.contains(one)) {
            tracing::warn!("Redis at {} was changed: {warning}", self.met.address);
        }
    }
}

impl RedisLink {
    /// Tries to connect once, and then keeps trying in the background. `seed` numbers a store that
    /// has no number yet.
    ///
    /// # Errors
    /// [`CannotConnect::Refused`]: the server is there and must not be used.
    pub async fn open(
        redis: Redis,
        seed: u64,
        stop: CancellationToken,
    ) -> Result<Self, CannotConnect> {
        let first = connect::connect(&redis, seed).await;
        if let Err(refused @ CannotConnect::Refused(_)) = first {
            return Err(refused);
        }
        let state = watch::Sender::new(State::Down(CannotConnect::NotNow(Fault::unavailable(
            "Redis was not reached yet",
        ))));
        let link = Self { shared: Arc::new(Shared { redis, seed, state, stop }) };
        link.enter(first);
        tokio::spawn(link.clone().keep().in_current_span());
        Ok(link)
    }

    fn enter(&self, outcome: Result<Met, CannotConnect>) {
        let state = match outcome {
            Ok(met) => {
                report(&met);
                let server = Mutex::new(met.server.clone());
                let durable = tokio::sync::Mutex::new(None);
                State::Up(Arc::new(Up { met, server, durable, broken: CancellationToken::new() }))
            }
            Err(why) => {
                if self.problem() != Some(why.to_string()) {
                    tracing::warn!("{why}");
                }
                State::Down(why)
            }
        };
        self.shared.state.send_replace(state);
    }

    async fn keep(self) {
        let stop = self.shared.stop.clone();
        // A store that has forgotten its number with everything else gets the one it had: clients
        // know it by that.
        let mut number = self.shared.seed;
        stop.run_until_cancelled(async {
            loop {
                let up = match &*self.shared.state.borrow() {
                    State::Up(up) => Some(Arc::clone(up)),
                    State::Down(_) => None,
                };
                if let Some(up) = up {
                    number = up.met.store;
                    self.watch(&up).await;
                    let text = format!("the connection to Redis at {} broke", up.met.address);
                    self.enter(Err(CannotConnect::NotNow(Fault::unavailable(text))));
                } else {
                    tokio::time::sleep(AGAIN).await;
                }
                let outcome = connect::connect(&self.shared.redis, number).await;
                self.enter(outcome);
            }
        })
        .await;
    }

    /// Looks at the server now and then, until the connection is of no more use.
    async fn watch(&self, up: &Up) {
        while up.broken.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let mut wire = up.met.wire.clone();
            match connect::look(&mut wire).await {
                Ok(server) if server.master => up.note(server),
                Ok(_) => up.broken.cancel(),
                Err(error) if judge(&up.met.address, &error).broken => up.broken.cancel(),
                Err(_) => {}
            }
        }
    }

    fn up(&self) -> Result<Arc<Up>, Fault> {
        match &*self.shared.state.borrow() {
            State::Up(up) => Ok(Arc::clone(up)),
            State::Down(CannotConnect::NotNow(fault)) => Err(fault.clone()),
            State::Down(CannotConnect::Refused(why)) => Err(Fault::new(Code::Unavailable, why)),
        }
    }

    /// Why Redis cannot be used, if it cannot.
    pub fn problem(&self) -> Option<String> {
        self.up().err().map(|fault| fault.to_string())
    }

    /// The server, while it is there.
    pub fn server(&self) -> Option<Server> {
        self.up().ok().map(|up| up.server.lock().clone())
    }

    /// Number of the store, while it is there.
    pub fn store(&self) -> Option<u64> {
        self.up().ok().map(|up| up.met.store)
    }

    /// The store's number, as it is known: for clients it is the number of the cluster.
    pub fn cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        let (sender, receiver) = watch::channel(self.store().map(ClusterId));
        let link = self.clone();
        tokio::spawn(async move {
            while !sender.is_closed() {
                link.changed().await;
                if let Some(store) = link.store() {
                    sender.send_replace(Some(ClusterId(store)));
                }
            }
        });
        receiver
    }

    /// Waits for the connection to break or to come back.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn changed(&self) {
        let mut state = self.shared.state.subscribe();
        // An error: the link itself is gone, and with it whoever waits.
        if state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn redis(&self) -> &Redis {
        &self.shared.redis
    }

    /// The server, for an error text: the address in use, or what was configured.
    pub fn name(&self) -> String {
        match self.up() {
            Ok(up) => format!("Redis at {}", up.met.address),
            Err(_) => self.shared.redis.in_words(),
        }
    }

    /// Cancelled when the node stops.
    pub fn stopped(&self) -> &CancellationToken {
        &self.shared.stop
    }

    /// Calls a script.
    ///
    /// # Errors
    /// `Unavailable`, with effect `Unknown` where the answer is missing.
    ///
    /// # Cancel safety
    /// The script may run all the same.
    pub async fn run(&self, script: &Script, call: &Call) -> Result<Reply, Fault> {
        let up = self.up()?;
        let mut wire = up.met.wire.clone();
        self.call((&up, &up.broken), &mut wire, script, call).await.map(reply)
    }

    /// Calls a script at one run of the server: `wanted`, or whichever is there. Gives which one it
    /// was; a connection leads to the same run as long as it lives.
    ///
    /// # Errors
    /// As [`run`](Self::run). `Unavailable` with effect `None`: another run is there, or one of
    /// several servers.
    ///
    /// # Cancel safety
    /// As of [`run`](Self::run).
    pub async fn run_at(
        &self,
        wanted: Option<&str>,
        script: &Script,
        call: &Call,
    ) -> Result<(Reply, String), Fault> {
        let up = self.up()?;
        let run = &up.met.server.run;
        if run.is_empty() || wanted.is_some_and(|wanted| wanted != run) {
            let address = &up.met.address;
            let text = format!("Redis at {address} was restarted, or is another one than before");
            return Err(Fault::unavailable(text));
        }
        let mut wire = up.met.wire.clone();
        let value = self.call((&up, &up.broken), &mut wire, script, call).await?;
        Ok((reply(value), run.clone()))
    }

    /// Several servers share the keys.
    pub fn is_cluster(&self) -> bool {
        !self.shared.redis.cluster.is_empty()
    }

    async fn call(
        &self,
        up: Way<'_>,
        wire: &mut Wire,
        script: &Script,
        call: &Call,
    ) -> Result<Value, Fault> {
        let command = script.call(&call.keys, &call.args);
        match self.send(up, wire, &command).await {
            Err((_, true)) => {
                self.send(up, wire, &script.load()).await.map_err(|(fault, _)| fault)?;
                self.send(up, wire, &command).await.map_err(|(fault, _)| fault)
            }
            other => other.map_err(|(fault, _)| fault),
        }
    }

    /// Sends a command; with a failure comes whether the server has forgotten the script.
    async fn send(
        &self,
        (up, broken): Way<'_>,
        wire: &mut Wire,
        command: &Cmd,
    ) -> Result<Value, (Fault, bool)> {
        command.query_async::<Value>(wire).await.map_err(|error| {
            let judged = judge(&up.met.address, &error);
            if judged.broken {
                broken.cancel();
                // What the server itself says holds for all connections to it.
                if error.code().is_some() {
                    up.broken.cancel();
                }
            }
            (judged.fault, judged.no_script)
        })
    }

    /// What a write is worth that nothing more was asked for.
    pub fn plain(&self) -> Durability {
        let always = self.server().is_some_and(|server| server.always);
        if always { Durability::Fsync } else { Durability::Memory }
    }

    /// Whether a write can be made so safe, and needs a connection of its own for that.
    ///
    /// # Errors
    /// `InvalidArgument`: not by this store or server; the text says why. `Unavailable`: not now.
    pub fn can(&self, wanted: Durability) -> Result<bool, Fault> {
        let server = self.up()?.server.lock().clone();
        let alone = self.shared.redis.cluster.is_empty();
        let (major, minor, patch) = server.version;
        let why = match wanted {
            Durability::Memory => return Ok(false),
            Durability::Fsync if server.always => return Ok(false),
            Durability::Fsync | Durability::Replica if !alone => {
                "it cannot be waited for in a Redis Cluster".to_owned()
            }
            Durability::Fsync if server.has_waitaof() => return Ok(true),
            Durability::Fsync => format!(
                "this Redis ({major}.{minor}.{patch}) cannot say when a write is on its disk: it \
                 needs appendonly yes and appendfsync always, or version 7.2"
            ),
            Durability::Replica if server.replicas > 0 => return Ok(true),
            // After a failover the others follow the new master in a moment.
            Durability::Replica if !self.shared.redis.sentinels.is_empty() => {
                return Err(Fault::unavailable("no replica follows this Redis now"));
            }
            Durability::Replica => "this Redis has no replica".to_owned(),
            Durability::Quorum => "only STORE=raft has a quorum".to_owned(),
        };
        Err(Fault::new(Code::InvalidArgument, format!("durability {}: {why}", wanted.as_str())))
    }

    /// Calls a script and waits until what it wrote is so safe; gives what was reached.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_safely(
        &self,
        script: &Script,
        call: &Call,
        wanted: Durability,
    ) -> Result<(Reply, Durability), Fault> {
        let up = self.up()?;
        let Durable { connection, broken } = self.durable(&up).await?;
        let (way, mut wire) = ((&*up, &broken), Wire::One(connection));
        let value = self.call(way, &mut wire, script, call).await?;
        let mut wait = redis::cmd(if wanted == Durability::Fsync { "WAITAOF" } else { "WAIT" });
        wait.arg(1);
        if wanted == Durability::Fsync {
            wait.arg(0);
        }
        wait.arg(u64::try_from(CONFIRM.as_millis()).unwrap_or(1_000));
        let confirmed = match self.send(way, &mut wire, &wait).await {
            Ok(Value::Int(count)) => count > 0,
            Ok(Value::Array(counts)) => matches!(counts.first(), Some(Value::Int(1..))),
            // It is written; how safe that is, is not known.
            Ok(_) | Err(_) => false,
        };
        Ok((reply(value), if confirmed { wanted } else { self.plain() }))
    }

    async fn durable(&self, up: &Up) -> Result<Durable, Fault> {
        let mut open = up.durable.lock().await;
        if let Some(durable) = open.as_ref().filter(|durable| !durable.broken.is_cancelled()) {
            return Ok(durable.clone());
        }
        let not_now = |why| match why {
            CannotConnect::NotNow(fault) => fault,
            CannotConnect::Refused(why) => Fault::unavailable(why),
        };
        let (client, address) = connect::client(&self.shared.redis).await.map_err(not_now)?;
        let connection =
            connect::one(&client, &address, ANSWER + CONFIRM).await.map_err(not_now)?;
        let durable = Durable { connection, broken: CancellationToken::new() };
        *open = Some(durable.clone());
        Ok(durable)
    }

    /// Tells all nodes that a queue may be worth a look. Nothing rests on its arrival.
    pub fn tell(&self, queue: &str) {
        let Ok(up) = self.up() else { return };
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(super::wakes::CHANNEL).arg(queue);
        tokio::spawn(async move {
            let mut wire = up.met.wire.clone();
            drop(publish.query_async::<Value>(&mut wire).await);
        });
    }
}

/// Tells what was met, and what may lose data there.
fn report(met: &Met) {
    let (server, redis) = (&met.server, &met.address);
    let (major, minor, patch) = server.version;
    let version = format!("{major}.{minor}.{patch}");
    let (aof, replicas) = (server.aof, server.replicas);
    tracing::info!(%redis, version, aof, replicas, "connected to Redis");
    for found in server.warnings() {
        tracing::warn!(%redis, "Redis may lose data: {found}");
    }
}
