//! Greets every configured node for ever: forms the cluster, fills the directory, tells who is
//! missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dsync::PeerConnection;
use dsync::api::PeerView;
use dsync::net::Net;
use dsync::preamble::Plane;
use dsync_core::config::NodeConfig;
use dsync_core::node::{DirectoryEntry, Hello};
use dsync_core::raft::formation::PeerAnswer;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::directory::{Hailer, Nodes};

/// Longest time for one greeting.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);

/// One configured node.
#[derive(Debug, Default)]
struct Slot {
    connection: Option<PeerConnection>,
    hello: Option<(Instant, Hello)>,
    error: Option<String>,
}

/// The configured nodes and what they said last. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Greeter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    net: Net,
    hailer: Hailer,
    peers: Vec<String>,
    others: Vec<String>,
    nodes: Arc<Nodes>,
    slots: Mutex<BTreeMap<String, Slot>>,
    /// Where members are that no list names: they have moved.
    moved: Mutex<BTreeSet<String>>,
}

impl Greeter {
    /// A greeter for the nodes that the configuration names.
    pub fn new(net: Net, hailer: Hailer, config: &NodeConfig, nodes: Arc<Nodes>) -> Self {
        let inner = Inner {
            net,
            hailer,
            peers: config.peers.clone(),
            others: config.cluster.clone(),
            nodes,
            slots: Mutex::new(BTreeMap::new()),
            moved: Mutex::new(BTreeSet::new()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Greets all configured nodes once, side by side, and the `members` that are elsewhere by now;
    /// gives the answers of the peers.
    ///
    /// # Cancel safety
    /// Cancel safe: what was heard so far is kept.
    pub async fn round(&self, me: &Hello, members: &BTreeSet<String>) -> Vec<PeerAnswer> {
        let moved = self.look_for(me, members);
        let all = self.inner.peers.iter().chain(&self.inner.others).chain(&moved);
        join_all(all.map(|address| self.greet(address, me))).await;
        self.answers()
    }

    /// Where the directory has members that answer at no configured address: they greeted this
    /// node from there, or another one that told.
    fn look_for(&self, me: &Hello, members: &BTreeSet<String>) -> BTreeSet<String> {
        let inner = &self.inner;
        let mut before = inner.moved.lock();
        let mut slots = inner.slots.lock();
        let listed = || inner.peers.iter().chain(&inner.others);
        let here: BTreeSet<&str> = listed()
            .filter_map(|address| slots.get(address).filter(|slot| slot.error.is_none()))
            .filter_map(|slot| slot.hello.as_ref().map(|(_, hello)| hello.node.as_str()))
            .chain([me.node.as_str()])
            .collect();
        let elsewhere = members.iter().filter(|name| !here.contains(name.as_str()));
        let known = elsewhere.filter_map(|name| inner.nodes.address_of(name));
        let moved: BTreeSet<String> = known.filter(|a| !listed().any(|one| one == a)).collect();
        for gone in before.difference(&moved) {
            slots.remove(gone);
        }
        before.clone_from(&moved);
        moved
    }

    async fn greet(&self, address: &str, me: &Hello) {
        let open = self.inner.slots.lock().get(address).and_then(|slot| slot.connection.clone());
        let answer = self.ask(address, open, me).await;
        let mut slots = self.inner.slots.lock();
        let slot = slots.entry(address.to_owned()).or_default();
        match answer {
            Ok((connection, hello)) => {
                self.heard(&hello);
                slot.connection = Some(connection);
                slot.hello = Some((Instant::now(), hello));
                slot.error = None;
            }
            Err(why) => {
                slot.connection = None;
                slot.error = Some(why);
            }
        }
    }

    async fn ask(
        &self,
        address: &str,
        open: Option<PeerConnection>,
        me: &Hello,
    ) -> Result<(PeerConnection, Hello), String> {
        let inner = &self.inner;
        let asked = async {
            let client = if let Some(client) = open.filter(|open| !open.is_closed()) {
                client
            } else {
                let hail = inner.hailer.hail(Plane::Peer);
                PeerConnection::open(&inner.net, address, &hail, HELLO_TIMEOUT)
                    .await
                    // Whoever shows it names the address.
                    .map_err(|error| error.detail)?
            };
            let hello = client
                .hello(me.clone(), HELLO_TIMEOUT)
                .await
                .map_err(|error| error.to_string())?
                .map_err(|fault| fault.message)?;
            hello.check().map_err(|fault| fault.message)?;
            Ok((client, hello))
        };
        tokio::time::timeout(HELLO_TIMEOUT, asked)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", HELLO_TIMEOUT.as_millis())))
    }

    /// Takes a greeting in that was checked, whoever began it.
    pub fn heard(&self, hello: &Hello) {
        let itself = DirectoryEntry {
            node: hello.node.clone(),
            role: hello.role,
            address: hello.address.clone(),
            incarnation: hello.incarnation,
            version: hello.version.clone(),
            heard_ms_ago: 0,
        };
        self.inner.nodes.merge(hello.directory.iter().cloned().chain([itself]));
    }

    /// What each peer said last, or why it said nothing.
    pub fn answers(&self) -> Vec<PeerAnswer> {
        let moved = self.inner.moved.lock();
        let slots = self.inner.slots.lock();
        let answer = |address: &String| {
            let slot = slots.get(address);
            let error = slot.and_then(|s| s.error.clone());
            let hello = match (error, slot.and_then(|s| s.hello.as_ref())) {
                (Some(why), _) => Err(why),
                (None, Some((_, hello))) => Ok(hello.clone()),
                (None, None) => Err("not asked yet".to_owned()),
            };
            PeerAnswer { address: address.clone(), hello }
        };
        self.inner.peers.iter().chain(&*moved).map(answer).collect()
    }

    /// The nodes that are greeted, as shown to an operator.
    pub fn view(&self) -> Vec<PeerView> {
        let moved = self.inner.moved.lock();
        let slots = self.inner.slots.lock();
        let view = |address: &String| {
            let slot = slots.get(address);
            let hello = slot.and_then(|s| s.hello.as_ref());
            PeerView {
                address: address.clone(),
                node: hello.map(|(_, h)| h.node.to_string()),
                last_hello_ms_ago: hello
                    .map(|(at, _)| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
                last_error: slot.and_then(|s| s.error.clone()),
            }
        };
        self.inner.peers.iter().chain(&self.inner.others).chain(&*moved).map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use dsync::net::{Network, TcpNetwork};
    use dsync_core::name::Name;
    use dsync_core::node::{RaftId, Role};
    use dsync_core::raft::formation::{self, Decision};

    use super::*;

    /// Both the log of a node that waits and the operator's view name the address themselves.
    #[tokio::test]
    async fn a_reason_does_not_repeat_the_address() {
        let listener = TcpNetwork.listen("127.0.0.1:0").await.unwrap();
        let free = listener.local_addr().unwrap().port();
        drop(listener);
        let config = crate::dev::lock_node(0, &[1, free], std::path::Path::new("unused"));
        let members = config.members();
        let me = Hello {
            node: Name::parse("node", &config.node_id).unwrap(),
            role: Role::Lock,
            address: config.advertise.clone(),
            incarnation: 1,
            version: String::new(),
            raft_id: RaftId::default(),
            fingerprint: formation::fingerprint(&members),
            members,
            initialized: false,
            cluster: None,
            voters: Vec::new(),
            directory: Vec::new(),
        };
        let hailer = Hailer::new(&config.node_id);
        let greeter = Greeter::new(Arc::new(TcpNetwork), hailer, &config, Nodes::new());
        let answers = greeter.round(&me, &BTreeSet::new()).await;
        let Decision::Wait(why) = formation::decide(&me, &answers) else { panic!("{answers:?}") };
        let reason = "connection refused: nobody listens there";
        assert!(why.ends_with(&format!("; 127.0.0.1:{free}: {reason}")), "{why}");
        assert_eq!(why.matches(&free.to_string()).count(), 1, "{why}");
        let seen: Vec<_> = greeter.view().into_iter().filter_map(|view| view.last_error).collect();
        assert_eq!(seen, [reason]);
    }
}
