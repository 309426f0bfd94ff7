//! Who leads, and how many more failures the cluster can take: pure.
//!
//! An isolated node goes on naming a leader, and an isolated leader names itself. So only one counts
//! that says it leads, in the highest term that anyone knows, and that a quorum acknowledged within
//! the longest election timeout.

use dsync::api::RaftStatus;

use crate::commands::survey::Known;
use crate::commands::survey::raft::{Group, no_raft_text};
use crate::output::human;

/// The leader, or the sentence that says why there is none.
pub(crate) fn leader(group: &Group) -> Result<&RaftStatus, String> {
    let said = &group.said;
    let answers: Vec<&RaftStatus> =
        said.iter().filter_map(|one| one.answer.as_ref().ok()).collect();
    let highest = answers.iter().map(|status| status.term).max().unwrap_or(0);
    let claims: Vec<&RaftStatus> =
        answers.iter().copied().filter(|status| status.state == "leader").collect();
    if let Some(leader) = claims.iter().copied().find(|claim| objection(claim, highest).is_none()) {
        return Ok(leader);
    }
    let mut parts: Vec<String> =
        claims.iter().filter_map(|claim| objection(claim, highest)).collect();
    if answers.len() < said.len() || claims.is_empty() {
        let (answered, all, role) = (answers.len(), said.len(), group.role);
        parts.push(format!("{answered} of {all} {role} nodes answered"));
    }
    parts.extend(said.iter().filter_map(|one| {
        let fault = one.answer.as_ref().err()?;
        Some(format!("{}: {}", one.known.label(), reason(&fault.message, &one.known)))
    }));
    Err(format!("no leader; {}", parts.join("; ")))
}

/// The same of a group that may have no Raft.
pub(crate) fn led(group: &Group) -> Result<&RaftStatus, String> {
    if group.elsewhere { Err(no_raft_text(group.role)) } else { leader(group) }
}

/// Why a node that says it leads does not count.
fn objection(claim: &RaftStatus, highest: u64) -> Option<String> {
    let name = &claim.node;
    if claim.term < highest {
        let term = claim.term;
        return Some(format!("{name} claims it in term {term}, but term {highest} has begun"));
    }
    match claim.quorum_ack_age_ms {
        None => Some(format!("{name} claims it, no quorum has acknowledged it yet")),
        Some(age) if age > claim.election_timeout_ms.1 => {
            let age = human::spaced(age);
            Some(format!("{name} claims it, its last quorum acknowledgement is {age} old"))
        }
        Some(_) => None,
    }
}

