//! Commands in a row that the script carries out as one.

use crate::queue::{BATCH_MAX, Command, check};

/// What the script does at once, in the order that is best for the commands of a call: those that
/// bring jobs before those that take them, and all of a kind side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Push.
    Push,
    /// Ack.
    Ack,
    /// Nack, reject, release, extend.
    Settle,
    /// Any other: one command.
    Single,
    /// Pop.
    Pop,
}

/// A run: the places of its commands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) kind: Kind,
    pub(super) places: Vec<usize>,
}

/// The runs of those commands that break no rule, in order.
pub(super) fn runs(commands: &[Command]) -> Vec<Run> {
    let mut all: Vec<Run> = Vec::new();
    let mut size = 0;
    for (place, command) in commands.iter().enumerate() {
        if check(command).is_err() {
            continue;
        }
        let (kind, items) = (Kind::of(command), command.items().max(1));
        match all.last_mut() {
            Some(run) if run.kind == kind && kind != Kind::Single && size + items <= BATCH_MAX => {
                size += items;
                run.places.push(place);
            }
            _ => {
                size = items;
                all.push(Run { kind, places: vec![place] });
            }
        }
    }
    all
}

impl Kind {
    /// The kind of a command.
    pub const fn of(command: &Command) -> Self {
        match command {
            Command::Push { .. } => Self::Push,
            Command::Pop { .. } => Self::Pop,
            Command::Ack { .. } => Self::Ack,
            Command::Nack { .. }
            | Command::Reject { .. }
            | Command::Release { .. }
            | Command::Extend { .. } => Self::Settle,
            Command::Pause { .. }
            | Command::Resume
            | Command::Purge
            | Command::Delete
            | Command::Limit { .. }
            | Command::Redrive { .. }
            | Command::PurgeDead { .. }
            | Command::GiveBack { .. } => Self::Single,
        }
    }
}
