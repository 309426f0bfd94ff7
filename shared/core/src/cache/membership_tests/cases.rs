//! What was found once, one by one.

use super::super::membership::{Membership, Todo};
use super::super::view::{Beat, Member, Seen, View};
use super::sim::{Fault, Kept, Net, Sim};
use crate::name::Name;

const LEASE: u64 = 600;
const WELL: Net = Net { lost_percent: 0, late_percent: 0, latest: 0 };

fn three() -> Sim {
    let mut sim = Sim::new(7, WELL);
    for node in 0..3 {
        sim.start(node, false, LEASE, false);
    }
    sim.go_on(sim.now + 5 * LEASE);
    assert!(sim.agreed().is_some(), "{}", sim.story());
    sim
}

fn start(node: usize, elsewhere: bool) -> Fault {
    Fault::Start { node, elsewhere, lease: LEASE, back: false }
}

fn member(name: &str, incarnation: u64) -> Member {
    let node = Name::parse("node", name).unwrap();
    let address = format!("{name}:1");
    Member { node, incarnation, address, lease_ms: LEASE, writes_back: false }
}

fn seen(view: &View, beats: &[(&Member, u64)]) -> Seen {
    let beats = beats.iter().map(|(one, count)| Beat { member: (*one).clone(), count: *count });
    Seen { view: view.clone(), serving: 0, run: "r".to_owned(), beats: beats.collect() }
}

fn view(epoch: u64, members: &[&Member]) -> View {
    let members = members.iter().map(|one| (*one).clone()).collect();
    View { epoch, run: "r".to_owned(), members, silent: Vec::new() }
}

/// The memory is gone with all it had, and the first to look at the new one never knew the old one:
/// the others may read what they have for a lease.
#[test]
fn a_memory_with_nothing_in_it_may_have_had_something() {
    let mut sim = three();
    sim.fault(&Fault::CutOff(0, true));
    sim.fault(&Fault::CutOff(1, true));
    sim.fault(&Fault::CutOff(2, true));
    sim.fault(&Fault::Restart(Kept::Nothing));
    sim.fault(&start(3, false));
    sim.go_on(sim.now + 3 * LEASE);
    assert_eq!(sim.broken, None, "{}", sim.story());
}

/// The sign of life of a node that is dead is still in the memory when another one starts.
#[test]
fn who_starts_does_not_take_the_dead_for_living() {
    let mut sim = three();
    let dead = sim.runs[2].standing.me().clone();
    sim.fault(&Fault::Crash(2));
    sim.go_on(sim.now + 3 * LEASE);
    let before = sim.views().len();
    sim.fault(&Fault::Crash(0));
    sim.fault(&start(0, false));
    sim.go_on(sim.now + 4 * LEASE);
    assert!(sim.agreed().is_some(), "{}", sim.story());
    let again = sim.views()[before..].iter().any(|view| view.members.contains(&dead));
    assert!(!again, "{}", sim.story());
}

/// Two processes of one name: the first one stays, and the view with it.
#[test]
fn a_second_process_of_a_name_changes_nothing() {
    let mut sim = three();
    sim.fault(&start(0, true));
    sim.go_on(sim.now + 2 * LEASE);
    let before = sim.views().len();
    sim.go_on(sim.now + 20 * LEASE);
    assert_eq!((sim.views().len(), &sim.broken), (before, &None), "{}", sim.story());
    let says = |place: usize| {
        let run = &sim.runs[place];
        run.standing.namesake(run.clock(sim.now)).map(str::to_owned)
    };
    assert_eq!(says(3).as_deref(), Some("n0"), "the second one says why it takes no part");
    assert!(says(0).is_some() && says(1).is_none());
    // And when the first one is gone it takes part.
    sim.runs.remove(0);
    sim.go_on(sim.now + 5 * LEASE);
    assert!(sim.agreed().is_some(), "{}", sim.story());
}

/// It was paused between the question and the answer, for so long that it knows nothing of anybody.
#[test]
fn a_late_answer_counts_nobody_out() {
    let (a, b) = (member("a", 1), member("b", 1));
    let both = view(3, &[&a, &b]);
    let mut node = Membership::new(member("a", 1));
    node.saw(0, 10, &seen(&both, &[(&b, 1)]));
    let late = node.saw(200, 5_000, &seen(&both, &[(&b, 1)]));
    assert!(!late.iter().any(|one| matches!(one, Todo::Replace(..))), "{late:?}");
    assert_eq!(node.epoch(5_000), None, "no lease comes of it");
    let dead = node.saw(5_000, 5_010, &seen(&both, &[(&b, 1)]));
    assert!(dead.iter().any(|one| matches!(one, Todo::Replace(..))), "{dead:?}");
}

/// A view that was only told of may be of a memory that is no more.
#[test]
fn nobody_takes_over_by_hearsay() {
    let a = member("a", 1);
    let mut node = Membership::new(a.clone());
    node.told(10, &view(7, &[&a]));
    assert_eq!((node.tick(9_000), node.next_tick()), (Vec::new(), None));
    let todo = node.saw(9_000, 9_010, &seen(&view(7, &[&a]), &[]));
    assert_eq!(todo, [Todo::TakeOver(7)]);
}

/// Nor is it known by hearsay since when no lease of an earlier epoch is renewed.
#[test]
fn leases_are_waited_for_since_the_memory_showed_the_view() {
    let (a, b) = (member("a", 1), member("b", 1));
    let mut node = Membership::new(a.clone());
    let view = View { silent: vec![b], ..view(7, &[&a]) };
    node.told(10, &view);
    let todo = node.saw(9_000, 9_010, &seen(&view, &[]));
    assert_eq!((todo, node.next_tick()), (Vec::new(), Some(9_010 + LEASE + LEASE / 20)));
    assert_eq!(node.tick(9_010 + LEASE + LEASE / 20), [Todo::TakeOver(7)]);
}

/// Two views of one number, of two runs of the memory: by the one no right to the other comes.
#[test]
fn a_view_of_another_run_gives_no_lease() {
    let a = member("a", 1);
    let mut node = Membership::new(a.clone());
    node.saw(0, 10, &seen(&view(7, &[&a]), &[]));
    assert_eq!(node.until(), LEASE);
    let other = Seen { run: "s".to_owned(), ..seen(&view(7, &[&a]), &[]) };
    let todo = node.saw(100, 110, &other);
    assert_eq!(node.until(), LEASE, "it is not renewed");
    let [Todo::Replace(7, next)] = todo.as_slice() else { panic!("{todo:?}") };
    assert_eq!((next.epoch, next.run.as_str(), &next.silent), (8, "s", &vec![a]));
}
