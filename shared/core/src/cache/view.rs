//! Who takes part, and which of them is the home of which keys.
//!
//! The memory holds the view; each change of it has the next epoch. A view names the nodes that were
//! counted out with it: they may be alive, and read what they have until their own lease runs out.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::op::Key;
use crate::name::Name;

/// Keys are divided into so many partitions; each has one home.
pub const PARTITIONS: u16 = 1_024;

/// One run of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// NODE_ID.
    pub node: Name,
    /// Which run of it.
    pub incarnation: u64,
    /// Where others reach it.
    pub address: String,
    /// Its leases, in milliseconds: its own, and those that it gives.
    pub lease_ms: u64,
    /// It acknowledges changes that the memory does not have.
    pub writes_back: bool,
}

/// Who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct View {
    /// Rises with every change; 0: there never was one.
    pub epoch: u64,
    /// Which run of the memory it is of: another one may have lost what it acknowledged.
    pub run: String,
    /// Those that take part, by name.
    pub members: Vec<Member>,
    /// Runs that were counted out without a word, and may have a lease of an earlier epoch.
    pub silent: Vec<Member>,
}

impl View {
    /// That run of that node takes part.
    pub fn has(&self, node: &Name, incarnation: u64) -> bool {
        self.member(node).is_some_and(|member| member.incarnation == incarnation)
    }

    /// The longest lease that anybody of this view, or of an earlier one, may have.
    pub fn longest_lease(&self) -> u64 {
        self.members.iter().chain(&self.silent).map(|member| member.lease_ms).max().unwrap_or(0)
    }

    /// It was made for a memory that may have forgotten what there was: its members count as silent
    /// too, for all those that nobody knows of.
    pub fn is_anew(&self) -> bool {
        self.members.iter().any(|member| self.silent.contains(member))
    }

    /// All changes are in the memory before they are acknowledged, as far as anybody knows.
    pub fn writes_through(&self) -> bool {
        !self.is_anew() && !self.members.iter().chain(&self.silent).any(|member| member.writes_back)
    }

    /// The member of that name.
    pub fn member(&self, node: &Name) -> Option<&Member> {
        self.members.iter().find(|member| member.node == *node)
    }
}

/// The partition of a key. For ever: nodes of two versions must agree.
pub fn partition_of(key: &Key) -> u16 {
    let hash = xxhash_rust::xxh3::xxh3_64(key.as_str().as_bytes());
    u16::try_from(hash % u64::from(PARTITIONS)).unwrap_or(0)
}

/// The home of each partition, as a number of a member of the view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Homes {
    of: Vec<u16>,
}

impl Homes {
    /// Rendezvous hashing: who comes or goes moves nothing but its own partitions.
    pub fn of(view: &View) -> Self {
        let home = |partition: u16| {
            let weight = |member: &Member| {
                let name = member.node.as_str().as_bytes();
                xxhash_rust::xxh3::xxh3_64_with_seed(name, u64::from(partition))
            };
            let members = (0_u16..).zip(&view.members);
            members.max_by_key(|(_, member)| weight(member)).map_or(0, |(number, _)| number)
        };
        let of =
            if view.members.is_empty() { Vec::new() } else { (0..PARTITIONS).map(home).collect() };
        Self { of }
    }

    /// The home of a partition; `None`: nobody takes part.
    pub fn get(&self, partition: u16) -> Option<usize> {
        self.of.get(usize::from(partition)).copied().map(usize::from)
    }

    /// Partitions that a member is the home of.
    pub fn count(&self, member: usize) -> usize {
        self.of.iter().filter(|home| usize::from(**home) == member).count()
    }
}

/// What a node left in the memory as a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Beat {
    /// Who.
    pub member: Member,
    /// Rises with each sign of life of that run.
    pub count: u64,
}

/// What a node sees when it leaves a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The view.
    pub view: View,
    /// The epoch that the memory takes writes of.
    pub serving: u64,
    /// Which run of the memory it is.
    pub run: String,
    /// Signs of life, one for each name.
    pub beats: Vec<Beat>,
}

/// The view after that one: with those that live, and no others. `settled`: whoever was silent in it
/// has no lease any more.
pub fn next_view(now: &View, live: &BTreeSet<Member>, settled: bool) -> View {
    let settled = settled || mutant!(SilentDropped);
    let silent: BTreeSet<Member> = if now.is_anew() && !settled {
        // What nobody knows of is not over yet: this one is such a view as well.
        [&now.members, &now.silent].into_iter().flatten().chain(live).cloned().collect()
    } else {
        let known = now.members.iter().chain(now.silent.iter().filter(|_| !settled));
        known.filter(|member| !live.contains(*member)).cloned().collect()
    };
    View {
        epoch: now.epoch + 1,
        run: now.run.clone(),
        members: live.iter().cloned().collect(),
        silent: silent.into_iter().collect(),
    }
}

