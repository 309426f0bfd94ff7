//! The nodes that this node knows, shared by all its parts.

use std::collections::BTreeSet;
use std::sync::Arc;

use dsync::preamble::{Hail, Plane};
use dsync_core::node::{Directory, DirectoryEntry, Role};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The directory with this process's clock.
#[derive(Debug)]
pub struct Nodes {
    started: Instant,
    directory: Mutex<Directory>,
}

impl Nodes {
    /// An empty directory.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), directory: Mutex::new(Directory::default()) })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes in what another node knows.
    pub fn merge(&self, entries: impl IntoIterator<Item = DirectoryEntry>) {
        let now = self.now_ms();
        let mut directory = self.directory.lock();
        for entry in entries {
            directory.merge(now, entry);
        }
    }

    /// Sets whom to keep, by name or address, and forgets others that are silent.
    pub fn keep(&self, names_and_addresses: BTreeSet<String>) {
        self.directory.lock().keep(self.now_ms(), names_and_addresses);
    }

    /// Every node known.
    pub fn list(&self) -> Vec<DirectoryEntry> {
        self.directory.lock().list(self.now_ms())
    }

    /// Where a node is.
    pub fn address_of(&self, node: &str) -> Option<String> {
        self.directory.lock().get(node).map(|entry| entry.address.clone())
    }

    /// Nodes of a role, the most recently heard first.
    pub fn of_role(&self, role: Role) -> Vec<DirectoryEntry> {
        self.directory.lock().of_role(role)
    }

    /// The node of that name or address.
    pub fn find(&self, target: &str) -> Option<DirectoryEntry> {
        self.list().into_iter().find(|e| e.node.as_str() == target || e.address == target)
    }
}

/// How this node announces itself when it dials.
#[derive(Debug, Clone)]
pub struct Hailer {
    node: String,
    version: String,
}

impl Hailer {
    /// Announces that node.
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// NODE_ID of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The line that begins a connection.
    pub fn hail(&self, plane: Plane) -> Hail {
        Hail { plane, id: self.node.clone(), version: self.version.clone(), auth: None }
    }
}
