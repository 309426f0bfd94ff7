//! Who forms the cluster: a pure decision over the greetings of the configured peers.
//!
//! Two nodes that initialize from their own lists form two clusters without an error. So:
//! - F1 a node with a membership in its log goes on with that; its lists count no more;
//! - F2 nobody initializes while any peer is silent, is initialized, plays another role, has the
//!   same name, or names other members: N of N agree, or nothing happens;
//! - F3 of N that agree the one with the smallest name initializes, with all N.
//!
//! Two nodes can therefore only both initialize if they have the same list, and then one of them
//! has the smaller name.

use std::collections::{BTreeMap, BTreeSet};

use crate::node::{Hello, RaftId, Role};

/// What one configured peer answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAnswer {
    /// Its address as configured.
    pub address: String,
    /// Its greeting, or why there is none.
    pub hello: Result<Hello, String>,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Ask again later; the text says what is missing.
    Wait(String),
    /// Initialize with this node and all peers.
    Initialize,
    /// A peer with a smaller name will; the text names it.
    LeaveTo(String),
    /// The cluster exists: wait to be let in. The text names a member of it.
    Join(String),
}

/// Fingerprint of a member list: the same for any order.
pub fn fingerprint(members: &[String]) -> u64 {
    let sorted: BTreeSet<&str> = members.iter().map(String::as_str).collect();
    let joined = sorted.into_iter().collect::<Vec<_>>().join("\n");
    xxhash_rust::xxh3::xxh3_64(joined.as_bytes())
}

/// Decides for a node that has no membership in its log yet.
pub fn decide(me: &Hello, peers: &[PeerAnswer]) -> Decision {
    if let Some(member) = initialized(me.role, peers) {
        return Decision::Join(member);
    }
    let obstacles: Vec<String> = peers.iter().filter_map(|peer| obstacle(me, peer)).collect();
    if !obstacles.is_empty() {
        let ready = peers.len() - obstacles.len();
        return Decision::Wait(format!(
            "{ready} of {} peers are ready to form the cluster; {}",
            peers.len(),
            obstacles.join("; ")
        ));
    }
    let hellos: Vec<&Hello> = peers.iter().filter_map(|p| p.hello.as_ref().ok()).collect();
    let names: BTreeSet<&str> = hellos.iter().map(|h| h.node.as_str()).collect();
    let hashes: BTreeSet<u64> = hellos.iter().map(|h| h.raft_id).chain([me.raft_id]).collect();
    if names.len() != hellos.len() {
        return Decision::Wait("two peers have one NODE_ID: give each its own".to_owned());
    }
    if hashes.len() != hellos.len() + 1 {
        return Decision::Wait(
            "two nodes have one raft id: rename one of them or empty its DATA_DIR".to_owned(),
        );
    }
    match names.first() {
        Some(first) if *first < me.node.as_str() => Decision::LeaveTo((*first).to_owned()),
        _ => Decision::Initialize,
    }
}

/// Members as the log has them: raft id to NODE_ID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Who votes.
    pub voters: BTreeMap<RaftId, String>,
    /// Who receives the log and does not vote.
    pub learners: BTreeMap<RaftId, String>,
}

/// Voters whose node answers under another raft id: its data is gone, and its new self takes the
/// old one's place. Gives the old id and the greeting of the new self.
///
/// A new self is empty, or a learner already: then a leader died between taking it in and letting
/// it vote, and the next leader goes on from there.
pub fn wiped<'a>(
    role: Role,
    members: &Members,
    peers: &'a [PeerAnswer],
) -> Vec<(RaftId, &'a Hello)> {
    let answered = peers.iter().filter_map(|peer| peer.hello.as_ref().ok());
    let new_self = |hello: &&Hello| {
        let half_way = members.learners.contains_key(&hello.raft_id);
        hello.role == role
            && !members.voters.contains_key(&hello.raft_id)
            && (!hello.initialized || half_way)
    };
    answered
        .filter(new_self)
        .filter_map(|hello| {
            let mut voters = members.voters.iter();
            voters.find(|(_, name)| *name == hello.node.as_str()).map(|(old, _)| (*old, hello))
        })
        .collect()
}