/// The view with those that live, for a memory that is another run than the proposer's view is of, or
/// has another view. Nobody that either view knows is excused, and there may have been others: so it
/// is [anew](View::is_anew), unless the memory `keeps` what it has, and the proposer is behind.
pub fn view_anew(
    (now, found): (&View, &View),
    run: &str,
    live: &BTreeSet<Member>,
    keeps: bool,
) -> View {
    let before = [&now.members, &now.silent, &found.members, &found.silent].into_iter().flatten();
    let unknown = !keeps && !mutant!(NothingWasBefore);
    let silent: BTreeSet<Member> = before.chain(live.iter().filter(|_| unknown)).cloned().collect();
    View {
        epoch: now.epoch + 1,
        run: run.to_owned(),
        members: live.iter().cloned().collect(),
        silent: silent.into_iter().collect(),
    }
}

/// The view without a member that has dropped all it had.
pub fn view_without(now: &View, member: &Member, settled: bool) -> View {
    let members = now.members.iter().filter(|one| *one != member).cloned().collect();
    let silent = if settled { Vec::new() } else { now.silent.clone() };
    View { epoch: now.epoch + 1, run: now.run.clone(), members, silent }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn member(name: &str, incarnation: u64) -> Member {
        let node = Name::parse("node", name).unwrap();
        let address = format!("{name}:1");
        Member { node, incarnation, address, lease_ms: 2_000, writes_back: false }
    }

    fn view(members: &[Member]) -> View {
        View { epoch: 4, run: "r".to_owned(), members: members.to_vec(), silent: Vec::new() }
    }

    fn nodes(count: usize) -> View {
        let members: Vec<Member> =
            (1..=count).map(|n| member(&format!("cache-node-{n}"), 1)).collect();
        view(&members)
    }

    #[test]
    fn homes_are_spread_and_move_little() {
        for count in 1..=9 {
            let (fewer, more) = (nodes(count), nodes(count + 1));
            let (before, after) = (Homes::of(&fewer), Homes::of(&more));
            for number in 0..count {
                let share = 1_024 / count;
                let has = before.count(number);
                assert!(has > share / 2 && has <= share * 3 / 2 + 1, "{count}: {has}");
            }
            for partition in 0..PARTITIONS {
                let (was, is) = (before.get(partition), after.get(partition));
                assert!(was == is || is == Some(count), "only to the new one");
            }
        }
        assert_eq!(Homes::of(&view(&[])).get(0), None);
    }

    /// For ever: nodes of two versions in one view must agree.
    #[test]
    fn golden() {
        let homes = Homes::of(&nodes(3));
        let text: String = (0..48).map(|p| homes.get(p).unwrap().to_string()).collect();
        assert_eq!(text, "020001021011101022001100201121200000100212021212");
        let partition = |text: &str| partition_of(&Name::parse("key", text).unwrap());
        assert_eq!(["user:42", "a", "ü"].map(partition), [170, 543, 878]);
    }

    #[test]
    fn who_is_counted_out_is_remembered_until_it_can_have_no_lease() {
        let (a, b, c) = (member("a", 1), member("b", 1), member("c", 1));
        let live = |members: &[&Member]| members.iter().map(|m| (*m).clone()).collect();
        let first = view(&[a.clone(), b.clone(), c.clone()]);
        let second = next_view(&first, &live(&[&a, &b]), true);
        assert_eq!(second.epoch, 5);
        assert_eq!(second.members, [a.clone(), b.clone()]);
        assert_eq!(second.silent, slice::from_ref(&c));
        let third = next_view(&second, &live(&[&a]), false);
        assert_eq!(third.silent, [b.clone(), c], "it may still read");
        let third = next_view(&second, &live(&[&a]), true);
        assert_eq!(third.silent, slice::from_ref(&b));
        let left = view_without(&first, &b, true);
        assert_eq!(left.members.len(), 2);
        assert!(left.silent.is_empty(), "it has dropped all it had");
        let one = view(slice::from_ref(&a));
        let again = next_view(&one, &live(&[&member("a", 2)]), true);
        assert_eq!(again.silent, slice::from_ref(&a), "the run before may be paused");
    }

    #[test]
    fn of_a_memory_that_forgot_nobody_is_excused() {
        let (a, b) = (member("a", 1), member("b", 1));
        let live: BTreeSet<Member> = [a.clone()].into_iter().collect();
        let (none, one) = (View::default(), view(slice::from_ref(&a)));
        let restarted = view_anew((&one, &none), "s", &live, false);
        assert_eq!((restarted.epoch, restarted.run.as_str()), (5, "s"));
        assert_eq!((&restarted.members, &restarted.silent), (&vec![a.clone()], &vec![a.clone()]));
        let found = View { epoch: 2, ..view(slice::from_ref(&b)) };
        let both = view_anew((&one, &found), "s", &live, false);
        assert_eq!(both.silent, [a.clone(), b], "by what others began meanwhile");
        assert!(!both.writes_through() && one.writes_through(), "who wrote back is not known");
        let first = view_anew((&none, &none), "s", &live, false);
        assert_eq!((first.epoch, first.silent), (1, vec![a]), "there may have been a view");
        let first = view_anew((&none, &none), "raft", &live, true);
        assert!(first.silent.is_empty(), "there was none");
        let (early, late) = (next_view(&both, &live, false), next_view(&both, &live, true));
        assert!(early.is_anew() && early.silent == both.silent && !late.is_anew());
    }
}
