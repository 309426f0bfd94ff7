//! Who the node is, where it is reached and whom it knows.

use super::address::{is_loopback, is_unspecified, parse_host, parse_list, parse_port};
use super::problem::shown;
use super::values::Values;
use super::{AUTO, Address, Key};
use crate::node::Role;

/// Longest NODE_ID in bytes.
pub(super) const NODE_ID_MAX: usize = 64;

pub(super) fn role(values: &mut Values) -> Option<Role> {
    const FIX: &str = "--node-type lock (or queue, or cache), or NODE_TYPE=lock in the .env file";
    let given = values.require(Key::NodeType, "says what the node does", FIX)?;
    let role = values.read(Key::NodeType, None, FIX, |text| {
        match Role::parse(&text.to_ascii_lowercase()) {
            Some(role) => Ok(Some(role)),
            None => Err(format!("{} is not a node type", shown(text))),
        }
    });
    values.settle(Key::NodeType, role.map_or(given.value, |role: Role| role.to_string()));
    role
}

pub(super) fn is_id_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

pub(super) fn parse_id(text: &str) -> Result<String, String> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if text.len() > NODE_ID_MAX {
        return Err(format!(
            "{} has {} bytes, {NODE_ID_MAX} are the most",
            shown(text),
            text.len()
        ));
    }
    if starts_well && text.chars().all(is_id_letter) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a node id", shown(text)))
}

pub(super) fn node_id(values: &mut Values) -> Option<String> {
    const FIX: &str = "1 to 64 letters, digits, '.', '_' and '-', such as NODE_ID=lock-node-1; \
                       or NODE_ID=auto";
    let given = values.require(Key::NodeId, "names the node", FIX)?;
    values.settle(Key::NodeId, given.value);
    values.read(Key::NodeId, None, FIX, |text| parse_id(text).map(Some))
}

pub(super) fn host(values: &mut Values) -> String {
    const FIX: &str = "a host name or an IP address without a port, such as NODE_HOST=127.0.0.1, \
                       or 0.0.0.0 for every address of this machine";
    let default = || "127.0.0.1".to_owned();
    let host = values.read(Key::NodeHost, default(), FIX, parse_host);
    values.settle(Key::NodeHost, &host);
    host
}

pub(super) fn port(values: &mut Values) -> Option<u16> {
    const FIX: &str = "NODE_PORT=8001, a port that nothing else on this machine uses";
    let given = values.require(Key::NodePort, "is where the node listens", FIX)?;
    values.settle(Key::NodePort, given.value);
    values.read(Key::NodePort, None, FIX, |text| parse_port(text).map(Some))
}

/// Where others reach this node. `None` only where a problem was found.
pub(super) fn advertise(
    values: &mut Values,
    host: &str,
    port: Option<u16>,
    host_name: &str,
) -> Option<Address> {
    const FIX: &str = "what the other nodes have in PEER_ADDRESSES for this one, such as \
                       NODE_ADVERTISE=node_lock_1:8001";
    let port = port?;
    let result = if let Some(given) = values.get(Key::NodeAdvertise) {
        values.read(Key::NodeAdvertise, None, FIX, |text| {
            let parsed = match parse_host(text) {
                Ok(host) => Address { host, port },
                Err(_) => Address::parse(text)?,
            };
            if is_unspecified(&parsed.host) {
                return Err(format!("nobody can dial {}", shown(&given.value)));
            }
            Ok(Some(parsed))
        })
    } else if is_unspecified(host) {
        let place = values.place(Key::NodeHost);
        if let Ok(name) = parse_host(host_name) {
            let address = Address { host: name, port };
            values.warn(
                &place,
                format!(
                    "NODE_HOST={host} is no address to dial, so others are told this machine's \
                     name, {address}; if they have another one in PEER_ADDRESSES, set it as \
                     NODE_ADVERTISE"
                ),
            );
            Some(address)
        } else {
            let message = format!(
                "NODE_HOST={host} is no address to dial, nor is this machine's name {}",
                shown(host_name)
            );
            values.problem(&place, message, FIX);
            None
        }
    } else {
        Some(Address { host: host.to_owned(), port })
    };
    if let Some(address) = &result {
        values.settle(Key::NodeAdvertise, address.to_string());
    }
    result
}

/// Peers and nodes of other roles, without this node itself.
pub(super) fn neighbours(
    values: &mut Values,
    advertise: Option<&Address>,
    host: &str,
) -> (Vec<Address>, Vec<Address>) {
    let problems_before = values.problems.len();
    let mut peers = addresses(values, Key::PeerAddresses);
    let mut cluster = addresses(values, Key::ClusterAddresses);
    if let Some(own) = advertise {
        let listen = Address { host: host.to_owned(), port: own.port };
        let is_self = |other: &Address| {
            let everywhere = is_unspecified(host) && is_loopback(&other.host);
            other.same_place(own)
                || other.same_place(&listen)
                || (everywhere && other.port == listen.port)
        };
        for (key, list) in [(Key::PeerAddresses, &mut peers), (Key::ClusterAddresses, &mut cluster)]
        {
            let place = values.place(key);
            list.retain(|address| {
                let own = is_self(address);
                if own {
                    let message =
                        format!("{} names this node itself, {address}; left out", key.name());
                    values.warn(&place, message);
                }
                !own
            });
        }
    }
    cluster.retain(|address| !peers.contains(address));
    let names_itself = values.get(Key::NodeId).is_some_and(|given| given.value == AUTO);
    if peers.is_empty() && !names_itself && values.problems.len() == problems_before {
        let place = values.place(Key::PeerAddresses);
        values.warn(&place, "PEER_ADDRESSES names no other node: this one is a cluster of its own");
    }
    let text = |list: &[Address]| list.iter().map(Address::to_string).collect::<Vec<_>>().join(",");
    values.settle(Key::PeerAddresses, text(&peers));
    values.settle(Key::ClusterAddresses, text(&cluster));
    (peers, cluster)
}

pub(super) fn addresses(values: &mut Values, key: Key) -> Vec<Address> {
    let Some(given) = values.get(key) else { return Vec::new() };
    match parse_list(&given.value) {
        Ok(list) => list,
        Err(problems) => {
            let fix = format!("{}=host:port,host:port", key.name());
            for why in problems {
                values.problem(&given.place, format!("{}: {why}", key.name()), fix.clone());
            }
            Vec::new()
        }
    }
}

/// `data/<role>/<node id>` below the working directory; a node that names itself has the machine's
/// name and its port there.
pub(super) fn data_dir(
    values: &mut Values,
    role: Option<Role>,
    node_id: Option<&str>,
    host_name: &str,
    port: Option<u16>,
) -> String {
    const FIX: &str = "the whole path, such as DATA_DIR=/var/lib/dsync";
    let role = role.map_or("unknown", Role::as_str);
    let default = match (node_id, port) {
        (Some(AUTO), Some(port)) => {
            let host: String = host_name.chars().filter(|c| is_id_letter(*c)).take(64).collect();
            format!("data/{role}/auto-{host}-{port}")
        }
        (id, _) => format!("data/{role}/{}", id.unwrap_or("unknown")),
    };
    let dir = values.read(Key::DataDir, default, FIX, |text| {
        if text.starts_with('~') || text.contains('$') {
            return Err(format!("{}: nothing is substituted for ~ or $ here", shown(text)));
        }
        Ok(text.to_owned())
    });
    values.settle(Key::DataDir, &dir);
    dir
}
