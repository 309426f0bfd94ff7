//! Nodes that shall serve one thing and keep it in two places. Pure.

use super::Hello;

impl Hello {
    /// What is wrong between this node and another of its role, in words, when they keep their state
    /// in different stores: what is put in at one is not found at the other. `mine` is this node's
    /// store, in words. `None` while one of them has reached no store.
    pub fn other_store(&self, peer: &Self, mine: &str) -> Option<String> {
        let (ours, theirs) = (self.cluster?, peer.cluster?);
        if ours == theirs || self.role != peer.role {
            return None;
        }
        Some(format!(
            "{} at {} uses another store, {theirs}; this node's is {ours} ({mine}): jobs put in at one \
             are not found at the other; give both the same REDIS_HOST, REDIS_PORT, REDIS_DB and STORE",
            peer.node, peer.address
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClusterId, Role};
    use super::*;
    use crate::name::Name;

    fn hello(node: &str, role: Role, cluster: Option<u64>) -> Hello {
        Hello {
            node: Name::parse("node", node).unwrap(),
            role,
            address: format!("{node}:9001"),
            incarnation: 1,
            version: String::new(),
            raft_id: 0,
            fingerprint: 0,
            members: Vec::new(),
            initialized: true,
            cluster: cluster.map(ClusterId),
            voters: Vec::new(),
            directory: Vec::new(),
        }
    }

    #[test]
    fn two_stores_are_told_with_both_names() {
        let me = hello("a", Role::Queue, Some(0x11));
        let said = me.other_store(&hello("b", Role::Queue, Some(0x22)), "Redis at r:1").unwrap();
        for part in ["b at b:9001", "0000000000000022", "0000000000000011 (Redis at r:1)"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn nothing_is_told_of_one_store_of_none_and_of_other_roles() {
        let me = hello("a", Role::Queue, Some(1));
        for (role, cluster) in [(Role::Queue, Some(1)), (Role::Queue, None), (Role::Lock, Some(2))]
        {
            assert_eq!(me.other_store(&hello("b", role, cluster), ""), None);
        }
        let nowhere = hello("a", Role::Queue, None);
        assert_eq!(nowhere.other_store(&hello("b", Role::Queue, Some(2)), ""), None);
    }
}
