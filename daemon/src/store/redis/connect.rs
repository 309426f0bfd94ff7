//! Connects to Redis and looks at whom it met.

use std::fmt;
use std::time::Duration;

use dsync_core::Fault;
use dsync_core::config::Redis;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::io::tcp::{TcpSettings, socket2};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    Pipeline, RedisConnectionInfo, RedisFuture, RedisResult, Value,
};

use super::fault::{denied, judge, said};
use super::sentinel;
use super::server::Server;

/// Time for a connection to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// Time for an answer.
pub(super) const ANSWER: Duration = Duration::from_secs(2);
/// Time without an acknowledgement after which the system gives a connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// Names the store: two servers are two stores.
const STORE_KEY: &str = "dsync:store";
/// How the keys are laid out.
const LAYOUT_KEY: &str = "dsync:layout";
/// The only one there is so far: 256 partitions.
const LAYOUT: &str = "1/256";

/// Why Redis cannot be used now.
#[derive(Debug, Clone)]
pub enum CannotConnect {
    /// It may be there in a moment.
    NotNow(Fault),
    /// It is there, and data would not be safe in it, or it is none of ours.
    Refused(String),
}

impl fmt::Display for CannotConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNow(fault) => write!(f, "{fault}"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

/// One server, or a cluster of them.
#[derive(Clone)]
pub(super) enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(one) => one.req_packed_command(cmd),
            Self::Cluster(all) => all.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(one) => one.req_packed_commands(cmd, offset, count),
            Self::Cluster(all) => all.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(one) => one.get_db(),
            Self::Cluster(all) => all.get_db(),
        }
    }
}

/// A connection that was looked at.
#[derive(Clone)]
pub(super) struct Met {
    pub(super) wire: Wire,
    /// Where it leads, in words.
    pub(super) address: String,
    pub(super) server: Server,
    /// Number of the store.
    pub(super) store: u64,
}

/// Where the server is: its address as it is dialed.
pub(super) async fn find(redis: &Redis) -> Result<(String, u16), CannotConnect> {
    if redis.sentinels.is_empty() {
        return Ok((redis.host.clone(), redis.port));
    }
    sentinel::master(redis).await.map_err(|why| CannotConnect::NotNow(Fault::unavailable(why)))
}

pub(super) fn settings(redis: &Redis) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default().set_db(redis.db.into());
    if let Some(username) = &redis.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &redis.password {
        settings = settings.set_password(password.expose());
    }
    settings
}

fn tcp() -> TcpSettings {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(2));
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(USER_TIMEOUT)
}

/// A client of the server that is in charge now, and its address in words.
pub(super) async fn client(redis: &Redis) -> Result<(Client, String), CannotConnect> {
    let (host, port) = find(redis).await?;
    let address = format!("{host}:{port}");
    let open = || -> RedisResult<Client> {
        let info: ConnectionInfo = ConnectionAddr::Tcp(host, port).into_connection_info()?;
        Client::open(info.set_redis_settings(settings(redis)).set_tcp_settings(tcp()))
    };
    let client = open().map_err(|error| not_now(&address, &error))?;
    Ok((client, address))
}

/// A connection to one server, whose answers may take that long.
pub(super) async fn one(
    client: &Client,
    address: &str,
    answer: Duration,
) -> Result<MultiplexedConnection, CannotConnect> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(answer));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await;
    connection.map_err(|error| not_now(address, &error))
}

/// Nothing was asked yet: whatever it is, it has no effect.
fn not_now(address: &str, error: &redis::RedisError) -> CannotConnect {
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        return CannotConnect::NotNow(denied(address, &said(error)));
    }
    let mut fault = judge(address, error).fault;
    if fault.code == dsync_core::Code::Unavailable && fault.effect != dsync_core::Effect::None {
        fault =
            Fault::unavailable(format!("Redis at {address} cannot be reached: {}", said(error)));
    }
    fault.effect = dsync_core::Effect::None;
    if fault.hint.is_none() {
        fault.hint = Some(
            "is redis-server running there? check REDIS_HOST and REDIS_PORT (under Compose \
             REDIS_HOST=redis)"
                .to_owned(),
        );
    }
    CannotConnect::NotNow(fault)
}

/// Connects, and refuses a server that is not safe.
pub(super) async fn connect(redis: &Redis, seed: u64) -> Result<Met, CannotConnect> {
    if redis.tls {
        return Err(CannotConnect::Refused(
            "REDIS_TLS=true: encrypted connections to Redis are not in this build".to_owned(),
        ));
    }
    let (mut wire, address) = if redis.cluster.is_empty() {
        let (client, address) = client(redis).await?;
        (Wire::One(one(&client, &address, ANSWER).await?), address)
    } else {
        let address = format!("cluster {}", redis.cluster.join(","));
        (Wire::Cluster(cluster(redis, &address).await?), address)
    };
    let server = look(&mut wire).await.map_err(|error| not_now(&address, &error))?;
    if !server.master {
        return Err(CannotConnect::NotNow(Fault::unavailable(format!(
            "Redis at {address} is a replica: it takes no writes"
        ))));
    }
    let found = server.unsafe_settings();
    if !found.is_empty() && !redis.allow_unsafe {
        return Err(CannotConnect::Refused(format!(
            "Redis at {address} is not safe for data: {}; or set REDIS_ALLOW_UNSAFE=true",
            found.join("; ")
        )));
    }
    let store = agree(&mut wire, &address, seed).await?;
    Ok(Met { wire, address, server, store })
}

