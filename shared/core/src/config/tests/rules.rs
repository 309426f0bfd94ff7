use super::{node, problems, read, setting, warnings};
use crate::config::{Key, LogFormat, Redis, Secret, Store, Timers};
use crate::node::Role;

#[test]
fn six_keys_make_a_node() {
    let resolved = read(
        "NODE_ID=lock-node-1\nNODE_TYPE=lock\nNODE_HOST=10.0.0.1\nNODE_PORT=8001\n\
         PEER_ADDRESSES=http://10.0.0.2:8001, http://10.0.0.3:8001/\n\
         REDIS_HOST=localhost\nREDIS_PORT=6380\n",
    )
    .unwrap();
    let config = &resolved.config;
    assert_eq!((config.node_id.as_str(), config.role), ("lock-node-1", Role::Lock));
    assert_eq!(config.listen(), "10.0.0.1:8001");
    assert_eq!(config.advertise, "10.0.0.1:8001");
    assert_eq!(config.peers, ["10.0.0.2:8001", "10.0.0.3:8001"]);
    assert_eq!(config.cluster, Vec::<String>::new());
    assert_eq!(config.data_dir, "data/lock/lock-node-1");
    assert_eq!(config.store, Store::Raft);
    assert_eq!(config.redis.as_ref().map(|r| (r.host.as_str(), r.port)), Some(("localhost", 6380)));
    assert_eq!(config.timers, Timers::default());
    assert_eq!((config.lock_delay_ms, config.lock_wound_grace_ms), (1_000, 2_000));
    assert_eq!((config.log_format, config.log_level.as_str()), (LogFormat::Text, "info"));
    assert_eq!(config.metrics_addr, None);
    assert_eq!(warnings(&resolved), Vec::<String>::new());
}

/// One value of one key, in a node that is good otherwise.
#[test]
fn bad_values_are_named_with_key_line_and_value() {
    for (line, why) in [
        ("NODE_HOST=a:8001", "NODE_HOST: \"a:8001\" is not a host name: it contains ':'"),
        ("NODE_HOST=http://a", "NODE_HOST: \"http://a\" is not a host name"),
        ("NODE_HOST=${HOST}", "nothing is substituted for a $"),
        ("NODE_ADVERTISE=a:0", "NODE_ADVERTISE: \"a:0\": \"0\" is not a port"),
        ("NODE_ADVERTISE=0.0.0.0", "NODE_ADVERTISE: nobody can dial \"0.0.0.0\""),
        ("DATA_DIR=~/dsync", "DATA_DIR: \"~/dsync\": nothing is substituted"),
        ("STORE=disk", "STORE: \"disk\" is not a store"),
        ("STORE=redis", "STORE=redis: locks are kept in Raft only"),
        ("REDIS_HOST=redis:6379", "REDIS_HOST: \"redis:6379\" is not a host name"),
        ("REDIS_HOST=redis://:hunter2@redis:6379", "REDIS_HOST: \"…@redis:6379\""),
        ("REDIS_PORT=tcp://10.0.0.1:6379", "REDIS_PORT: \"tcp://10.0.0.1:6379\" is not a port"),
        ("REDIS_DB=-1", "REDIS_DB: \"-1\" is not a whole number from 0 to 65535"),
        ("REDIS_ALLOW_UNSAFE=perhaps", "REDIS_ALLOW_UNSAFE: \"perhaps\" is neither true nor false"),
        ("REDIS_SENTINELS=s1", "REDIS_SENTINELS: "),
        ("REDIS_USERNAME=u", "REDIS_USERNAME is set but REDIS_PASSWORD is not"),
        ("RAFT_HEARTBEAT_MS=0", "\"0\" is not a whole number from 10 to 60000"),
        ("RAFT_HEARTBEAT_MS=1e3", "\"1e3\" is not a whole number"),
        ("RAFT_HEARTBEAT_MS=200", "RAFT_ELECTION_MIN_MS=300 is less than twice"),
        ("RAFT_ELECTION_MIN_MS=600", "RAFT_ELECTION_MAX_MS=600 is not above"),
        ("RAFT_ELECTION_MAX_MS=300", "RAFT_ELECTION_MAX_MS=300 is not above"),
        ("LOCK_DELAY_MS=60001", "\"60001\" is not a whole number from 0 to 60000"),
        ("LOCK_DELAY_MS=1s", "LOCK_DELAY_MS: \"1s\" is not a whole number"),
        ("LOCK_DELAY_MS=1000000000000000000000", "is not a whole number"),
        ("LOCK_WOUND_GRACE_MS=NaN", "LOCK_WOUND_GRACE_MS: \"NaN\""),
        ("LOG_FORMAT=xml", "LOG_FORMAT: \"xml\" is not a log format"),
        ("LOG_LEVEL=loud", "LOG_LEVEL: \"loud\" is not a log level"),
        ("LOG_LEVEL=info,dsd=", "LOG_LEVEL: \"dsd=\" is not a log level"),
        ("METRICS_ADDR=9100", "METRICS_ADDR: \"9100\" has no port"),
        ("METRICS_ADDR=127.0.0.1:8001", "is the port of the node itself"),
        ("METRICS_ADDR=0.0.0.0:8001", "is the port of the node itself"),
        ("REDIS_PASSWORD=a\u{7}b", "REDIS_PASSWORD contains the control character '\\u{7}'"),
    ] {
        let refused = node(line).unwrap_err();
        let found = problems(&refused);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("node.env:5: ") && found[0].contains(why), "{found:?}");
        assert!(!refused.problems[0].fix.is_empty(), "{line}");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}

