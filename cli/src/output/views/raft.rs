//! Raft: leader, peers, figures, probes, snapshots.

use std::path::Path;

use dsync::api::{Probe, RaftStatus};
use dsync_core::node::Role;
use serde_json::{Value, json};

use crate::commands::raft_reason;
use crate::commands::survey::raft::Group;
use crate::output::ids::long;
use crate::output::view::Mood;
use crate::output::{Cell, Table, View, human};

/// The leader of the group of a role, or why there is none.
pub(crate) type Led<'a> = (Role, Result<&'a RaftStatus, String>);

/// Of `raft leader`: the leader that was asked for, and those of all groups.
pub(crate) fn leader(role: Role, leader: &RaftStatus, all: &[Led<'_>]) -> View {
    let mut table = Table::new(&["NODE", "ADDRESS", "TERM", "LAST QUORUM ACK", "ROLE"]);
    let mut groups = Vec::new();
    for (role, led) in all {
        let role = role.as_str();
        groups.push(match led {
            Ok(leader) => with_role(leader_document(leader), role),
            Err(why) => json!({"role": role, "leader": null, "error": why}),
        });
        if let Ok(leader) = led {
            table.row([
                Cell::text(&leader.node),
                Cell::text(&leader.address),
                Cell::Number(leader.term),
                Cell::or_none(leader.quorum_ack_age_ms, Cell::Ms),
                Cell::text(role),
            ]);
        }
    }
    let document = with_role(leader_document(leader), role.as_str());
    let view = View::document("RaftLeader", document).field("groups", groups.into()).table(table);
    let silent = all.iter().filter_map(|(role, led)| Some((role, led.as_ref().err()?)));
    silent
        .fold(view, |view, (role, why)| view.note(format!("{role}: {why}")))
        .names([leader.node.clone()])
}

fn leader_document(leader: &RaftStatus) -> Value {
    json!({
        "leader": {"id": long(leader.id), "node": leader.node, "address": leader.address},
        "term": long(leader.term),
        "quorum_ack_age_ms": leader.quorum_ack_age_ms,
    })
}

fn with_role(mut document: Value, role: &str) -> Value {
    if let Value::Object(fields) = &mut document {
        fields.insert("role".to_owned(), role.into());
    }
    document
}

/// One peer, reachable or not.
#[derive(Debug, Clone)]
pub(crate) struct Row<'a> {
    pub(crate) role: Role,
    pub(crate) node: &'a str,
    pub(crate) address: &'a str,
    pub(crate) id: Option<u64>,
    pub(crate) voter: bool,
    /// It answers, and under the id that votes: a node that lost its data comes back under another.
    pub(crate) up: bool,
    pub(crate) status: Option<&'a RaftStatus>,
    pub(crate) lag: Option<u64>,
    pub(crate) error: Option<String>,
}

/// The peers, with what the others know of the silent ones.
pub(crate) fn rows(group: &Group) -> Vec<Row<'_>> {
    let said = if group.elsewhere { &[] } else { group.said.as_slice() };
    let answers = || said.iter().filter_map(|one| one.answer.as_ref().ok());
    let newest = answers().max_by_key(|status| (status.term, status.voters.len()));
    let voters = newest.map(|status| status.voters.as_slice()).unwrap_or_default();
    let learners = newest.map(|status| status.learners.as_slice()).unwrap_or_default();
    let end = answers().map(|status| status.last_log_index).max();
    said.iter()
        .map(|one| {
            let status = one.answer.as_ref().ok();
            let label = one.known.label();
            let of = |list: &[(String, String, u64)]| {
                list.iter().find(|(node, ..)| node == label).map(|(.., id)| *id)
            };
            Row {
                role: group.role,
                node: label,
                address: status.map_or(&one.known.address, |s| &s.address),
                id: status.map(|s| s.id).or_else(|| of(voters)).or_else(|| of(learners)),
                voter: of(voters).is_some() || (voters.is_empty() && of(learners).is_none()),
                up: status.is_some_and(|s| {
                    of(voters).is_none()
                        || voters.iter().any(|(node, _, id)| node == label && *id == s.id)
                }),
                status,
                lag: status.zip(end).map(|(s, end)| end.saturating_sub(s.last_log_index)),
                error: one
                    .answer
                    .as_ref()
                    .err()
                    .map(|fault| raft_reason(&fault.message, &one.known)),
            }
        })
        .collect()
}

