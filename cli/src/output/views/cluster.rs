//! All nodes together.

use dsync::api::{NodeInfo, RaftStatus};
use dsync_core::node::Role;
use serde_json::{Value, json};

use crate::args::Goal;
use crate::commands::survey::raft::Group;
use crate::commands::survey::{Known, Said};
use crate::commands::{no_raft_text, raft_led, raft_reason};
use crate::output::ids::long;
use crate::output::view::Mood;
use crate::output::{Cell, Table, View};
use crate::settings::env_file::Expected;

/// Of `cluster status`.
pub(crate) fn status(said: &[Said<NodeInfo>]) -> View {
    let mut table = Table::new(&["NODE", "ROLE", "ADDRESS", "STATE", "VERSION", "PROBLEMS"]);
    for one in said {
        let problems = problems(one);
        table.row([
            Cell::text(one.known.node.as_deref().unwrap_or("-")),
            Cell::text(one.known.role.map_or("-", |role| role.as_str())),
            Cell::text(address(one)),
            state_cell(state(one)),
            Cell::or_none(version(one), Cell::text),
            Cell::text(if problems.is_empty() { "-".to_owned() } else { problems.join("; ") }),
        ]);
    }
    View::list("ClusterStatus", "NodeStatus", said.iter().map(item))
        .table(table)
        .note(summary(said))
        .names(said.iter().map(|one| one.known.label().to_owned()))
}

fn item(one: &Said<NodeInfo>) -> Value {
    json!({
        "node": one.known.node,
        "role": one.known.role.map(Role::as_str),
        "address": address(one),
        "reachable": one.answer.is_ok(),
        "state": state(one),
        "version": version(one),
        "problems": problems(one),
    })
}

fn address(one: &Said<NodeInfo>) -> &str {
    one.answer.as_ref().map_or(&one.known.address, |info| &info.address)
}

fn state(one: &Said<NodeInfo>) -> &str {
    one.answer.as_ref().map_or("down", |info| &info.state)
}

fn version(one: &Said<NodeInfo>) -> Option<&str> {
    one.answer.as_ref().ok().map(|info| info.version.as_str())
}

fn problems(one: &Said<NodeInfo>) -> Vec<String> {
    match &one.answer {
        Ok(info) => info.problems.clone(),
        Err(fault) => vec![raft_reason(&fault.message, &one.known)],
    }
}

fn state_cell(state: &str) -> Cell {
    let mood = match state {
        "serving" => Mood::Good,
        "down" | "no-leader" => Mood::Bad,
        _ => Mood::Plain,
    };
    Cell::State(state.to_owned(), mood)
}

fn summary(said: &[Said<NodeInfo>]) -> String {
    let up = said.iter().filter(|one| one.answer.is_ok()).count();
    let with_problems =
        said.iter().filter(|one| one.answer.as_ref().is_ok_and(|i| !i.problems.is_empty())).count();
    let problems = match with_problems {
        0 => String::new(),
        n => format!(", {n} with problems"),
    };
    format!("{up} of {} nodes answer{problems}.", said.len())
}

/// Of `cluster topology`.
pub(crate) fn topology(known: &[Known], groups: &[Group], expected: &[Expected]) -> View {
    let parts: Vec<Part<'_>> = groups.iter().map(Part::of).collect();
    let part = |one: &Known| -> &'static str {
        let node = one.node.as_deref();
        node.and_then(|node| parts.iter().find_map(|part| part.played_by(node))).unwrap_or("-")
    };
    let planned = |one: &Known| {
        expected.is_empty()
            || expected.iter().any(|plan| {
                plan.address == one.address || (plan.node.is_some() && plan.node == one.node)
            })
    };
    let mut sorted: Vec<&Known> = known.iter().collect();
    sorted.sort_by_key(|one| (one.role, one.label().to_owned()));
    let mut table = Table::new(&["NODE", "ROLE", "ADDRESS", "PART", "EXPECTED"]);
    let mut nodes = Vec::new();
    for one in sorted {
        let role = one.role.map(Role::as_str);
        table.row([
            Cell::text(one.node.as_deref().unwrap_or("-")),
            Cell::text(role.unwrap_or("-")),
            Cell::text(&one.address),
            Cell::text(part(one)),
            Cell::text(if planned(one) { "yes" } else { "no" }),
        ]);
        let part = Some(part(one)).filter(|part| *part != "-");
        nodes.push(json!({
            "node": one.node, "role": role, "address": one.address, "part": part,
            "expected": planned(one),
        }));
    }
    let main = parts.iter().find(|part| !part.group.elsewhere).or(parts.first());
    let document = main.map_or_else(|| json!({}), Part::document);
    let documents = parts.iter().map(|part| {
        let mut document = part.document();
        if let Value::Object(fields) = &mut document {
            fields.insert("role".to_owned(), part.group.role.as_str().into());
            fields.insert("raft".to_owned(), (!part.group.elsewhere).into());
        }
        document
    });
    let view = View::document("ClusterTopology", document)
        .field("nodes", nodes.into())
        .field("groups", documents.collect())
        .table(table);
    let several = parts.len() > 1;
    parts
        .iter()
        .fold(view, |view, part| view.note(part.line(several)))
        .names(known.iter().map(|one| one.label().to_owned()))
}

