//! L9: every cycle of waiters is reported within a second, with one victim, and there is no victim
//! without a cycle.

use std::collections::BTreeMap;

use dsync_core::lock::Mode;

use super::{Answer, Edge, History, Hold, Op, Us, Violation, apart};

/// A cycle may stand so long.
const IN_TIME: Us = 1_000_000;
/// Longest cycle looked for; each client waits for one thing at a time.
const LONGEST: usize = 16;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let view = View::of(history);
    let mut found = Vec::new();
    for op in &history.ops {
        let Answer::Deadlock(edges) = &op.answer else { continue };
        if let Err(why) = view.explains(op, edges) {
            found.push(Violation::new("L9", format!("{op} was refused for {edges:?}: {why}")));
        }
    }
    found.extend(view.unreported());
    found
}

/// A history by owner and by lock.
struct View<'a> {
    history: &'a History,
    /// Requests that can wait, of each owner.
    asks: BTreeMap<&'a str, Vec<&'a Op>>,
    chains: Vec<Vec<Hold>>,
}

impl<'a> View<'a> {
    fn of(history: &'a History) -> Self {
        let mut asks: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
        for op in history.ops.iter().filter(|op| op.wants().next().is_some()) {
            asks.entry(&op.owner).or_default().push(op);
        }
        Self { history, asks, chains: history.chains() }
    }

    /// Says why the cycle cannot have been one when `victim` was refused.
    fn explains(&self, victim: &Op, edges: &[Edge]) -> Result<(), String> {
        if victim.queued.is_some() {
            return Err("it waited already, and nothing that waits is ended".to_owned());
        }
        let closed =
            edges.iter().zip(edges.iter().cycle().skip(1)).all(|(a, b)| a.holder == b.waiter);
        let begins = edges.first().is_some_and(|first| {
            first.waiter == victim.owner && victim.wants().any(|(lock, _)| lock == first.lock)
        });
        if edges.len() < 2 || !closed || !begins {
            return Err("that is no cycle with the victim in it".to_owned());
        }
        for (at, edge) in edges.iter().enumerate() {
            let waits =
                if at == 0 { vec![victim] } else { self.waiting(&edge.waiter, edge, victim) };
            if waits.is_empty() {
                return Err(format!("{} does not wait for {}", edge.waiter, edge.lock));
            }
            let own = edge.holder == victim.owner && victim.wants().any(|(l, _)| l == edge.lock);
            let ahead = own || !self.waiting(&edge.holder, edge, victim).is_empty();
            if !ahead && !waits.iter().any(|op| self.may_hold(edge, op, victim)) {
                return Err(format!("{} is not in the way at {}", edge.holder, edge.lock));
            }
        }
        Ok(())
    }