#[test]
fn bad_identities_are_named() {
    let rest = "NODE_TYPE=lock\nNODE_PORT=8001\n";
    let long = "x".repeat(65);
    for bad in ["..", ".a", "a/b", "a b", "a\tb", "é", "a:1", long.as_str(), "-x", "${HOSTNAME}"] {
        let found = problems(&read(&format!("NODE_ID={bad}\n{rest}")).unwrap_err());
        assert_eq!(found.len(), 1, "{bad}: {found:?}");
        assert!(found[0].starts_with("node.env:1: "), "{found:?}");
    }
    for good in ["1", "node-lock-1", "node_lock_1", "4f2a.local", &"x".repeat(64)] {
        assert_eq!(read(&format!("NODE_ID={good}\n{rest}")).unwrap().config.node_id, good);
    }
    for port in ["0", "65536", "http", "80 01", "8001.0"] {
        let text = format!("NODE_ID=a\nNODE_TYPE=lock\nNODE_PORT={port}");
        let found = problems(&read(&text).unwrap_err());
        assert_eq!(
            found,
            [format!("node.env:3: NODE_PORT: \"{port}\" is not a port, a number from 1 to 65535")]
        );
    }
    for role in ["locks", "raft", "1"] {
        let text = format!("NODE_ID=a\nNODE_PORT=1\nNODE_TYPE={role}");
        let found = problems(&read(&text).unwrap_err());
        assert_eq!(found, [format!("node.env:3: NODE_TYPE: \"{role}\" is not a node type")]);
    }
}

#[test]
fn what_has_no_default_must_be_set() {
    let found = problems(&read("NODE_ID=\n").unwrap_err());
    assert_eq!(
        found,
        [
            "not set: NODE_TYPE says what the node does and has no default",
            "node.env:1: NODE_ID names the node and has no default",
            "not set: NODE_PORT is where the node listens and has no default",
        ]
    );
}