/// A group and what its nodes are in it.
struct Part<'a> {
    group: &'a Group,
    leader: Option<&'a RaftStatus>,
    newest: Option<&'a RaftStatus>,
}

impl<'a> Part<'a> {
    fn of(group: &'a Group) -> Self {
        let leader = raft_led(group).ok();
        let answers = group.said.iter().filter_map(|one| one.answer.as_ref().ok());
        let newest = leader.or_else(|| answers.max_by_key(|status| status.term));
        Self { group, leader, newest }
    }

    fn played_by(&self, node: &str) -> Option<&'static str> {
        let status = self.newest?;
        let is_in = |list: &[(String, String, u64)]| list.iter().any(|(name, ..)| name == node);
        match () {
            () if self.leader.is_some_and(|leader| leader.node == node) => Some("leader"),
            () if is_in(&status.voters) => Some("voter"),
            () if is_in(&status.learners) => Some("learner"),
            () => None,
        }
    }

    fn document(&self) -> Value {
        let newest = self.newest;
        json!({
            "cluster": newest.and_then(|status| status.cluster).map(|id| id.to_string()),
            "leader": self.leader.map(|status| status.node.as_str()),
            "term": newest.map(|status| long(status.term)),
            "joint": newest.is_some_and(|status| status.joint),
        })
    }

    fn line(&self, one_of_several: bool) -> String {
        if self.group.elsewhere {
            return no_raft_text(self.group.role);
        }
        let who = self.leader.map_or_else(
            || "no leader".to_owned(),
            |leader| format!("{} leads in term {}", leader.node, leader.term),
        );
        if one_of_several { format!("{}: {who}", self.group.role) } else { who }
    }
}

/// Of `cluster wait`.
pub(crate) fn waited(goal: Goal, met: &str, waited_ms: u64) -> View {
    let goal = match goal {
        Goal::Leader => "leader".to_owned(),
        Goal::AllUp => "all-up".to_owned(),
        Goal::Nodes(count) => format!("nodes={count}"),
    };
    let mut table = Table::new(&["GOAL", "FOUND", "AFTER"]);
    table.row([Cell::text(&goal), Cell::text(met), Cell::Ms(waited_ms)]);
    View::document("ClusterWait", json!({"goal": goal, "found": met, "waited_ms": waited_ms}))
        .table(table)
        .names([goal])
}

#[cfg(test)]
pub(crate) mod sample {
    //! Three lock nodes, one of them down.

    use dsync::api::{NodeInfo, PeerView, Setting};
    use dsync_core::Fault;
    use dsync_core::node::{ClusterId, Role};

    use super::{Known, Said};

    /// What a node says of itself.
    pub(crate) fn info(n: u16) -> NodeInfo {
        NodeInfo {
            node: format!("node-lock-{n}"),
            role: Role::Lock,
            address: format!("127.0.0.1:800{n}"),
            listen: format!("0.0.0.0:800{n}"),
            version: "0.1.0".to_owned(),
            cluster: Some(ClusterId(0xabc)),
            incarnation: 2,
            uptime_ms: 5_400_000,
            state: "serving".to_owned(),
            problems: Vec::new(),
            settings: vec![
                Setting {
                    key: "NODE_ID".to_owned(),
                    value: format!("node-lock-{n}"),
                    source: "envs/lock_node1.env:1".to_owned(),
                },
                Setting {
                    key: "LOG_LEVEL".to_owned(),
                    value: "info".to_owned(),
                    source: "default".to_owned(),
                },
            ],
            peers: vec![PeerView {
                address: "127.0.0.1:8003".to_owned(),
                node: Some("node-lock-3".to_owned()),
                last_hello_ms_ago: None,
                last_error: Some("connection refused".to_owned()),
            }],
            warnings: vec!["node-lock-3 does not answer".to_owned()],
            connections: 4,
            pid: 4_711,
        }
    }

    /// All three.
    pub(crate) fn said() -> Vec<Said<NodeInfo>> {
        let known = |n: u16| Known {
            node: Some(format!("node-lock-{n}")),
            role: Some(Role::Lock),
            address: format!("127.0.0.1:800{n}"),
        };
        let second =
            NodeInfo { problems: vec!["node-lock-3 does not answer".to_owned()], ..info(2) };
        let refused = Fault::unavailable("127.0.0.1:8003: connection refused");
        vec![
            Said { known: known(1), answer: Ok(info(1)) },
            Said { known: known(2), answer: Ok(second) },
            Said { known: known(3), answer: Err(refused) },
        ]
    }
}
