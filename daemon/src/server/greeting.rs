//! The greeting of one new connection.

use std::time::Duration;

use bytes::BytesMut;
use dsync::foreign::{self, Protocol};
use dsync::greet::{Line, read_line};
use dsync::net::Stream;
use dsync::preamble::{Greeting, Hail, Malformed, PROTO, Refusal};
use dsync_core::node::{ClusterId, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// What the node says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// NODE_ID.
    pub node: String,
    /// What it does.
    pub role: Role,
    /// Advertised address, put into answers that the server gives for a handler.
    pub address: String,
    /// Version of the program.
    pub version: String,
    /// The cluster, once it belongs to one.
    pub cluster: watch::Receiver<Option<ClusterId>>,
}

impl Identity {
    /// Checks that the greeting fits its line, which a very long NODE_ID may prevent.
    ///
    /// # Errors
    /// The rule that it breaks. A node that starts all the same greets nobody.
    pub fn check(&self) -> Result<(), Malformed> {
        self.greeting().encode().map(drop)
    }

    fn greeting(&self) -> Greeting {
        Greeting {
            id: self.node.clone(),
            role: self.role,
            cluster: *self.cluster.borrow(),
            proto: (PROTO, PROTO),
            version: self.version.clone(),
        }
    }
}

/// How a connection began.
pub(super) enum Beginning {
    /// Well; the caller's line, and what was read after it. It waits for [`welcome`].
    Hail(Hail, BytesMut),
    /// Not with our protocol. It has been answered.
    Foreign(Protocol),
    /// With a line that this node refuses. It has been answered.
    Refused(Refusal),
    /// It closed, or broke.
    Gone,
}

/// Reads the caller's line and answers what is none.
///
/// # Cancel safety
/// Drop the stream with it.
pub(super) async fn receive(stream: &mut Stream, node: &str) -> Beginning {
    let mut buffer = BytesMut::with_capacity(1_024);
    match read_line(stream, &mut buffer).await {
        Err(_) => Beginning::Gone,
        Ok(Line::Closed) if buffer.is_empty() => Beginning::Gone,
        Ok(Line::Closed | Line::Foreign) => {
            let protocol = foreign::client_protocol(&buffer);
            say_and_close(stream, &foreign::answer(protocol, node)).await;
            Beginning::Foreign(protocol)
        }
        Ok(Line::Ours(line)) => match Hail::parse(&line) {
            Ok(hail) => Beginning::Hail(hail, buffer),
            Err(error) => {
                let code =
                    if matches!(error, Malformed::Version(_)) { "version" } else { "malformed" };
                let refusal = Refusal::new(code, error.to_string());
                refuse(stream, &refusal).await;
                Beginning::Refused(refusal)
            }
        },
    }
}

/// Answers the caller's line.
pub(super) async fn welcome(stream: &mut Stream, identity: &Identity) -> std::io::Result<()> {
    let line = identity.greeting().encode().map_err(std::io::Error::other)?;
    stream.write_all(line.as_bytes()).await?;
    stream.flush().await
}

/// Refuses the caller in its line.
pub(super) async fn refuse(stream: &mut Stream, refusal: &Refusal) {
    say_and_close(stream, refusal.encode().as_bytes()).await;
}

/// Refuses a caller for whom there is no seat, and does not wait until it has read that: those who
/// are too many must not take the places of others that are still to greet.
pub(super) async fn turn_away(stream: &mut Stream, refusal: &Refusal) {
    let line = refusal.encode();
    let talk = async {
        stream.write_all(line.as_bytes()).await?;
        stream.shutdown().await
    };
    if !matches!(tokio::time::timeout(LAST_WORDS, talk).await, Ok(Ok(()))) {
        tracing::debug!("a refused caller did not take its answer");
    }
}

/// Longest time that a caller has to read a refusal.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Bytes of its that are read and thrown away meanwhile.
const LAST_BYTES: usize = 64 * 1024;

/// Says something, then closes so that it arrives: a socket closed with unread bytes resets the
/// connection, and the caller would lose what it was told.
async fn say_and_close(stream: &mut Stream, bytes: &[u8]) {
    let talk = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut sink = vec![0; 4_096];
        let mut left = LAST_BYTES;
        while left > 0 {
            match stream.read(&mut sink).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // Whether it was heard or not: the connection ends here.
    if !matches!(tokio::time::timeout(LAST_WORDS, talk).await, Ok(Ok(()))) {
        tracing::debug!("a refused caller did not wait for its answer");
    }
}