#[test]
fn a_node_among_its_own_peers_is_left_out() {
    for (host, own) in [
        ("127.0.0.1", "127.0.0.1:8001"),
        ("127.0.0.1", "http://localhost:8001/"),
        ("localhost", "[::1]:8001"),
        ("0.0.0.0", "localhost:8001"),
        ("0.0.0.0", "box:8001"),
        ("::", "127.0.0.1:8001"),
        ("10.0.0.7", "10.0.0.7:8001"),
    ] {
        let resolved = read(&format!(
            "NODE_ID=a\nNODE_TYPE=lock\nNODE_HOST={host}\nNODE_PORT=8001\n\
             PEER_ADDRESSES={own},other:8001\n"
        ))
        .unwrap();
        assert_eq!(resolved.config.peers, ["other:8001"], "{host} {own}");
        let found = warnings(&resolved);
        let named = found.iter().any(|w| w.contains("PEER_ADDRESSES names this node itself"));
        assert!(named, "{host} {own}: {found:?}");
    }
}

#[test]
fn where_a_node_is_reached() {
    let at = |lines: &str| {
        let text =
            format!("NODE_ID=a\nNODE_TYPE=lock\nNODE_PORT=8001\nPEER_ADDRESSES=p:1\n{lines}");
        read(&text).unwrap()
    };
    assert_eq!(at("").config.advertise, "127.0.0.1:8001");
    assert_eq!(at("NODE_HOST=::1").config.advertise, "[::1]:8001");
    assert_eq!(at("NODE_HOST=[::1]").config.listen(), "[::1]:8001");
    assert_eq!(at("NODE_HOST=localhost").config.listen(), "127.0.0.1:8001");
    assert_eq!(at("NODE_ADVERTISE=node_lock_1").config.advertise, "node_lock_1:8001");
    assert_eq!(at("NODE_ADVERTISE=http://Node:9/").config.advertise, "node:9");
    assert_eq!(at("NODE_ADVERTISE=::1").config.advertise, "[::1]:8001");
    let everywhere = at("NODE_HOST=0.0.0.0");
    assert_eq!(everywhere.config.advertise, "box:8001");
    assert!(warnings(&everywhere)[0].contains("set it as NODE_ADVERTISE"), "{everywhere:?}");
    assert_eq!(warnings(&at("NODE_HOST=0.0.0.0\nNODE_ADVERTISE=n:1")), Vec::<String>::new());
}

#[test]
fn members_are_equal_however_they_are_spelt() {
    let members = |port: u16, peers: &str| {
        let text = format!("NODE_ID=a\nNODE_TYPE=lock\nNODE_PORT={port}\nPEER_ADDRESSES={peers}");
        read(&text).unwrap().config.members()
    };
    let first = members(8001, "localhost:8002,127.0.0.1:8003");
    assert_eq!(first, ["127.0.0.1:8001", "127.0.0.1:8002", "127.0.0.1:8003"]);
    assert_eq!(first, members(8003, "http://LOCALHOST:8001/, localhost:8002,"));
}

#[test]
fn a_node_without_peers_is_told_so() {
    let text = "NODE_ID=a\nNODE_TYPE=lock\nNODE_PORT=1\nPEER_ADDRESES=b:1\n";
    assert_eq!(
        warnings(&read(text).unwrap()),
        [
            "node.env:4: \"PEER_ADDRESES\" is no key; did you mean PEER_ADDRESSES?",
            "not set: PEER_ADDRESSES names no other node: this one is a cluster of its own",
        ]
    );
}