/// A failure in few words: without the name and the address that the row shows anyway.
pub(crate) fn reason(message: &str, known: &Known) -> String {
    let mut line = message.lines().next().unwrap_or_default();
    for shown in [known.label(), known.address.as_str()] {
        let rest = line.strip_prefix(shown).and_then(|rest| rest.strip_prefix(": "));
        line = rest.unwrap_or(line);
    }
    // The usual case, as short as it can be said.
    if line.starts_with("connection refused") {
        return "connection refused".to_owned();
    }
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

/// The line below the table of peers: what has failed and what may still fail.
pub(crate) fn summary(voters: usize, down: usize, led: bool) -> String {
    let quorum = voters / 2 + 1;
    let up = voters.saturating_sub(down);
    let head = match down {
        0 => format!("{voters} of {voters} voters up"),
        _ => format!("{down} of {voters} voters down"),
    };
    match up.checked_sub(quorum) {
        _ if voters == 0 => "no voters known: the cluster has not formed yet.".to_owned(),
        None => {
            let missing = quorum - up;
            let come = if missing == 1 { "comes" } else { "come" };
            format!("{head}: no quorum, nothing is granted until {missing} of them {come} back.")
        }
        Some(_) if !led => format!("{head}, but no leader yet."),
        Some(0) if voters == 1 => format!("{head}: the cluster serves from one node alone."),
        Some(0) => format!("{head}: the cluster serves, but cannot lose another."),
        Some(spare) if down == 0 => format!("{head}: the cluster can lose {spare}."),
        Some(spare) => format!("{head}: the cluster serves, and can lose {spare} more."),
    }
}

#[cfg(test)]
mod tests {
    use dsync_core::Fault;
    use dsync_core::node::Role;

    use super::*;
    use crate::commands::survey::Said;
    use crate::output::views::raft::sample::status;

    fn leader(said: &[Said<RaftStatus>]) -> Result<RaftStatus, String> {
        let group = Group { role: Role::Lock, said: said.to_vec(), elsewhere: false };
        super::leader(&group).cloned()
    }

    fn known(node: &str) -> Known {
        let address = format!("{node}:8001");
        Known { node: Some(node.to_owned()), role: Some(Role::Lock), address }
    }

    fn says(node: &str, state: &str, term: u64, ack: Option<u64>) -> Said<RaftStatus> {
        let status =
            RaftStatus { state: state.to_owned(), term, quorum_ack_age_ms: ack, ..status(node) };
        Said { known: known(node), answer: Ok(status) }
    }

    fn down(node: &str) -> Said<RaftStatus> {
        let fault = Fault::unavailable(format!("{node}:8001: connection refused"));
        Said { known: known(node), answer: Err(fault) }
    }

    #[test]
    fn a_leader_with_a_fresh_quorum_in_the_highest_term_counts() {
        let said = [says("a", "leader", 3, Some(12)), says("b", "follower", 3, None), down("c")];
        assert_eq!(leader(&said).unwrap().node, "a");
    }

    #[test]
    fn an_isolated_leader_does_not_count() {
        let said = [says("a", "leader", 3, Some(4_600)), down("b"), down("c")];
        assert_eq!(
            leader(&said).unwrap_err(),
            "no leader; a claims it, its last quorum acknowledgement is 4.6 s old; 1 of 3 lock nodes answered; b: connection refused; c: connection refused"
        );
    }

    #[test]
    fn an_old_term_does_not_count() {
        let said = [says("a", "leader", 3, Some(10)), says("b", "leader", 4, Some(10))];
        assert_eq!(leader(&said).unwrap().node, "b");
        let said = [says("a", "leader", 3, Some(10)), says("b", "candidate", 4, None)];
        assert_eq!(
            leader(&said).unwrap_err(),
            "no leader; a claims it in term 3, but term 4 has begun"
        );
    }

    #[test]
    fn a_leader_that_nobody_acknowledged_does_not_count() {
        let said = [says("a", "leader", 3, None)];
        assert!(leader(&said).unwrap_err().contains("no quorum has acknowledged it yet"));
        assert_eq!(leader(&[]).unwrap_err(), "no leader; 0 of 0 lock nodes answered");
    }

    #[test]
    fn a_reason_leaves_out_what_the_row_shows() {
        let known = known("a");
        for (message, short) in [
            ("a:8001: connection refused: nobody listens there", "connection refused"),
            ("a: connection refused", "connection refused"),
            ("a: a:8001: no answer in 1s", "no answer in 1s"),
            ("stopped\nsecond line", "stopped"),
        ] {
            assert_eq!(reason(message, &known), short);
        }
        assert_eq!(reason(&"é".repeat(100), &known).chars().count(), 81);
    }

    #[test]
    fn the_summary_counts_what_may_still_fail() {
        let lines: Vec<_> = [
            (3, 0, true),
            (3, 1, true),
            (3, 2, false),
            (3, 3, false),
            (5, 1, true),
            (5, 2, true),
            (3, 0, false),
            (1, 0, true),
            (0, 0, false),
        ]
        .into_iter()
        .map(|(voters, down, led)| summary(voters, down, led))
        .collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        3 of 3 voters up: the cluster can lose 1.
        1 of 3 voters down: the cluster serves, but cannot lose another.
        2 of 3 voters down: no quorum, nothing is granted until 1 of them comes back.
        3 of 3 voters down: no quorum, nothing is granted until 2 of them come back.
        1 of 5 voters down: the cluster serves, and can lose 1 more.
        2 of 5 voters down: the cluster serves, but cannot lose another.
        3 of 3 voters up, but no leader yet.
        1 of 1 voters up: the cluster serves from one node alone.
        no voters known: the cluster has not formed yet.
        ");
    }
}