async fn cluster(redis: &Redis, address: &str) -> Result<ClusterConnection, CannotConnect> {
    let seeds = redis.cluster.iter().filter_map(|seed| sentinel::split(seed));
    let infos: RedisResult<Vec<ConnectionInfo>> =
        seeds.map(|(host, port)| ConnectionAddr::Tcp(host, port).into_connection_info()).collect();
    let open = async {
        let mut builder = ClusterClient::builder(infos?)
            .connection_timeout(CONNECT)
            .response_timeout(ANSWER)
            .retries(3)
            .tcp_settings(tcp());
        if let Some(username) = &redis.username {
            builder = builder.username(username);
        }
        if let Some(password) = &redis.password {
            builder = builder.password(password.expose());
        }
        builder.build()?.get_async_connection().await
    };
    let opened = tokio::time::timeout(CONNECT * 3, open).await;
    let opened = opened.map_err(|_| {
        CannotConnect::NotNow(Fault::unavailable(format!("Redis {address} did not answer in time")))
    })?;
    opened.map_err(|error| not_now(address, &error))
}

/// What the server says of itself; of several, what holds for all.
pub(super) async fn look(wire: &mut Wire) -> RedisResult<Server> {
    each(wire).await.map(weakest)
}

/// What each server says of itself.
async fn each(wire: &mut Wire) -> RedisResult<Vec<Server>> {
    let mut info = redis::cmd("INFO");
    let mut fsync = redis::cmd("CONFIG");
    fsync.arg("GET").arg("appendfsync");
    match wire {
        Wire::One(one) => {
            let info: String = info.query_async(one).await?;
            // Hosted servers may not let it be read: then the policy is not known.
            let pair: Vec<String> = fsync.query_async(one).await.unwrap_or_default();
            Ok(vec![Server::read(&info, pair.get(1).map(String::as_str))])
        }
        Wire::Cluster(all) => {
            info.arg("everything");
            let to_all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
            let infos = all.route_command(info, to_all.clone()).await?;
            let policies = all.route_command(fsync, to_all).await.unwrap_or(Value::Nil);
            let always = texts(&policies).iter().filter(|text| *text == "always").count();
            let infos: Vec<String> =
                texts(&infos).into_iter().filter(|text| text.contains("redis_version")).collect();
            let policy = (always == infos.len()).then_some("always");
            Ok(infos.iter().map(|info| Server::read(info, policy)).collect())
        }
    }
}

/// All texts in a value, however deep.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else there is holds no text")]
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Map(pairs) => pairs.iter().flat_map(|(_, value)| texts(value)).collect(),
        _ => Vec::new(),
    }
}

/// Of several servers, what holds for all.
fn weakest(servers: Vec<Server>) -> Server {
    let all = servers.into_iter().reduce(|a, b| Server {
        version: a.version.min(b.version),
        master: a.master && b.master,
        eviction: if a.eviction == "noeviction" { b.eviction } else { a.eviction },
        aof: a.aof && b.aof,
        always: a.always && b.always,
        replicas: a.replicas.min(b.replicas),
        run: String::new(),
    });
    all.unwrap_or_default()
}

/// The store's number and layout, which the first node writes.
async fn agree(wire: &mut Wire, address: &str, seed: u64) -> Result<u64, CannotConnect> {
    let number = (seed | 1).to_string();
    let mut kept = Vec::new();
    for (key, value) in [(STORE_KEY, number.as_str()), (LAYOUT_KEY, LAYOUT)] {
        let written = async {
            let mut get = redis::cmd("GET");
            get.arg(key);
            // A full Redis takes no SET, not even one that does nothing.
            if let Some(there) = get.query_async::<Option<String>>(&mut *wire).await? {
                return Ok(there);
            }
            let mut set = redis::cmd("SET");
            set.arg(key).arg(value).arg("NX");
            set.query_async::<Value>(&mut *wire).await?;
            get.query_async::<String>(&mut *wire).await
        };
        kept.push(written.await.map_err(|error| not_now(address, &error))?);
    }
    let [store, layout] = kept.as_slice() else { return Ok(0) };
    if layout != LAYOUT {
        return Err(CannotConnect::Refused(format!(
            "the data in Redis at {address} are laid out as {layout:?}, this program knows \
             {LAYOUT:?}: another version wrote them"
        )));
    }
    store.parse().map_err(|_| {
        CannotConnect::Refused(format!(
            "{STORE_KEY} in Redis at {address} is {store:?}: something else wrote it"
        ))
    })
}