#[test]
fn the_store_follows_redis() {
    let store = |lines: &str| {
        read(&format!("NODE_ID=a\nNODE_PORT=1\n{lines}")).map(|resolved| resolved.config.store)
    };
    assert_eq!(store("NODE_TYPE=queue"), Ok(Store::Raft));
    assert_eq!(store("NODE_TYPE=queue\nREDIS_HOST=r"), Ok(Store::Redis));
    assert_eq!(store("NODE_TYPE=cache\nREDIS_HOST=r\nSTORE=raft"), Ok(Store::Raft));
    assert_eq!(store("NODE_TYPE=lock\nREDIS_HOST=r"), Ok(Store::Raft));
    assert_eq!(store("NODE_TYPE=queue\nREDIS_SENTINELS=s:1,s:2"), Ok(Store::Redis));
    assert_eq!(store("NODE_TYPE=queue\nREDIS_CLUSTER=c:1"), Ok(Store::Redis));
    for (lines, why) in [
        (
            "REDIS_SENTINELS=s:1\nREDIS_CLUSTER=c:1",
            "REDIS_SENTINELS and REDIS_CLUSTER are both set",
        ),
        ("REDIS_CLUSTER=c:1\nREDIS_DB=3", "REDIS_DB=3: a cluster has only 0"),
    ] {
        let refused = store(&format!("NODE_TYPE=queue\n{lines}")).unwrap_err();
        assert_eq!(problems(&refused), [format!("node.env:5: {why}")]);
    }
    let refused = store("NODE_TYPE=cache\nSTORE=redis").unwrap_err();
    assert_eq!(problems(&refused), ["node.env:4: STORE=redis, but REDIS_HOST is not set"]);
}

#[test]
fn secrets_are_masked_everywhere() {
    let resolved =
        node("REDIS_HOST=r\nREDIS_USERNAME=u\nREDIS_PASSWORD= a$b#c \nREDIS_DB=3\nREDIS_TLS=Yes\n")
            .unwrap();
    assert_eq!(
        resolved.config.redis,
        Some(Redis {
            host: "r".to_owned(),
            port: 6379,
            username: Some("u".to_owned()),
            password: Some(Secret::new(" a$b#c ")),
            db: 3,
            sentinels: Vec::new(),
            sentinel_master: "mymaster".to_owned(),
            cluster: Vec::new(),
            allow_unsafe: false,
            tls: true,
        })
    );
    assert_eq!(setting(&resolved, Key::RedisPassword), ("****", "node.env:7"));
    assert!(!format!("{resolved:?}").contains("a$b"));
}

#[test]
fn a_node_can_name_itself() {
    let mut resolved = read("NODE_ID=auto\nNODE_TYPE=queue\nNODE_PORT=9001\n").unwrap();
    assert!(resolved.needs_name());
    assert_eq!(resolved.config.data_dir, "data/queue/auto-box-9001");
    let name = resolved.new_name(0x1f);
    assert_eq!(name, "box-0000001f");
    resolved.name_node(&name).unwrap();
    assert!(!resolved.needs_name());
    assert_eq!(resolved.config.node_id, "box-0000001f");
    assert_eq!(setting(&resolved, Key::NodeId), ("box-0000001f", "node.env:1"));
    for bad in ["", "a\nb", "../x"] {
        assert!(resolved.name_node(bad).is_err(), "{bad:?}");
    }
    resolved.config.node_id.clear();
}

#[test]
fn timers_are_held_against_each_other() {
    let timers = |lines: &str| node(lines).map(|resolved| resolved.config.timers);
    let good = "RAFT_HEARTBEAT_MS=50\nRAFT_ELECTION_MIN_MS=150\nRAFT_ELECTION_MAX_MS=300\n";
    let meant = Timers { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 };
    assert_eq!(timers(good), Ok(meant));
    let found = timers("RAFT_HEARTBEAT_MS=500\nRAFT_ELECTION_MIN_MS=900\n").unwrap_err();
    assert_eq!(found.problems.len(), 2);
    assert_eq!(found.problems[0].place, "node.env:6");
    assert_eq!(found.problems[0].fix, "RAFT_ELECTION_MIN_MS=1500");
    assert_eq!(found.problems[1].fix, "RAFT_ELECTION_MAX_MS=1800");
}

#[test]
fn log_levels_by_target() {
    let level = |text: &str| node(&format!("LOG_LEVEL={text}\n")).unwrap().config.log_level;
    assert_eq!(level("WARN"), "WARN");
    assert_eq!(level("info, dsd::raft=debug ,"), "info,dsd::raft=debug");
    assert_eq!(level("off"), "off");
}
