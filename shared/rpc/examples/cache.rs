//! Sets a key, reads it at another node, counts, and changes only what it has read:
//!
//! ```text
//! cargo run -p dsync --example cache -- 127.0.0.1:7001 127.0.0.1:7002
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::sync::Arc;
use std::time::Duration;

use dsync::cache::{CacheClient, CacheError, Read, Set};
use dsync::net::TcpNetwork;
use dsync::{Client, ClientConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), CacheError> {
    let mut args = std::env::args().skip(1);
    let here = cache_at(&args.next().unwrap_or_else(|| "127.0.0.1:7001".to_owned()));
    let there = cache_at(&args.next().unwrap_or_else(|| "127.0.0.1:7002".to_owned()));

    let set = Set::new("ada").ttl(Duration::from_secs(60)).tag("examples")?;
    let changed = here.set("example/user", &set).await?;
    println!("set at {}: version {}", changed.served_by, changed.version);
    // Whatever node is asked: the acknowledged value, or a newer one.
    let read = there.get("example/user").await?;
    tell(&read);
    tell(&there.get("example/user").await?);

    // Nobody else's change is overwritten.
    match here.set("example/user", Set::new("bob").if_version(read.version)).await {
        Ok(changed) => println!("changed: version {}", changed.version),
        Err(CacheError::Unmet { version, .. }) => println!("somebody was faster: {version:?}"),
        Err(other) => return Err(other),
    }
    tell(&there.get("example/user").await?);

    println!("visits: {}", count(&here, "example/visits").await?);
    println!("{} keys deleted", there.invalidate_prefix("example/").await?);
    Ok(())
}

/// Adds one. The answer may get lost: the same change under the same id is made once, as long as
/// nobody else counts here. Where others do, an unknown outcome stays unknown.
async fn count(cache: &CacheClient, key: &str) -> Result<i64, CacheError> {
    match cache.increment(key, 1).await {
        Err(CacheError::Unknown { request_id, fault }) => {
            println!("once more: {fault}");
            Ok(cache.clone().under(request_id).increment(key, 1).await?.number)
        }
        other => Ok(other?.number),
    }
}

fn tell(read: &Read) {
    let text = read.as_bytes().map(String::from_utf8_lossy);
    println!("{} has {text:?}, version {}, {:?}", read.served_by, read.version, read.source);
}

fn cache_at(endpoint: &str) -> CacheClient {
    let config = ClientConfig {
        endpoints: vec![endpoint.to_owned()],
        connect_timeout: Duration::from_secs(1),
        name: "example".to_owned(),
    };
    CacheClient::new(&Client::new(config, Arc::new(TcpNetwork)))
}
