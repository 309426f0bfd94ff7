//! Takes a lock, works under it and gives it back:
//!
//! ```text
//! cargo run -p dsync --example lock -- 127.0.0.1:8001,127.0.0.1:8002 deploy/prod
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::sync::Arc;
use std::time::Duration;

use dsync::lock::{Acquire, FencingGuard, LockError, Session, SessionOptions};
use dsync::net::TcpNetwork;
use dsync::{Client, ClientConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), LockError> {
    let mut args = std::env::args().skip(1);
    let endpoints = args.next().unwrap_or_else(|| "127.0.0.1:8001,127.0.0.1:8002".to_owned());
    let lock = args.next().unwrap_or_else(|| "deploy/prod".to_owned());
    let config = ClientConfig {
        endpoints: endpoints.split(',').map(str::to_owned).collect(),
        connect_timeout: Duration::from_secs(1),
        name: "example".to_owned(),
    };
    let client = Client::new(config, Arc::new(TcpNetwork));

    let session = Session::open(&client, SessionOptions::new("example")).await?;
    let how = Acquire::exclusive().wait(Duration::from_secs(20));
    println!("waiting for {lock}");
    let guard = session.acquire(&lock, &how).await?;
    println!("{lock} is ours; our fencing token is {}", guard.token().0);

    // What the lock protects: it looks at the token before every write.
    let resource = FencingGuard::new();
    tokio::select! {
        () = work(&resource, guard.token()) => println!("done"),
        loss = guard.lost() => println!("stopped: {loss:?}"),
    }

    guard.release().await?;
    session.close().await
}

async fn work(resource: &FencingGuard, token: dsync::lock::Token) {
    for step in 1..=3 {
        match resource.check(token) {
            Ok(()) => println!("step {step}"),
            Err(stale) => return println!("{stale}"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
