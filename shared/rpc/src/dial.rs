//! Dialing a node and telling what answered.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::api::DialReport;
use crate::foreign::{Protocol, server_protocol};
use crate::greet::{Line, read_line};
use crate::net::{NameError, Net, Stream};
use crate::preamble::{Greeting, Hail, Malformed, PROTO, parse_reply};

/// How far a dial got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The address is no `host:port`.
    Parse,
    /// The host name does not resolve.
    Dns,
    /// Nobody listens there.
    Refused,
    /// No answer to the dial itself.
    Timeout,
    /// No way there.
    Unreachable,
    /// The connection was made and closed without an answer.
    Reset,
    /// The connection was made and nothing was answered.
    Silent,
    /// Redis answers there.
    Redis,
    /// An HTTP server answers there.
    Http,
    /// A TLS server answers there.
    Tls,
    /// Something else answers there.
    Foreign,
    /// A dsd whose protocol this program does not speak.
    Version,
    /// A dsd of another cluster than the one expected.
    WrongCluster,
    /// A dsd that takes no more connections for now, or is stopping.
    Busy,
    /// A dsd that refuses this caller.
    Denied,
    /// A dsd.
    Ok,
}

impl Class {
    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Silent => "silent",
            Self::Redis => "redis",
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Foreign => "foreign",
            Self::Version => "version",
            Self::WrongCluster => "wrong-cluster",
            Self::Busy => "busy",
            Self::Denied => "denied",
            Self::Ok => "ok",
        }
    }

    /// True when something answers there that will never be a node of this cluster.
    pub const fn is_wrong(self) -> bool {
        matches!(
            self,
            Self::Parse
                | Self::Redis
                | Self::Http
                | Self::Tls
                | Self::Foreign
                | Self::Version
                | Self::WrongCluster
                | Self::Denied
        )
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A dial that gave no connection. No request was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {detail}")]
pub struct ConnectError {
    /// What was dialed.
    pub address: String,
    /// How far it got.
    pub class: Class,
    /// In words.
    pub detail: String,
    /// NODE_ID of the dsd that answered, if one did.
    pub node: Option<String>,
    /// Time it took.
    pub elapsed: Duration,
}

impl ConnectError {
    /// The same as a report.
    pub fn report(&self) -> DialReport {
        DialReport {
            class: self.class.as_str().to_owned(),
            detail: self.detail.clone(),
            node: self.node.clone(),
            elapsed_ms: millis(self.elapsed),
        }
    }
}

/// Milliseconds of a duration, at most `u64::MAX`.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A limit in words: whole milliseconds, though it is what was left of a longer one.
pub(crate) fn whole_ms(time: Duration) -> String {
    format!("{} ms", (time + Duration::from_micros(500)).as_millis())
}

/// Dials `address`, greets, hangs up and tells how far that got. Never an error.
///
/// # Cancel safety
/// Cancel safe.
pub async fn check(net: &Net, address: &str, hail: &Hail, limit: Duration) -> DialReport {
    let started = Instant::now();
    match dial(net, address, hail, limit).await {
        Ok(Greeted { greeting, .. }) => DialReport {
            class: Class::Ok.as_str().to_owned(),
            detail: format!("{} node {}, version {}", greeting.role, greeting.id, greeting.version),
            node: Some(greeting.id),
            elapsed_ms: millis(started.elapsed()),
        },
        Err(error) => error.report(),
    }
}

/// A connection after its greeting.
pub(crate) struct Greeted {
    pub(crate) stream: Stream,
    /// Read already, after the line.
    pub(crate) leftover: BytesMut,
    pub(crate) greeting: Greeting,
}

/// What went wrong: class, words, node.
type Failed = (Class, String, Option<String>);

pub(crate) async fn dial(
    net: &Net,
    address: &str,
    hail: &Hail,
    limit: Duration,
) -> Result<Greeted, ConnectError> {
    let started = Instant::now();
    try_dial(net, address, hail, limit).await.map_err(|(class, detail, node)| ConnectError {
        address: address.to_owned(),
        class,
        detail,
        node,
        elapsed: started.elapsed(),
    })
}

async fn try_dial(
    net: &Net,
    address: &str,
    hail: &Hail,
    limit: Duration,
) -> Result<Greeted, Failed> {
    let started = Instant::now();
    let line = hail.encode().map_err(|error| (Class::Parse, error.to_string(), None))?;
    let mut stream = net.connect(address, limit).await.map_err(|error| dial_failure(&error))?;
    let left = limit.saturating_sub(started.elapsed());
    let mut buffer = BytesMut::with_capacity(1_024);
    let exchange = async {
        stream.write_all(line.as_bytes()).await?;
        stream.flush().await?;
        read_line(&mut stream, &mut buffer).await
    };
    let silent = || {
        let limit = whole_ms(limit);
        format!("something listens but did not answer within {limit}: not a dsd, or a stuck one")
    };
    match timeout(left, exchange).await {
        Err(_) => Err((Class::Silent, silent(), None)),
        Ok(Err(error)) => Err(dropped(&error.to_string())),
        Ok(Ok(Line::Closed)) => Err(dropped("end of stream")),
        Ok(Ok(Line::Foreign)) => Err(foreign(&buffer)),
        Ok(Ok(Line::Ours(line))) => {
            let greeting = judge(&line)?;
            Ok(Greeted { stream, leftover: buffer, greeting })
        }
    }
}

fn dial_failure(error: &io::Error) -> Failed {
    let by_name =
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<NameError>);
    #[expect(clippy::wildcard_enum_match_arm, reason = "io's kinds grow; the text tells the rest")]
    let class = match error.kind() {
        _ if by_name => Class::Dns,
        io::ErrorKind::InvalidInput => Class::Parse,
        io::ErrorKind::ConnectionRefused => Class::Refused,
        io::ErrorKind::TimedOut => Class::Timeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Class::Reset,
        _ => Class::Unreachable,
    };
    let detail = if class == Class::Refused {
        "connection refused: nobody listens there".to_owned()
    } else {
        error.to_string()
    };
    (class, detail, None)
}