/// Learners of that name that are not `kept`: former selves of a node that was wiped again.
pub fn ghosts(members: &Members, node: &str, kept: RaftId) -> BTreeSet<RaftId> {
    let of_node = members.learners.iter().filter(|(id, name)| **id != kept && *name == node);
    of_node.map(|(id, _)| *id).collect()
}

/// Learners that are former selves of a node whose present self votes: a leader died before it
/// removed them.
pub fn left_over<'a>(
    members: &Members,
    answered: impl IntoIterator<Item = &'a Hello>,
) -> BTreeSet<RaftId> {
    let votes = |hello: &&Hello| members.voters.contains_key(&hello.raft_id);
    let voters = answered.into_iter().filter(votes);
    voters.flat_map(|hello| ghosts(members, hello.node.as_str(), hello.raft_id)).collect()
}

fn initialized(role: Role, peers: &[PeerAnswer]) -> Option<String> {
    peers
        .iter()
        .filter_map(|peer| peer.hello.as_ref().ok().map(|hello| (peer, hello)))
        .find(|(_, hello)| hello.initialized && hello.role == role)
        .map(|(peer, hello)| format!("{} at {}", hello.node, peer.address))
}

/// Why this peer keeps the cluster from being formed.
fn obstacle(me: &Hello, peer: &PeerAnswer) -> Option<String> {
    let at = &peer.address;
    let hello = match &peer.hello {
        Err(why) => return Some(format!("{at}: {why}")),
        Ok(hello) => hello,
    };
    let who = &hello.node;
    if hello.node == me.node {
        let itself = hello.incarnation == me.incarnation && hello.raft_id == me.raft_id;
        return Some(if itself {
            format!("{at} is this node itself: take it out of PEER_ADDRESSES")
        } else {
            format!("{at} has this node's own NODE_ID {who}: give each node its own")
        });
    }
    if hello.role != me.role {
        return Some(format!(
            "{who} at {at} is a {} node: PEER_ADDRESSES of a {} node names {} nodes only",
            hello.role, me.role, me.role
        ));
    }
    if hello.fingerprint != me.fingerprint {
        return Some(format!(
            "{who} at {at} names other members: it has [{}], this node has [{}]",
            sorted(&hello.members),
            sorted(&me.members)
        ));
    }
    None
}

