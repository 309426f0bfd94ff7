//! L7: no lease ends before its time.

use super::{History, Violation};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for lease in &history.leases {
        let Some(told) = lease.told_expired else { continue };
        // An acknowledged keep-alive was committed after it was sent: the lease runs from there.
        let acknowledged = lease.renewals.iter().filter(|(_, acked)| *acked < told);
        let Some(last) = acknowledged.map(|(sent, _)| *sent).max() else { continue };
        if told < last + lease.ttl && lease.closed.is_none() {
            found.push(Violation::new(
                "L7",
                format!(
                    "session {} was over at {told} µs; its keep-alive of {last} µs gave it {} µs",
                    lease.session, lease.ttl
                ),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{S, acquire, broken, history};

    #[test]
    fn an_early_end_is_found() {
        let mut h = history();
        h.ops = vec![acquire(1, S, S + 1, 5)];
        h.leases[0].renewals.retain(|(sent, _)| *sent <= 20 * S);
        h.leases[0].told_expired = Some(30 * S + 1);
        assert_eq!(broken(&h), [""; 0]);
        h.leases[0].told_expired = Some(30 * S - 1);
        assert_eq!(broken(&h), ["L7"]);
    }
}