    /// The requests of an owner that may have waited for the lock when the victim was refused. One
    /// that was a victim itself never waited: so a cycle has one victim.
    fn waiting(&self, owner: &str, edge: &Edge, victim: &Op) -> Vec<&'a Op> {
        let asks = self.asks.get(owner).into_iter().flatten();
        let wants = asks.filter(|op| op.wants().any(|(lock, _)| lock == edge.lock));
        let waits = wants.filter(|op| {
            !matches!(op.answer, Answer::Deadlock(_) | Answer::WouldBlock(_))
                && Some(op.called) <= victim.returned
                && op.over() >= victim.called
        });
        waits.copied().collect()
    }

    /// True when the edge's holder may have held the lock then in a way that does not go with what
    /// `waiter` wants.
    fn may_hold(&self, edge: &Edge, waiter: &Op, victim: &Op) -> bool {
        let clashes = |mode: Mode| {
            let mut wants = waiter.wants().filter(|(lock, _)| *lock == edge.lock);
            wants.any(|(_, wanted)| (wanted, mode) != (Mode::Shared, Mode::Shared))
        };
        let told = self.chains.iter().any(|chain| {
            chain.first().is_some_and(|first| {
                let free = first.freed.unwrap_or_else(|| self.history.lease_over(first.session));
                first.owner == edge.holder
                    && first.lock == edge.lock
                    && Some(first.called) <= victim.returned
                    && free >= victim.called
            }) && chain.iter().any(|hold| clashes(hold.mode))
        });
        told || self.asks.get(edge.holder.as_str()).into_iter().flatten().any(|op| {
            matches!(op.answer, Answer::Unknown | Answer::Cancelled)
                && Some(op.called) <= victim.returned
                && op.over() >= victim.called
                && op.wants().any(|(lock, mode)| lock == edge.lock && clashes(mode))
        })
    }

    /// Cycles of requests that were all sure to wait, each for the next, for longer than a cycle may
    /// stand.
    fn unreported(&self) -> Vec<Violation> {
        let nodes: Vec<Node<'_>> = self.history.ops.iter().filter_map(Node::of).collect();
        let edges: Vec<Vec<Wait>> = nodes.iter().map(|node| self.waits(node, &nodes)).collect();
        let mut found = Vec::new();
        for start in 0..nodes.len() {
            let mut path = vec![start];
            if let Some((from, until)) = self.close(&edges, &mut path, (0, Us::MAX)) {
                let names: Vec<_> =
                    path.iter().filter_map(|at| nodes.get(*at)).map(|n| n.op.to_string()).collect();
                let text = format!("from {from} to {until} µs each waited for the next: {names:?}");
                found.push(Violation::new("L9", text));
            }
        }
        found
    }

    fn waits(&self, node: &Node<'_>, nodes: &[Node<'_>]) -> Vec<Wait> {
        let mut found = Vec::new();
        for (lock, mode) in node.op.wants() {
            let clash =
                |h: &&Hold| h.lock == lock && h.owner != node.op.owner && apart(h.mode, mode);
            for hold in self.chains.iter().flatten().filter(clash) {
                let (from, until) = (node.from.max(hold.from), node.until.min(hold.until));
                if until <= from + IN_TIME {
                    continue;
                }
                for (to, next) in nodes.iter().enumerate().filter(|(_, n)| n.op.owner == hold.owner)
                {
                    found.push(Wait {
                        to,
                        from: from.max(next.from),
                        until: until.min(next.until),
                    });
                }
            }
            let ahead = nodes.iter().enumerate().filter(|(_, next)| {
                let mut wants = next.op.wants();
                next.from < node.op.called
                    && next.op.owner != node.op.owner
                    && !node.op.is_conversion()
                    && wants.any(|(other, its)| other == lock && apart(its, mode))
            });
            found.extend(ahead.map(|(to, next)| Wait {
                to,
                from: node.from.max(next.from),
                until: node.until.min(next.until),
            }));
        }
        found.retain(|wait| wait.until > wait.from + IN_TIME);
        found
    }

    /// Goes on from the end of the path until back at its beginning, over waits that all stood at
    /// one time for long enough.
    fn close(
        &self,
        edges: &[Vec<Wait>],
        path: &mut Vec<usize>,
        within: (Us, Us),
    ) -> Option<(Us, Us)> {
        let (first, last) = (*path.first()?, *path.last()?);
        for wait in edges.get(last).into_iter().flatten() {
            let (from, until) = (within.0.max(wait.from), within.1.min(wait.until));
            // Each cycle is found once, from its first member.
            let new = wait.to > first && !path.contains(&wait.to);
            let allowed = IN_TIME + self.history.outage_within(from, until.max(from));
            if until <= from + allowed || (wait.to != first && (!new || path.len() == LONGEST)) {
                continue;
            }
            if wait.to == first {
                return Some((from, until));
            }
            path.push(wait.to);
            if let Some(found) = self.close(edges, path, (from, until)) {
                return Some(found);
            }
            path.pop();
        }
        None
    }
}

/// A request while it was sure to wait, or to be decided without its client's knowledge.
struct Node<'a> {
    op: &'a Op,
    from: Us,
    until: Us,
}

impl<'a> Node<'a> {
    fn of(op: &'a Op) -> Option<Self> {
        let until = op.returned?.min(op.withdrawn.unwrap_or(Us::MAX));
        Some(Self { op, from: op.queued?, until })
    }
}

