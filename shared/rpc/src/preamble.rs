//! The text line each way that begins every connection. Pure: bytes in, values out.
//!
//! ```text
//! DSYNC/1 plane=client|peer|bulk|forward id=… ver=… [auth=…]
//! DSYNC/1 OK id=… role=… cluster=…|- proto=1..1 ver=…
//! DSYNC/1 ERR <code> <text>
//! ```
//! - A line ends in CRLF (a bare LF is accepted) and is at most [`LINE_MAX`] bytes with it.
//! - Fields are `key=value` in any order, split at spaces. In a value every byte that could be taken
//!   for structure (space, `%`, `=`, control characters) is written `%XX`; the rest is UTF-8 as is.
//! - Unknown keys are skipped, so that a later version may add some; a key given twice is refused.
//! - The number after the slash is the version of this line, `proto` the range of versions of what
//!   comes after it.

use std::fmt::{self, Write as _};

use dsync_core::node::{ClusterId, Role};

/// Longest line in bytes, its CRLF included.
pub const LINE_MAX: usize = 512;
/// How every line begins, up to the version.
pub const MAGIC: &str = "DSYNC/";
/// The version of the line that this program speaks.
pub const LINE_VERSION: u16 = 1;
/// The version of the protocol after the line that this program speaks.
pub const PROTO: u16 = 1;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plane {
    /// Requests of clients.
    Client,
    /// Raft between nodes: votes, heartbeats, entries.
    Peer,
    /// Raft's snapshots, so that they never stand before a heartbeat.
    Bulk,
    /// Requests of clients that a node hands on: as `Client`, with the limits of `Peer`.
    Forward,
}

impl Plane {
    /// The word in the line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Bulk => "bulk",
            Self::Forward => "forward",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Client, Self::Peer, Self::Bulk, Self::Forward]
            .into_iter()
            .find(|plane| plane.as_str() == text)
    }
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The dialing side's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hail {
    /// What the connection is for.
    pub plane: Plane,
    /// Who dials: a NODE_ID, or what a client calls itself.
    pub id: String,
    /// Version of the dialing program.
    pub version: String,
    /// Proof of who it is, where the cluster asks for one.
    pub auth: Option<String>,
}

/// The answering side's line when it agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// NODE_ID.
    pub id: String,
    /// What the node does.
    pub role: Role,
    /// The cluster it belongs to, once it does.
    pub cluster: Option<ClusterId>,
    /// Lowest and highest version of the protocol that it speaks.
    pub proto: (u16, u16),
    /// Version of the program.
    pub version: String,
}

/// The answering side's line when it does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Refusal {
    /// `malformed`, `version`, `busy`, `stopping`, `denied`; a word of a later version.
    pub code: String,
    /// For people.
    pub text: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.to_owned(), text: text.into() }
    }
}

/// Why a line could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin with `DSYNC/`.
    #[error("it does not begin with {MAGIC}")]
    Foreign,
    /// Another version of the line.
    #[error("it speaks version {0} of the greeting, this program {LINE_VERSION}")]
    Version(u16),
    /// It breaks a rule.
    #[error("{0}")]
    Rule(String),
}

fn rule(text: impl Into<String>) -> Malformed {
    Malformed::Rule(text.into())
}

impl Hail {
    /// The line, CRLF included.
    ///
    /// # Errors
    /// `Rule` when it would be longer than [`LINE_MAX`].
    pub fn encode(&self) -> Result<String, Malformed> {
        let mut line = format!("{MAGIC}{LINE_VERSION} plane={}", self.plane);
        field(&mut line, "id", &self.id);
        field(&mut line, "ver", &self.version);
        if let Some(auth) = &self.auth {
            field(&mut line, "auth", auth);
        }
        finish(line)
    }

    /// Reads a line, with or without its line end.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(line: &[u8]) -> Result<Self, Malformed> {
        let rest = after_magic(line)?;
        let mut plane = None;
        let [mut id, mut version, mut auth] = [const { None }; 3];
        for (key, value) in fields(rest)? {
            match key {
                "plane" => {
                    let known = Plane::parse(&value)
                        .ok_or_else(|| rule(format!("there is no plane {value:?}")))?;
                    once(&mut plane, known, key)?;
                }
                "id" => once(&mut id, value, key)?,
                "ver" => once(&mut version, value, key)?,
                "auth" => once(&mut auth, value, key)?,
                _ => {}
            }
        }
        let missing = |key: &str| rule(format!("it names no {key}"));
        Ok(Self {
            plane: plane.ok_or_else(|| missing("plane"))?,
            id: id.ok_or_else(|| missing("id"))?,
            version: version.ok_or_else(|| missing("ver"))?,
            auth,
        })
    }
}

impl Greeting {
    /// The line, CRLF included.
    ///
    /// # Errors
    /// `Rule` when it would be longer than [`LINE_MAX`].
    pub fn encode(&self) -> Result<String, Malformed> {
        let mut line = format!("{MAGIC}{LINE_VERSION} OK");
        field(&mut line, "id", &self.id);
        field(&mut line, "role", self.role.as_str());
        let cluster = self.cluster.map_or_else(|| "-".to_owned(), |c| c.to_string());
        field(&mut line, "cluster", &cluster);
        field(&mut line, "proto", &format!("{}..{}", self.proto.0, self.proto.1));
        field(&mut line, "ver", &self.version);
        finish(line)
    }