fn sorted(members: &[String]) -> String {
    let set: BTreeSet<&str> = members.iter().map(String::as_str).collect();
    set.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn hello(node: &str, members: &[&str]) -> Hello {
        let members: Vec<String> = members.iter().map(|m| (*m).to_owned()).collect();
        Hello {
            node: Name::parse("node", node).unwrap(),
            role: Role::Lock,
            address: format!("{node}:1"),
            incarnation: 1,
            version: "0".into(),
            raft_id: xxhash_rust::xxh3::xxh3_64(node.as_bytes()),
            fingerprint: fingerprint(&members),
            members,
            initialized: false,
            cluster: None,
            voters: Vec::new(),
            directory: Vec::new(),
        }
    }

    const ALL: [&str; 3] = ["a:1", "b:1", "c:1"];

    fn answer(node: &str, hello: Hello) -> PeerAnswer {
        PeerAnswer { address: format!("{node}:1"), hello: Ok(hello) }
    }

    fn two_good() -> Vec<PeerAnswer> {
        vec![answer("b", hello("b", &ALL)), answer("c", hello("c", &["c:1", "a:1", "b:1"]))]
    }

    fn waits(peers: &[PeerAnswer]) -> String {
        let decision = decide(&hello("a", &ALL), peers);
        let Decision::Wait(why) = decision else { panic!("{decision:?}") };
        why
    }

    #[test]
    fn the_smallest_name_initializes_when_all_agree() {
        assert_eq!(decide(&hello("a", &ALL), &two_good()), Decision::Initialize);
        let peers = [answer("a", hello("a", &ALL)), answer("c", hello("c", &ALL))];
        assert_eq!(decide(&hello("b", &ALL), &peers), Decision::LeaveTo("a".into()));
    }

    #[test]
    fn a_node_without_peers_is_a_cluster_of_one() {
        assert_eq!(decide(&hello("a", &["a:1"]), &[]), Decision::Initialize);
    }

    #[test]
    fn one_silent_peer_is_enough_to_wait_and_is_named() {
        let mut peers = two_good();
        peers[1].hello = Err("connection refused".into());
        let why = waits(&peers);
        assert_eq!(why, "1 of 2 peers are ready to form the cluster; c:1: connection refused");
    }

    #[test]
    fn an_initialized_peer_means_join_whatever_else_is_wrong() {
        let mut peers = two_good();
        peers[0].hello = Err("timed out".into());
        peers[1].hello.as_mut().unwrap().initialized = true;
        assert_eq!(decide(&hello("a", &ALL), &peers), Decision::Join("c at c:1".into()));
    }

    #[test]
    fn another_list_another_role_the_same_name_and_oneself_are_told_apart() {
        let mut peers = two_good();
        peers[0] = answer("b", hello("b", &["b:1", "c:1", "d:1"]));
        assert!(waits(&peers).contains("it has [b:1, c:1, d:1], this node has [a:1, b:1, c:1]"));
        let mut queue = hello("b", &ALL);
        queue.role = Role::Queue;
        peers[0] = answer("b", queue);
        assert!(waits(&peers).contains("is a queue node"));
        let mut twin = hello("a", &ALL);
        twin.raft_id = 5;
        peers[0] = answer("b", twin);
        assert!(waits(&peers).contains("own NODE_ID a"));
        peers[0] = answer("b", hello("a", &ALL));
        assert!(waits(&peers).contains("this node itself"));
    }

    #[test]
    fn a_wiped_voter_is_found_empty_and_half_way_and_nobody_else_is() {
        let b = || hello("b", &ALL);
        let named = |pairs: &[(RaftId, &str)]| -> BTreeMap<RaftId, String> {
            pairs.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
        };
        let mut members =
            Members { voters: named(&[(1, "a"), (2, "b"), (3, "c")]), ..Members::default() };
        let found = |members: &Members, hello: Hello| {
            let peers = [answer("b", hello)];
            wiped(Role::Lock, members, &peers).into_iter().map(|(old, _)| old).collect::<Vec<_>>()
        };
        let of = |raft_id, initialized| Hello { raft_id, initialized, ..b() };
        assert_eq!(found(&members, of(20, false)), [2], "empty");
        assert_eq!(found(&members, of(20, true)), [0; 0], "of another cluster");
        assert_eq!(found(&members, of(2, true)), [0; 0], "itself");
        assert_eq!(found(&members, Hello { role: Role::Queue, ..of(20, false) }), [0; 0]);
        members.learners = named(&[(20, "b"), (21, "b"), (30, "c")]);
        assert_eq!(found(&members, of(20, true)), [2], "half way");
        assert_eq!(ghosts(&members, "b", 20), BTreeSet::from([21]));
        // Removed only once its present self votes.
        let mut now = hello("b", &ALL);
        now.raft_id = 20;
        assert_eq!(left_over(&members, [&now]), BTreeSet::new());
        members.voters = BTreeMap::from([(20, "b".to_owned())]);
        assert_eq!(left_over(&members, [&now]), BTreeSet::from([21]));
    }

    #[test]
    fn no_two_nodes_of_any_lists_both_initialize() {
        // Every way to give three of four nodes a list of two peers each.
        let names = ["a", "b", "c", "d"];
        for lists in 0..(1 << 12) {
            let list_of = |i: usize| -> BTreeSet<usize> {
                (0..4).filter(|j| *j == i || lists >> (i * 3 + j % 3) & 1 == 1).collect()
            };
            let greet = |i: usize| {
                let members: Vec<String> =
                    list_of(i).iter().map(|j| format!("{}:1", names[*j])).collect();
                hello(names[i], &members.iter().map(String::as_str).collect::<Vec<_>>())
            };
            let winners: Vec<usize> = (0..4)
                .filter(|&i| {
                    let peers: Vec<PeerAnswer> = list_of(i)
                        .into_iter()
                        .filter(|j| *j != i)
                        .map(|j| answer(names[j], greet(j)))
                        .collect();
                    decide(&greet(i), &peers) == Decision::Initialize
                })
                .collect();
            for pair in winners.windows(2) {
                assert!(list_of(pair[0]).is_disjoint(&list_of(pair[1])), "{lists:b} {winners:?}");
            }
        }
    }
}