/// Of `raft peers`.
pub(crate) fn peers(rows: &[Row<'_>], summaries: &[String]) -> View {
    let mut table = Table::new(&[
        "NODE",
        "ADDRESS",
        "STATE",
        "TERM",
        "LOG",
        "COMMITTED",
        "APPLIED",
        "LAG",
        "LAST HEARD",
        "ROLE",
    ]);
    for row in rows {
        table.row(cells(row));
    }
    let view = View::list("RaftPeers", "RaftPeer", rows.iter().map(peer)).table(table);
    summaries.iter().fold(view, View::note).names(rows.iter().map(|row| row.node.to_owned()))
}

fn cells(row: &Row<'_>) -> Vec<Cell> {
    let number = |value: fn(&RaftStatus) -> u64| Cell::or_none(row.status.map(value), Cell::Number);
    let state = match row.status {
        Some(status) if status.state == "leader" => Cell::State(status.state.clone(), Mood::Good),
        Some(status) => Cell::State(status.state.clone(), Mood::Plain),
        None => Cell::State("down".to_owned(), Mood::Bad),
    };
    vec![
        Cell::text(row.node),
        Cell::text(row.address),
        state,
        number(|s| s.term),
        number(|s| s.last_log_index),
        number(|s| s.committed),
        number(|s| s.applied),
        Cell::or_none(row.lag, Cell::Number),
        Cell::text(last_heard(row)),
        Cell::text(row.role.as_str()),
    ]
}

/// A leader: its quorum; a follower: its leader; a silent one: why.
fn last_heard(row: &Row<'_>) -> String {
    match (row.status, &row.error) {
        (Some(status), _) if status.state == "leader" => status
            .quorum_ack_age_ms
            .map_or_else(|| "no quorum yet".to_owned(), |age| format!("quorum {}", human::ms(age))),
        (Some(status), _) => status.leader_contact_age_ms.map_or_else(|| "-".to_owned(), human::ms),
        (None, Some(error)) => error.clone(),
        (None, None) => "-".to_owned(),
    }
}

fn peer(row: &Row<'_>) -> Value {
    let status = row.status;
    json!({
        "id": row.id.map(long),
        "node": row.node,
        "address": row.address,
        "state": status.map_or("down", |s| s.state.as_str()),
        "voter": row.voter,
        "term": status.map(|s| long(s.term)),
        "last_log_index": status.map(|s| long(s.last_log_index)),
        "committed": status.map(|s| long(s.committed)),
        "applied": status.map(|s| long(s.applied)),
        "lag": row.lag,
        "reachable": status.is_some(),
        "quorum_ack_age_ms": status.and_then(|s| s.quorum_ack_age_ms),
        "leader_contact_age_ms": status.and_then(|s| s.leader_contact_age_ms),
        "error": row.error,
        "role": row.role.as_str(),
    })
}

/// Of `raft status`.
pub(crate) fn status(s: &RaftStatus) -> View {
    let (shortest, longest) = s.election_timeout_ms;
    let fields = vec![
        ("node", Cell::text(&s.node)),
        ("address", Cell::text(&s.address)),
        ("id", Cell::Number(s.id)),
        ("cluster", Cell::or_none(s.cluster, |c| Cell::text(c.to_string()))),
        ("state", Cell::text(&s.state)),
        ("term", Cell::Number(s.term)),
        (
            "vote",
            Cell::or_none(s.vote, |(id, won)| {
                Cell::text(format!("{id}{}", if won { " (elected)" } else { "" }))
            }),
        ),
        ("leader", Cell::or_none(s.leader.as_deref(), Cell::text)),
        ("last log index", Cell::Number(s.last_log_index)),
        ("flushed", Cell::Number(s.flushed)),
        ("committed", Cell::Number(s.committed)),
        ("applied", Cell::Number(s.applied)),
        ("snapshot", Cell::Number(s.snapshot)),
        ("purged", Cell::Number(s.purged)),
        ("voters", Cell::text(member_names(&s.voters))),
        ("learners", Cell::text(member_names(&s.learners))),
        ("joint", Cell::text(if s.joint { "yes" } else { "no" })),
        ("last quorum ack", Cell::or_none(s.quorum_ack_age_ms, Cell::Ms)),
        ("last leader contact", Cell::or_none(s.leader_contact_age_ms, Cell::Ms)),
        ("flush p50", Cell::Us(s.fsync_p50_us)),
        ("flush p99", Cell::Us(s.fsync_p99_us)),
        ("elections last minute", Cell::Number(u64::from(s.elections_last_minute))),
        ("last election", Cell::or_none(s.last_election.as_deref(), Cell::text)),
        ("election timeout", Cell::text(format!("{}-{}", human::ms(shortest), human::ms(longest)))),
        ("member list", Cell::text(format!("{:016x}", s.fingerprint))),
        ("state hash", Cell::text(format!("{:016x}", s.state_hash))),
    ];
    let mut view = View::document("RaftStatus", status_document(s)).fields(fields);
    if !s.replication.is_empty() {
        let mut table = Table::new(&["PEER", "MATCHED", "LAG", "LAST ANSWER"]);
        for one in &s.replication {
            table.row([
                Cell::text(&one.node),
                Cell::or_none(one.matched, Cell::Number),
                Cell::Number(one.lag),
                Cell::or_none(one.heartbeat_age_ms, Cell::Ms),
            ]);
        }
        view = view.note("").table(table);
    }
    view = s.problems.iter().fold(view, |view, problem| view.note(format!("problem: {problem}")));
    view.names([s.node.clone()])
}

fn member_names(members: &[(String, String, u64)]) -> String {
    match members {
        [] => "-".to_owned(),
        some => some.iter().map(|(node, ..)| node.as_str()).collect::<Vec<_>>().join(", "),
    }
}

fn members(members: &[(String, String, u64)]) -> Vec<Value> {
    members
        .iter()
        .map(|(node, address, id)| json!({"id": long(*id), "node": node, "address": address}))
        .collect()
}

fn status_document(s: &RaftStatus) -> Value {
    let replication: Vec<_> = s
        .replication
        .iter()
        .map(|one| {
            json!({
                "id": long(one.id), "node": one.node, "matched": one.matched.map(long),
                "lag": one.lag, "heartbeat_age_ms": one.heartbeat_age_ms,
            })
        })
        .collect();
    json!({
        "node": s.node,
        "address": s.address,
        "id": long(s.id),
        "cluster": s.cluster.map(|c| c.to_string()),
        "state": s.state,
        "term": long(s.term),
        "vote": s.vote.map(|(id, won)| json!({"id": long(id), "elected": won})),
        "leader": s.leader,
        "last_log_index": long(s.last_log_index),
        "flushed": long(s.flushed),
        "committed": long(s.committed),
        "applied": long(s.applied),
        "snapshot": long(s.snapshot),
        "purged": long(s.purged),
        "voters": members(&s.voters),
        "learners": members(&s.learners),
        "joint": s.joint,
        "quorum_ack_age_ms": s.quorum_ack_age_ms,
        "leader_contact_age_ms": s.leader_contact_age_ms,
        "replication": replication,
        "fsync_p50_us": s.fsync_p50_us,
        "fsync_p99_us": s.fsync_p99_us,
        "elections_last_minute": s.elections_last_minute,
        "last_election": s.last_election,
        "election_timeout_ms": {"shortest": s.election_timeout_ms.0, "longest": s.election_timeout_ms.1},
        "fingerprint": format!("{:016x}", s.fingerprint),
        "state_hash": format!("{:016x}", s.state_hash),
        "problems": s.problems,
    })
}

/// A probe and the time that the caller saw.
#[derive(Debug, Clone)]
pub(crate) struct Probed {
    pub(crate) probe: Probe,
    pub(crate) replied_us: u64,
    pub(crate) served_by: String,
}

/// Of `raft probe`.
pub(crate) fn probes(role: Role, probes: &[Probed]) -> View {
    let mut table = Table::new(&[
        "INDEX",
        "TERM",
        "LEADER",
        "FLUSHED",
        "ACKNOWLEDGED",
        "COMMITTED",
        "APPLIED",
        "REPLIED",
        "ROLE",
    ]);
    for one in probes {
        let acked: Vec<_> = one
            .probe
            .acked_us
            .iter()
            .map(|(node, us)| format!("{node} {}", human::us(*us)))
            .collect();
        table.row([
            Cell::Number(one.probe.index),
            Cell::Number(one.probe.term),
            Cell::text(&one.served_by),
            Cell::Us(one.probe.flushed_us),
            Cell::text(if acked.is_empty() { "-".to_owned() } else { acked.join(", ") }),
            Cell::Us(one.probe.committed_us),
            Cell::Us(one.probe.applied_us),
            Cell::Us(one.replied_us),
            Cell::text(role.as_str()),
        ]);
    }
    let documents = probes.iter().map(|one| with_role(probe(one), role.as_str()));
    let mut view = View::list("RaftProbes", "RaftProbe", documents)
        .table(table)
        .names(probes.iter().map(|one| one.probe.index.to_string()));
    if probes.len() > 1 {
        let mut replied: Vec<_> = probes.iter().map(|one| one.replied_us).collect();
        replied.sort_unstable();
        let median = replied.get(replied.len() / 2).copied().unwrap_or(0);
        let slowest = replied.last().copied().unwrap_or(0);
        view = view.note(format!(
            "replied: median {}, slowest {}",
            human::us(median),
            human::us(slowest)
        ));
    }
    view
}

fn probe(one: &Probed) -> Value {
    let acked: Vec<_> =
        one.probe.acked_us.iter().map(|(node, us)| json!({"node": node, "us": us})).collect();
    json!({
        "index": long(one.probe.index),
        "term": long(one.probe.term),
        "leader": one.served_by,
        "flushed_us": one.probe.flushed_us,
        "acked": acked,
        "committed_us": one.probe.committed_us,
        "applied_us": one.probe.applied_us,
        "replied_us": one.replied_us,
    })
}

/// Of `raft transfer` and `raft replace`.
pub(crate) fn done(
    kind: &'static str,
    node: &str,
    message: &str,
    role: Role,
    served_by: &str,
) -> View {
    let role = role.as_str();
    let mut table = Table::new(&["NODE", "RESULT", "SERVED BY", "ROLE"]);
    let cells = [node, message, served_by, role];
    table.row(cells.map(Cell::text));
    let document = json!({"node": node, "message": message, "served_by": served_by, "role": role});
    View::document(kind, document).table(table).names([node.to_owned()])
}

/// Of `raft snapshot save` and `restore`.
pub(crate) fn snapshot(
    kind: &'static str,
    file: &Path,
    bytes: u64,
    role: Role,
    served_by: &str,
) -> View {
    let (name, role) = (file.display().to_string(), role.as_str());
    let mut table = Table::new(&["FILE", "SIZE", "SERVED BY", "ROLE"]);
    let size = human::bytes(bytes);
    table.row([name.as_str(), &size, served_by, role].map(Cell::text));
    let document = json!({"file": name, "bytes": bytes, "served_by": served_by, "role": role});
    View::document(kind, document).table(table).names([name])
}

#[cfg(test)]
pub(crate) mod sample {
    //! A status to vary in tests.

    use dsync::api::{RaftStatus, Replication};
    use dsync_core::node::ClusterId;

    /// A follower of a cluster of three.
    pub(crate) fn status(node: &str) -> RaftStatus {
        let voter = |n: u64| (format!("node-lock-{n}"), format!("127.0.0.1:800{n}"), n << 32 | 1);
        RaftStatus {
            node: node.to_owned(),
            address: "127.0.0.1:8001".to_owned(),
            id: 1 << 32 | 1,
            cluster: Some(ClusterId(0xabc)),
            state: "follower".to_owned(),
            term: 3,
            vote: Some((1 << 32 | 1, true)),
            leader: Some("node-lock-1".to_owned()),
            last_log_index: 10_423,
            flushed: 10_423,
            committed: 10_423,
            applied: 10_423,
            snapshot: 10_000,
            purged: 9_000,
            voters: vec![voter(1), voter(2), voter(3)],
            learners: Vec::new(),
            joint: false,
            quorum_ack_age_ms: None,
            leader_contact_age_ms: Some(34),
            replication: vec![Replication {
                id: 2 << 32 | 1,
                node: "node-lock-2".to_owned(),
                matched: Some(10_423),
                lag: 0,
                heartbeat_age_ms: Some(40),
            }],
            fsync_p50_us: 180,
            fsync_p99_us: 1_250,
            elections_last_minute: 0,
            last_election: Some("leader silent for 512 ms: elected in term 3".to_owned()),
            fingerprint: 0xfeed,
            state_hash: 0xbeef,
            election_timeout_ms: (300, 600),
            problems: Vec::new(),
        }
    }
}
