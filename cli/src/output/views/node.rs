//! One node.

use dsync::api::NodeInfo;
use serde_json::{Value, json};

use crate::output::ids::long;
use crate::output::{Cell, Table, View};

/// Of `node info`.
pub(crate) fn info(info: &NodeInfo) -> View {
    let fields = vec![
        ("node", Cell::text(&info.node)),
        ("role", Cell::text(info.role.as_str())),
        ("state", Cell::text(&info.state)),
        ("address", Cell::text(&info.address)),
        ("listens on", Cell::text(&info.listen)),
        ("version", Cell::text(&info.version)),
        ("cluster", Cell::or_none(info.cluster, |id| Cell::text(id.to_string()))),
        ("incarnation", Cell::Number(info.incarnation)),
        ("uptime", Cell::Ms(info.uptime_ms)),
        ("connections", Cell::Number(u64::from(info.connections))),
        ("pid", Cell::Number(u64::from(info.pid))),
    ];
    let mut view = View::document("NodeInfo", info_document(info)).fields(fields);
    if !info.peers.is_empty() {
        let mut table = Table::new(&["PEER", "ADDRESS", "LAST HELLO", "LAST ERROR"]);
        for peer in &info.peers {
            table.row([
                Cell::or_none(peer.node.as_deref(), Cell::text),
                Cell::text(&peer.address),
                Cell::or_none(peer.last_hello_ms_ago, Cell::Ms),
                Cell::or_none(peer.last_error.as_deref(), Cell::text),
            ]);
        }
        view = view.note("").table(table);
    }
    view = info.problems.iter().fold(view, |view, one| view.note(format!("problem: {one}")));
    view = info.warnings.iter().fold(view, |view, one| view.note(format!("warning: {one}")));
    view.names([info.node.clone()])
}

fn info_document(info: &NodeInfo) -> Value {
    let peers: Vec<_> = info
        .peers
        .iter()
        .map(|peer| {
            json!({
                "node": peer.node, "address": peer.address,
                "last_hello_age_ms": peer.last_hello_ms_ago, "last_error": peer.last_error,
            })
        })
        .collect();
    json!({
        "node": info.node,
        "role": info.role.as_str(),
        "state": info.state,
        "address": info.address,
        "listen": info.listen,
        "version": info.version,
        "cluster": info.cluster.map(|id| id.to_string()),
        "incarnation": long(info.incarnation),
        "uptime_ms": info.uptime_ms,
        "connections": info.connections,
        "pid": info.pid,
        "problems": info.problems,
        "warnings": info.warnings,
        "peers": peers,
        "settings": settings(info),
    })
}

fn settings(info: &NodeInfo) -> Vec<Value> {
    info.settings
        .iter()
        .map(|one| json!({"key": one.key, "value": one.value, "source": one.source}))
        .collect()
}

/// Of `node config`.
pub(crate) fn config(info: &NodeInfo) -> View {
    let mut table = Table::new(&["KEY", "VALUE", "SOURCE"]);
    for one in &info.settings {
        table.row([Cell::text(&one.key), Cell::text(&one.value), Cell::text(&one.source)]);
    }
    View::list("NodeConfig", "NodeSetting", settings(info))
        .table(table)
        .names(info.settings.iter().map(|one| one.key.clone()))
}

/// Of `node version`.
pub(crate) fn version(info: &NodeInfo) -> View {
    let mut table = Table::new(&["NODE", "VERSION"]);
    table.row([Cell::text(&info.node), Cell::text(&info.version)]);
    View::document("NodeVersion", json!({"node": info.node, "version": info.version}))
        .table(table)
        .names([info.version.clone()])
}

/// Of `node ping`: who answered, after how many microseconds.
pub(crate) fn pings(addr: &str, pings: &[(String, u64)]) -> View {
    let mut table = Table::new(&["NODE", "ASKED AT", "ROUND TRIP"]);
    let mut items = Vec::new();
    for (node, us) in pings {
        table.row([Cell::text(node), Cell::text(addr), Cell::Us(*us)]);
        items.push(json!({"node": node, "address": addr, "rtt_us": us}));
    }
    View::list("NodePings", "NodePing", items)
        .table(table)
        .names(pings.iter().map(|(node, _)| node.clone()))
}
