//! How the node reaches Redis.

use super::address::{parse_host, parse_port};
use super::identity::addresses as address_list;
use super::tuning::{number, truth};
use super::values::Values;
use super::{Address, Key, Redis, Secret};

/// The name that Sentinel's own example gives to the master.
const SENTINEL_MASTER: &str = "mymaster";

pub(super) fn redis(values: &mut Values) -> Option<Redis> {
    const HOST_FIX: &str = "a host name or an IP address without a port, such as \
                            REDIS_HOST=localhost (REDIS_HOST=redis under Compose)";
    const PORT_FIX: &str = "REDIS_PORT=6379; if the environment has a service's URL there \
                            (Kubernetes sets one for a service named redis), unset it";
    const TLS_FIX: &str = "REDIS_TLS=true or REDIS_TLS=false";
    const UNSAFE_FIX: &str = "REDIS_ALLOW_UNSAFE=true or REDIS_ALLOW_UNSAFE=false";
    let host = values.read(Key::RedisHost, None, HOST_FIX, |text| parse_host(text).map(Some));
    let port = values.read(Key::RedisPort, 6379, PORT_FIX, parse_port);
    let db = values.read(Key::RedisDb, 0, "REDIS_DB=0", |text| {
        number(text, 0, u64::from(u16::MAX)).map(|db| u16::try_from(db).unwrap_or_default())
    });
    let tls = values.read(Key::RedisTls, false, TLS_FIX, truth);
    let username = values.get(Key::RedisUsername).map(|given| given.value);
    let password = values.get(Key::RedisPassword).map(|given| Secret::new(given.value));
    if let (Some(_), None) = (&username, &password) {
        let place = values.place(Key::RedisUsername);
        values.problem(&place, "REDIS_USERNAME is set but REDIS_PASSWORD is not", "set both");
    }
    values.settle(Key::RedisHost, host.clone().unwrap_or_default());
    values.settle(Key::RedisPort, port.to_string());
    values.settle(Key::RedisUsername, username.clone().unwrap_or_default());
    values.settle(Key::RedisPassword, password.as_ref().map_or("", |_| "****"));
    values.settle(Key::RedisDb, db.to_string());
    values.settle(Key::RedisTls, tls.to_string());
    let sentinels = addresses(values, Key::RedisSentinels);
    let cluster = addresses(values, Key::RedisCluster);
    let master = values.get(Key::RedisSentinelMaster).map(|given| given.value);
    let sentinel_master = master.unwrap_or_else(|| SENTINEL_MASTER.to_owned());
    values.settle(Key::RedisSentinelMaster, sentinel_master.clone());
    let allow_unsafe = values.read(Key::RedisAllowUnsafe, false, UNSAFE_FIX, truth);
    values.settle(Key::RedisAllowUnsafe, allow_unsafe.to_string());
    if !sentinels.is_empty() && !cluster.is_empty() {
        let place = values.place(Key::RedisCluster);
        let message = "REDIS_SENTINELS and REDIS_CLUSTER are both set";
        values.problem(&place, message, "keep the one that your Redis is");
    }
    if !cluster.is_empty() && db != 0 {
        let place = values.place(Key::RedisDb);
        values.problem(&place, format!("REDIS_DB={db}: a cluster has only 0"), "REDIS_DB=0");
    }
    if host.is_none() && sentinels.is_empty() && cluster.is_empty() {
        return None;
    }
    let host = host.unwrap_or_default();
    Some(Redis {
        host,
        port,
        username,
        password,
        db,
        tls,
        sentinels,
        sentinel_master,
        cluster,
        allow_unsafe,
    })
}

fn addresses(values: &mut Values, key: Key) -> Vec<String> {
    let list: Vec<String> = address_list(values, key).iter().map(Address::to_string).collect();
    values.settle(key, list.join(","));
    list
}