fn dropped(why: &str) -> Failed {
    (Class::Reset, format!("the connection was made and dropped without an answer ({why})"), None)
}

fn foreign(bytes: &[u8]) -> Failed {
    let (class, name) = match server_protocol(bytes) {
        Protocol::Redis => (Class::Redis, "Redis"),
        Protocol::Http => (Class::Http, "an HTTP server"),
        Protocol::Tls => (Class::Tls, "a TLS server"),
        Protocol::Ssh => (Class::Foreign, "an SSH server"),
        Protocol::Other => (Class::Foreign, "something unknown"),
    };
    let begin = bytes.get(..bytes.len().min(48)).unwrap_or_default().escape_ascii();
    (class, format!("{name} answers there, not a dsd: \"{begin}\""), None)
}

fn judge(line: &[u8]) -> Result<Greeting, Failed> {
    let version = |node, text: String| (Class::Version, text, node);
    match parse_reply(line) {
        Ok(Ok(greeting)) => {
            let (low, high) = greeting.proto;
            if (low..=high).contains(&PROTO) {
                return Ok(greeting);
            }
            let relation = if high < PROTO { "too old" } else { "too new" };
            let text = format!(
                "dsd {} (version {}) is {relation}: it speaks protocol {low} to {high}, this program {PROTO}",
                greeting.id, greeting.version
            );
            Err(version(Some(greeting.id), text))
        }
        Ok(Err(refusal)) => {
            let class = match refusal.code.as_str() {
                "version" => Class::Version,
                "busy" | "stopping" => Class::Busy,
                "denied" => Class::Denied,
                _ => Class::Foreign,
            };
            Err((class, format!("the dsd there refuses: {refusal}"), None))
        }
        Err(Malformed::Version(spoken)) => {
            Err(version(None, Malformed::Version(spoken).to_string()))
        }
        Err(error) => Err((Class::Foreign, format!("its greeting makes no sense: {error}"), None)),
    }
}
