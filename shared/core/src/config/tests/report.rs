use super::read;

/// What a user reads who got much wrong, to the letter.
#[test]
fn all_problems_at_once() {
    let refused = read(
        "NODE_ID=lock node\n\
         NODE_TYPE=lokc\n\
         NODE_HOST=http://localhost\n\
         NODE_PROT=8001\n\
         PEER_ADDRESSES=localhost, localhost:0, a:1, a:1\n\
         REDIS_HOST=redis://:hunter2@redis:6379\n\
         RAFT_HEARTBEAT_MS=0\n\
         LOG_LEVEL=loud\n\
         TZ=UTC\n",
    )
    .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "\
10 problems in the configuration, nothing was started
  1. node.env:2: NODE_TYPE: \"lokc\" is not a node type
     fix: --node-type lock (or queue, or cache), or NODE_TYPE=lock in the .env file
  2. node.env:1: NODE_ID: \"lock node\" is not a node id
     fix: 1 to 64 letters, digits, '.', '_' and '-', such as NODE_ID=lock-node-1; or NODE_ID=auto
  3. node.env:3: NODE_HOST: \"http://localhost\" is not a host name: it contains ':'
     fix: a host name or an IP address without a port, such as NODE_HOST=127.0.0.1, or 0.0.0.0 for every address of this machine
  4. not set: NODE_PORT is where the node listens and has no default
     fix: NODE_PORT=8001, a port that nothing else on this machine uses
  5. node.env:5: PEER_ADDRESSES: \"localhost\" has no port
     fix: PEER_ADDRESSES=host:port,host:port
  6. node.env:5: PEER_ADDRESSES: \"localhost:0\": \"0\" is not a port, a number from 1 to 65535
     fix: PEER_ADDRESSES=host:port,host:port
  7. node.env:5: PEER_ADDRESSES: \"a:1\" is named twice
     fix: PEER_ADDRESSES=host:port,host:port
  8. node.env:6: REDIS_HOST: \"…@redis:6379\" is not a host name: it contains ':'
     fix: a host name or an IP address without a port, such as REDIS_HOST=localhost (REDIS_HOST=redis under Compose)
  9. node.env:7: RAFT_HEARTBEAT_MS: \"0\" is not a whole number from 10 to 60000
     fix: RAFT_HEARTBEAT_MS=100
 10. node.env:8: LOG_LEVEL: \"loud\" is not a log level
     fix: LOG_LEVEL=info (or off, error, warn, debug, trace), or by target: LOG_LEVEL=info,dsd=debug
warning: node.env:4: \"NODE_PROT\" is no key; did you mean NODE_PORT?
warning: node.env:9: \"TZ\" is no key of dsync and has no effect"
    );
}
