//! Many connections that have greeted and then say nothing.

use std::time::Duration;

use super::Raw;

/// Opens connections until there are `most` or the node has no seat left; those that it took.
///
/// # Panics
/// When the node answers with anything but a greeting or `busy`.
pub async fn crowd(address: &str, most: usize) -> Vec<Raw> {
    let mut seated = Vec::new();
    while seated.len() < most {
        match newcomer(address).await {
            Some(raw) => seated.push(raw),
            None => break,
        }
    }
    seated
}

/// One more connection, unless the node says that it is full.
async fn newcomer(address: &str) -> Option<Raw> {
    let mut raw = Raw::silent(address).await.expect("connect");
    raw.send(b"DSYNC/1 plane=client id=crowd ver=0.1.0\r\n").await.expect("send");
    let line = tokio::time::timeout(Duration::from_secs(60), raw.line()).await;
    let line = line.expect("an answer within a minute").expect("an answer");
    if line.starts_with("DSYNC/1 OK ") {
        return Some(raw);
    }
    assert!(line.starts_with("DSYNC/1 ERR busy "), "{line}");
    None
}
