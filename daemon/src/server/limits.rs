//! Limits of the server.

use std::time::Duration;

use dsync::connection::{IN_FLIGHT_CLIENT, IN_FLIGHT_PEER};

/// What a node needs beside the connections it accepts: files of the log and of snapshots, the
/// connections that it makes, those of metrics.
const OWN_DESCRIPTORS: usize = 128;
/// Descriptors for accepted connections, however low the process's limit is.
const DESCRIPTORS_MIN: usize = 32;

/// Limits of the server; the default is what a node runs with where descriptors are plenty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections that have not greeted yet.
    pub ungreeted: usize,
    /// The same from one address; not for loopback.
    pub ungreeted_per_address: usize,
    /// A silent connection is safe from making place for so long.
    pub ungreeted_grace: Duration,
    /// Connections of clients that have greeted.
    pub clients: usize,
    /// Connections of nodes: Raft, and requests that they hand on. No client takes one of theirs.
    pub nodes: usize,
    /// Time for the greeting.
    pub greet: Duration,
    /// Pause after a failed accept.
    pub accept_pause: Duration,
    /// Longest time without a request on a client's connection; a node's may be idle for ever.
    pub idle: Duration,
    /// Longest time in which a peer accepts no byte of a reply.
    pub write_stall: Duration,
    /// Requests in flight on a client's connection; then no more are read from it.
    pub in_flight_client: usize,
    /// The same on a node's connection.
    pub in_flight_peer: usize,
    /// Time for handlers to finish on a stop.
    pub drain: Duration,
}

impl Limits {
    /// The limits of a node that may have so many files and sockets open. Accepted connections leave
    /// enough for its own: a log that cannot open its next file ends the node.
    pub fn within(descriptors: usize) -> Self {
        let most = Self::default();
        let left = descriptors.saturating_sub(OWN_DESCRIPTORS).max(DESCRIPTORS_MIN);
        let ungreeted = most.ungreeted.min(left / 4);
        let nodes = most.nodes.min(left / 4);
        let clients = most.clients.min(left - ungreeted - nodes);
        Self { ungreeted, clients, nodes, ..most }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ungreeted: 256,
            ungreeted_per_address: 16,
            ungreeted_grace: Duration::from_millis(50),
            clients: 4_096,
            nodes: 256,
            greet: Duration::from_secs(2),
            accept_pause: Duration::from_millis(50),
            idle: Duration::from_secs(300),
            write_stall: Duration::from_secs(10),
            in_flight_client: IN_FLIGHT_CLIENT,
            in_flight_peer: IN_FLIGHT_PEER,
            drain: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_node_itself() {
        assert_eq!(Limits::within(1 << 20), Limits::default());
        for descriptors in [160, 200, 256, 1_024, 4_096, 4_500] {
            let limits = Limits::within(descriptors);
            let connections = limits.ungreeted + limits.clients + limits.nodes;
            assert!(connections + OWN_DESCRIPTORS <= descriptors, "{descriptors}: {limits:?}");
        }
        let fewest = Limits::within(0);
        assert!(fewest.ungreeted.min(fewest.clients).min(fewest.nodes) > 0, "{fewest:?}");
    }
}