/// From one request to another that is in its way.
struct Wait {
    to: usize,
    from: Us,
    until: Us,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{S, broken, grants, history, op, wants};
    use super::*;

    const E: Mode = Mode::Exclusive;

    /// Clients 1 and 2 hold a and b, and ask for the other's: 2 first.
    fn crossed() -> History {
        let mut h = history();
        let taken = |client, lock, token| {
            let mut op = op(client, S, S + 1, wants(&[(lock, E)]), grants(&[(lock, E, token)]));
            op.owner = format!("c{client}");
            op
        };
        let more = |client, at, until, lock, answer| {
            let mut op = op(client, at, until, wants(&[(lock, E)]), answer);
            op.owner = format!("c{client}");
            op
        };
        let edge = |waiter: &str, lock: &str, holder: &str| Edge {
            waiter: waiter.to_owned(),
            lock: lock.to_owned(),
            holder: holder.to_owned(),
        };
        let cycle = vec![edge("c1", "b", "c2"), edge("c2", "a", "c1")];
        let mut waits = more(2, 2 * S, 9 * S, "a", Answer::Timeout);
        waits.queued = Some(2 * S + 5);
        let refused = more(1, 3 * S, 3 * S + 5, "b", Answer::Deadlock(cycle));
        h.ops = vec![taken(1, "a", 1), taken(2, "b", 2), waits, refused];
        h
    }

    #[test]
    fn a_cycle_with_one_victim_is_right() {
        assert_eq!(broken(&crossed()), [""; 0]);
    }

    #[test]
    fn a_cycle_that_nobody_is_told_of_is_found() {
        let mut h = crossed();
        h.ops[3].answer = Answer::Timeout;
        h.ops[3].queued = Some(3 * S + 5);
        h.ops[3].returned = Some(3 * S + 5 + S);
        assert_eq!(broken(&h), [""; 0]);
        h.ops[3].returned = Some(3 * S + 6 + S);
        assert_eq!(broken(&h), ["L9"]);
        h.outages = vec![(3 * S, 4 * S)];
        assert_eq!(broken(&h), [""; 0]);
    }

    #[test]
    fn a_cycle_through_the_queue_is_found() {
        let mut h = crossed();
        h.ops[3].answer = Answer::Timeout;
        h.ops[3].queued = Some(3 * S + 5);
        h.ops[3].returned = Some(9 * S);
        // 1 waits for c behind 3, which waits for a too.
        h.ops[3].action = wants(&[("c", E)]);
        let mut third = h.ops[2].clone();
        (third.client, third.session, third.owner) = (3, 3, "c3".to_owned());
        (third.called, third.queued) = (2 * S + 8, Some(2 * S + 9));
        third.action = wants(&[("a", E), ("c", E)]);
        h.ops.push(third);
        assert_eq!(broken(&h), ["L9"]);
    }

    #[test]
    fn a_second_victim_is_found() {
        let mut h = crossed();
        let cycle = h.ops[3].answer.clone();
        h.ops[2].answer = cycle;
        h.ops[2].queued = None;
        if let Answer::Deadlock(edges) = &mut h.ops[2].answer {
            edges.rotate_left(1);
        }
        assert_eq!(broken(&h), ["L9"]);
        // Nor may one be ended that waits already.
        let mut h = crossed();
        h.ops[3].queued = Some(3 * S + 1);
        assert_eq!(broken(&h), ["L9"]);
    }

    #[test]
    fn a_victim_without_a_cycle_is_found() {
        // Nobody waits for a.
        let mut h = crossed();
        h.ops.remove(2);
        assert_eq!(broken(&h), ["L9"]);
        // The holder of b is another.
        let mut h = crossed();
        h.ops[1].owner = "c3".to_owned();
        assert_eq!(broken(&h), ["L9"]);
        // The steps do not meet.
        let mut h = crossed();
        if let Answer::Deadlock(edges) = &mut h.ops[3].answer {
            edges.pop();
        }
        assert_eq!(broken(&h), ["L9"]);
    }
}
