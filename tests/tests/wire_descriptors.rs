//! A node that runs out of file descriptors pauses, and serves again. Alone in its binary: the
//! limit is the process's.

use std::time::Duration;

use dsync::NodeConnection;
use dsync::api::{AdminReply, AdminRequest, Head};
use dsync::preamble::Plane;
use dsync_tests::wire::{Raw, TestServer, hail, net};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn out_of_file_descriptors() {
    let server = TestServer::start().await;
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(80), maximum: before.maximum }).unwrap();
    // Both ends are in this process: connecting takes descriptors that accepting lacks.
    let mut held = Vec::new();
    loop {
        match Raw::silent(&server.address).await {
            Ok(raw) => held.push(raw),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(24), "{error}");
                break;
            }
        }
    }
    let failing = async {
        while server.counters.read().accept_errors < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, failing).await.unwrap();
    let (at, errors) = (tokio::time::Instant::now(), server.counters.read().accept_errors);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let more = u128::from(server.counters.read().accept_errors - errors);
    assert!(more <= at.elapsed().as_millis() / 50 + 1, "{more} tries: it spins");
    drop(held);
    let client = NodeConnection::open(&net(), &server.address, &hail(Plane::Client), LONG).await;
    let reply = client.unwrap().admin(Head::default(), AdminRequest::Ping, LONG).await.unwrap();
    assert_eq!(reply.result, Ok(AdminReply::Pong));
}