    fn parse(rest: &str) -> Result<Self, Malformed> {
        let [mut id, mut role, mut cluster, mut proto, mut version] = [const { None }; 5];
        for (key, value) in fields(rest)? {
            match key {
                "id" => once(&mut id, value, key)?,
                "role" => once(&mut role, value, key)?,
                "cluster" => once(&mut cluster, value, key)?,
                "proto" => once(&mut proto, value, key)?,
                "ver" => once(&mut version, value, key)?,
                _ => {}
            }
        }
        let need = |value: Option<String>, key: &str| {
            value.ok_or_else(|| rule(format!("it names no {key}")))
        };
        let (role, cluster) = (need(role, "role")?, need(cluster, "cluster")?);
        let proto = need(proto, "proto")?;
        let (low, high) = proto.split_once("..").ok_or_else(|| rule("its proto is no range"))?;
        let number = |text: &str| text.parse().map_err(|_| rule("its proto is no range"));
        Ok(Self {
            id: need(id, "id")?,
            role: Role::parse(&role).ok_or_else(|| rule(format!("there is no role {role:?}")))?,
            cluster: parse_cluster(&cluster)?,
            proto: (number(low)?, number(high)?),
            version: need(version, "ver")?,
        })
    }
}

/// Reads the answering side's line, with or without its line end.
///
/// # Errors
/// [`Malformed`] when it is no such line; the inner [`Refusal`] when it says no.
pub fn parse_reply(line: &[u8]) -> Result<Result<Greeting, Refusal>, Malformed> {
    let rest = after_magic(line)?;
    let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "OK" => Greeting::parse(rest).map(Ok),
        "ERR" => {
            let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
            Ok(Err(Refusal::new(code, text)))
        }
        _ => Err(rule("it says neither OK nor ERR")),
    }
}

impl Refusal {
    /// The line, CRLF included, shortened where it must be.
    pub fn encode(&self) -> String {
        let mut line = format!("{MAGIC}{LINE_VERSION} ERR {} ", self.code);
        for c in self.text.chars() {
            if line.len() + c.len_utf8() + 2 > LINE_MAX {
                break;
            }
            line.push(if c.is_control() { ' ' } else { c });
        }
        line.push_str("\r\n");
        line
    }
}

fn parse_cluster(text: &str) -> Result<Option<ClusterId>, Malformed> {
    if text == "-" {
        return Ok(None);
    }
    u64::from_str_radix(text, 16)
        .map(|id| Some(ClusterId(id)))
        .map_err(|_| rule(format!("its cluster {text:?} is no number")))
}

/// What follows `DSYNC/1 `, as text without the line end.
fn after_magic(line: &[u8]) -> Result<&str, Malformed> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_prefix(MAGIC.as_bytes()).ok_or(Malformed::Foreign)?;
    if line.len() > LINE_MAX {
        return Err(rule(format!("it is longer than {LINE_MAX} bytes")));
    }
    let text = std::str::from_utf8(line).map_err(|_| rule("it is not UTF-8"))?;
    let (version, rest) = text.split_once(' ').unwrap_or((text, ""));
    let version: u16 = version.parse().map_err(|_| rule("its version is no number"))?;
    if version != LINE_VERSION {
        return Err(Malformed::Version(version));
    }
    Ok(rest)
}

fn fields(text: &str) -> Result<Vec<(&str, String)>, Malformed> {
    text.split(' ')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) =
                part.split_once('=').ok_or_else(|| rule(format!("{part:?} is no key=value")))?;
            Ok((key, unescape(value)?))
        })
        .collect()
}

fn once<T>(slot: &mut Option<T>, value: T, key: &str) -> Result<(), Malformed> {
    if slot.replace(value).is_some() {
        return Err(rule(format!("it names {key} twice")));
    }
    Ok(())
}

fn field(line: &mut String, key: &str, value: &str) {
    line.push(' ');
    line.push_str(key);
    line.push('=');
    for c in value.chars() {
        if matches!(c, ' ' | '%' | '=') || c.is_control() {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing to a String cannot fail.
                write!(line, "%{byte:02X}").unwrap_or_default();
            }
        } else {
            line.push(c);
        }
    }
}

fn finish(mut line: String) -> Result<String, Malformed> {
    line.push_str("\r\n");
    if line.len() > LINE_MAX {
        return Err(rule(format!(
            "the greeting would be {} bytes long, at most {LINE_MAX} are allowed",
            line.len()
        )));
    }
    Ok(line)
}

fn unescape(value: &str) -> Result<String, Malformed> {
    if !value.contains('%') {
        return Ok(value.to_owned());
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(rule("a % without two hexadecimal digits"));
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| rule("an escaped value is not UTF-8"))
}

#[cfg(test)]
#[path = "preamble_tests.rs"]
mod tests;
