//! Asks Sentinel who the master is.

use std::time::Duration;

use dsync_core::config::Redis;
use redis::{AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo as _};

use super::fault::said;

/// Time for one sentinel to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where the master is, as the first sentinel says that answers.
pub(super) async fn master(redis: &Redis) -> Result<(String, u16), String> {
    let mut failures = Vec::new();
    for sentinel in &redis.sentinels {
        match ask(sentinel, &redis.sentinel_master).await {
            Ok(found) => return Ok(found),
            Err(why) => failures.push(format!("{sentinel}: {why}")),
        }
    }
    Err(format!(
        "no sentinel knows the master {:?}: {}",
        redis.sentinel_master,
        failures.join("; ")
    ))
}

async fn ask(sentinel: &str, name: &str) -> Result<(String, u16), String> {
    let (host, port) = split(sentinel).ok_or("it is not host:port")?;
    let asked = async {
        let info = ConnectionAddr::Tcp(host, port).into_connection_info()?;
        let client = redis::Client::open(info)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(name);
        question.query_async::<Option<(String, u16)>>(&mut connection).await
    };
    let found = asked.await.map_err(|error| said(&error))?;
    found.ok_or_else(|| "it knows no master of that name".to_owned())
}

/// `host:port`, IPv6 in brackets.
pub(super) fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), port.parse().ok()?))
}
