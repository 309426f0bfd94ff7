use crate::config::Key;

#[test]
fn every_key_is_found_by_its_name() {
    for key in Key::ALL {
        assert_eq!(Key::find(key.name()), Some(key));
    }
    assert_eq!(Key::find("node_id"), None);
}

#[test]
fn a_misspelt_key_has_a_nearest_one() {
    for (name, nearest) in [
        ("NODE_PROT", Some(Key::NodePort)),
        ("NODEID", Some(Key::NodeId)),
        ("node_id", Some(Key::NodeId)),
        ("PEER-ADDRESSES", Some(Key::PeerAddresses)),
        ("PEER_ADDRESS", Some(Key::PeerAddresses)),
        ("REDIS_PASWORD", Some(Key::RedisPassword)),
        ("RAFT_ELECTION_MAX_M", Some(Key::RaftElectionMaxMs)),
        ("NDOE_TYPE", Some(Key::NodeType)),
        ("HOME", None),
        ("", None),
        ("TZ", None),
    ] {
        assert_eq!(Key::nearest(name), nearest, "{name}");
    }
    assert_eq!(Key::nearest(&"N".repeat(1 << 20)), None);
}
