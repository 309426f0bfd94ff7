//! Node files: where the nodes are, and which ones there should be.

use std::collections::BTreeMap;
use std::fs;

use dsync_core::Code;
use dsync_core::node::Role;

use crate::args;
use crate::error::{Failure, Result};
use crate::exit::Exit;

/// A node that a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// NODE_ID, where the file is its own.
    pub(crate) node: Option<String>,
    /// `NODE_TYPE`, where the file says so.
    pub(crate) role: Option<Role>,
    /// `host:port`.
    pub(crate) address: String,
}

/// Reads the files; a node and its listing as someone's peer are one.
pub(crate) fn read_all(files: &[String]) -> Result<Vec<Expected>> {
    let mut found: Vec<Expected> = Vec::new();
    for file in files {
        let bytes = fs::read(file).map_err(|error| wrong(file, &error))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong(file, &"it is not UTF-8"))?;
        for expected in parse(&text).map_err(|why| wrong(file, &why))? {
            match found.iter_mut().find(|old| old.address == expected.address) {
                Some(old) => {
                    old.node = old.node.take().or(expected.node);
                    old.role = old.role.take().or(expected.role);
                }
                None => found.push(expected),
            }
        }
    }
    Ok(found)
}

/// The endpoints of these nodes.
pub(crate) fn endpoints(expected: &[Expected]) -> Vec<String> {
    expected.iter().map(|node| node.address.clone()).collect()
}

/// The node of one file and its peers.
fn parse(text: &str) -> std::result::Result<Vec<Expected>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let values = dotenvy::from_read_iter(text.as_bytes())
        .collect::<std::result::Result<BTreeMap<_, _>, _>>()
        .map_err(|error| error.to_string())?;
    let get = |key: &str| values.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    let role = match get("NODE_TYPE") {
        None => None,
        Some(text) => Some(
            Role::parse(text)
                .ok_or_else(|| format!("NODE_TYPE {text:?} is none of lock, queue, cache"))?,
        ),
    };
    let own = match (get("NODE_ADVERTISE"), get("NODE_PORT")) {
        (Some(address), _) => Some(address.to_owned()),
        (None, Some(port)) => Some(format!("{}:{port}", reachable(get("NODE_HOST")))),
        (None, None) => None,
    };
    let mut found = Vec::new();
    if let Some(own) = own {
        let mut addresses = args::endpoints(&own)?;
        if let (Some(address), true) = (addresses.pop(), addresses.is_empty()) {
            found.push(Expected { node: get("NODE_ID").map(str::to_owned), role, address });
        }
    }
    for address in args::endpoints(get("PEER_ADDRESSES").unwrap_or_default())? {
        found.push(Expected { node: None, role, address });
    }
    if found.is_empty() {
        return Err("it has neither NODE_PORT nor NODE_ADVERTISE nor PEER_ADDRESSES".to_owned());
    }
    Ok(found)
}

/// An address to listen on is none to dial.
fn reachable(host: Option<&str>) -> &str {
    match host {
        None | Some("0.0.0.0" | "::" | "[::]" | "*") => "127.0.0.1",
        Some(host) => host,
    }
}

fn wrong(file: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::InvalidArgument, format!("node file {file}: {why}"))
        .hint("`dsd --env-file FILE --node-type TYPE --check-config` explains a node file")
        .exit(Exit::Config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_file_names_its_node_and_its_peers() {
        let text = "\u{feff}NODE_ID=node-lock-1\r\nNODE_HOST=0.0.0.0\r\nNODE_PORT=8001\r\nPEER_ADDRESSES=\"http://127.0.0.1:8002, 127.0.0.1:8003\"\r\nNODE_TYPE=lock\r\n";
        let found = parse(text).unwrap();
        let first = found.first().unwrap();
        assert_eq!(first.node.as_deref(), Some("node-lock-1"));
        assert_eq!(endpoints(&found), ["127.0.0.1:8001", "127.0.0.1:8002", "127.0.0.1:8003"]);
        assert!(found.iter().all(|node| node.role == Some(Role::Lock)));
    }

    #[test]
    fn a_file_that_names_nothing_is_refused() {
        for bad in
            ["", "NODE_ID=a\n", "NODE_PORT=70000\n", "NODE_TYPE=x\nNODE_PORT=1\n", "what is this"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
