//! Who the nodes are: roles, greetings and the directory that every greeting hands on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::{Code, Fault};
use crate::name::{NAME_MAX, Name};

mod directory;
mod stores;

pub use directory::{DIRECTORY_MAX, Directory, FORGET_MS};

/// Longest address in bytes: a host name, a colon and a port.
pub const ADDRESS_MAX: usize = 262;
/// Longest version of a program in bytes.
pub const VERSION_MAX: usize = 64;
/// Most members that a configuration names, and most voters of a cluster.
pub const MEMBERS_MAX: usize = 256;

/// What a process does. Append only: the number is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Locks.
    Lock,
    /// Job queues.
    Queue,
    /// Coherent cache.
    Cache,
}

impl Role {
    /// The name in configuration, JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Queue => "queue",
            Self::Cache => "cache",
        }
    }

    /// The role of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Lock, Self::Queue, Self::Cache].into_iter().find(|r| r.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A node's raft id: 32 bits of `xxh3(NODE_ID)`, then 32 that are drawn anew with each empty data
/// directory, so that a wiped node never votes under the id of its former self.
pub type RaftId = u64;

/// Identity of a cluster, made by the node that forms it; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a node says of itself when two nodes meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// NODE_ID.
    pub node: Name,
    /// What it does.
    pub role: Role,
    /// Where others reach it, `host:port`.
    pub address: String,
    /// Rises with every start of the process.
    pub incarnation: u64,
    /// Version of the program.
    pub version: String,
    /// Its raft id.
    pub raft_id: RaftId,
    /// Fingerprint of the sorted list of members that its configuration names (itself included).
    pub fingerprint: u64,
    /// The list itself, so that a difference can be named.
    pub members: Vec<String>,
    /// True when its log holds a membership.
    pub initialized: bool,
    /// The cluster it belongs to, once it does.
    pub cluster: Option<ClusterId>,
    /// Voters of that cluster as its log has them: name and raft id.
    pub voters: Vec<(String, RaftId)>,
    /// Every node it knows of.
    pub directory: Vec<DirectoryEntry>,
}

impl Hello {
    /// Checks that it is of a size that this node can keep and hand on. The entries of its directory
    /// are not looked at: [`Directory::merge`] leaves out the bad ones, so that one of them does not
    /// keep two nodes from meeting.
    ///
    /// # Errors
    /// `InvalidArgument` with the limit that it exceeds.
    pub fn check(&self) -> Result<(), Fault> {
        check_size("address", self.address.len(), ADDRESS_MAX)?;
        check_size("version", self.version.len(), VERSION_MAX)?;
        check_count("members", self.members.len(), MEMBERS_MAX)?;
        check_count("voters", self.voters.len(), MEMBERS_MAX)?;
        check_count("entries", self.directory.len(), DIRECTORY_MAX)?;
        for member in &self.members {
            check_size("member", member.len(), ADDRESS_MAX)?;
        }
        for (voter, _) in &self.voters {
            check_size("voter", voter.len(), NAME_MAX)?;
        }
        Ok(())
    }
}

fn check_size(what: &str, bytes: usize, limit: usize) -> Result<(), Fault> {
    if bytes <= limit {
        return Ok(());
    }
    let text = format!("a greeting's {what} is {bytes} bytes long, at most {limit} are taken");
    Err(Fault::new(Code::InvalidArgument, text))
}

fn check_count(what: &str, count: usize, limit: usize) -> Result<(), Fault> {
    if count <= limit {
        return Ok(());
    }
    let text = format!("a greeting has {count} {what}, at most {limit} are taken");
    Err(Fault::new(Code::InvalidArgument, text))
}

/// One node as others know it: a routing hint, no safety rests on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// NODE_ID.
    pub node: Name,
    /// What it does.
    pub role: Role,
    /// Where others reach it.
    pub address: String,
    /// Rises with every start of the process; the higher one is the news.
    pub incarnation: u64,
    /// Version of the program.
    pub version: String,
    /// Time since the node that tells this, or someone it heard of, spoke to it.
    pub heard_ms_ago: u64,
}

impl DirectoryEntry {
    /// True when it is of a size that this node can keep and hand on.
    pub fn fits(&self) -> bool {
        self.address.len() <= ADDRESS_MAX && self.version.len() <= VERSION_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            node: Name::parse("node", "a").unwrap(),
            role: Role::Lock,
            address: "a".repeat(ADDRESS_MAX),
            incarnation: 1,
            version: "1".repeat(VERSION_MAX),
            raft_id: 1,
            fingerprint: 1,
            members: vec!["m".repeat(ADDRESS_MAX); MEMBERS_MAX],
            initialized: false,
            cluster: None,
            voters: vec![("v".repeat(NAME_MAX), 1); MEMBERS_MAX],
            directory: Vec::new(),
        }
    }

    #[test]
    fn a_greeting_has_a_size() {
        assert_eq!(hello().check(), Ok(()));
        let entry = DirectoryEntry {
            node: hello().node,
            role: Role::Lock,
            address: "a:1".to_owned(),
            incarnation: 1,
            version: String::new(),
            heard_ms_ago: 0,
        };
        let too_large: [fn(&mut Hello); 6] = [
            |hello| hello.address.push('a'),
            |hello| hello.version.push('1'),
            |hello| hello.members.push("m".to_owned()),
            |hello| hello.members = vec!["m".repeat(ADDRESS_MAX + 1)],
            |hello| hello.voters.push(("v".to_owned(), 1)),
            |hello| hello.voters = vec![("v".repeat(NAME_MAX + 1), 1)],
        ];
        for (number, enlarge) in too_large.into_iter().enumerate() {
            let mut hello = hello();
            enlarge(&mut hello);
            assert_eq!(hello.check().unwrap_err().code, Code::InvalidArgument, "{number}");
        }
        let full = Hello { directory: vec![entry.clone(); DIRECTORY_MAX], ..hello() };
        assert_eq!(full.check(), Ok(()));
        let over = Hello { directory: vec![entry; DIRECTORY_MAX + 1], ..hello() };
        assert!(over.check().unwrap_err().message.contains("1025 entries, at most 1024"));
    }
}
