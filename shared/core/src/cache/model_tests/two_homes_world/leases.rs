//! Leases, crashes, and the change of the view.

use super::{Act, Line, Session, Setup, World, place};

impl Setup {
    /// A lease begins or ends, or a view.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are done elsewhere")]
    pub(super) fn lease(world: &mut World, act: &Act) -> Option<()> {
        match *act {
            Act::Open(node) => {
                let epoch = world.nodes[node].epoch;
                let home = &mut world.homes[place(epoch)];
                let generation = home.generations.entry(node).or_default();
                *generation += 1;
                let session = Session { epoch, generation: *generation };
                if let Some(before) = home.sessions.insert(node, session) {
                    Self::home(world, epoch, |entry, _, _| entry.session_over(&node, before));
                }
                (world.nodes[node].session, world.nodes[node].live) = (Some(session), true);
            }
            Act::OwnOver(node) => {
                let moved = world.view > world.nodes[node].epoch;
                world.used.lapses += u8::from(!moved);
                world.nodes[node].own = false;
            }
            Act::OwnBack(node) => world.nodes[node].own = true,
            Act::Lapse(node) => {
                world.used.lapses += 1;
                world.nodes[node].live = false;
            }
            Act::Renewed(node) => world.nodes[node].live = true,
            Act::Over(node) => (world.nodes[node].session, world.nodes[node].live) = (None, false),
            Act::CountedOut(node) => {
                for epoch in 1..=2 {
                    let at = &world.nodes[node];
                    let known = world.home(epoch).sessions.get(&node).copied();
                    let over = known.filter(|known| at.session != Some(*known) || !at.live);
                    if let Some(session) = over {
                        world.homes[place(epoch)].sessions.remove(&node);
                        Self::home(world, epoch, |entry, _, _| entry.session_over(&node, session));
                    }
                }
            }
            Act::Crash(node) => {
                world.used.crashes += 1;
                let at = &mut world.nodes[node];
                (at.session, at.live, at.own, at.new) = (None, false, false, true);
                (at.line, at.asked) = (Line::default(), None);
                at.readers.clear();
                for epoch in 1..=2 {
                    if world.home(epoch).host == node && at_home(world, epoch) {
                        world.end_home(epoch);
                    }
                }
            }
            Act::Change => {
                world.used.views += 1;
                world.view = 2;
            }
            Act::Adopt(node) => {
                let at = &mut world.nodes[node];
                (at.session, at.live, at.epoch) = (None, false, 2);
                (at.own, at.new) = (true, false);
                if world.home(1).host == node {
                    world.end_home(1);
                }
            }
            Act::Ready => {
                world.memory.gate.take_over(2);
                world.homes[1].serving = true;
            }
            _ => return None,
        }
        Some(())
    }
}

/// The node that would be the home acts by that epoch.
fn at_home(world: &World, epoch: u64) -> bool {
    world.nodes[world.home(epoch).host].epoch == epoch
}
