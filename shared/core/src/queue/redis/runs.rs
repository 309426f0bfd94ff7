//! Commands in a row that the script carries out as one.

use crate::queue::{BATCH_MAX, Command, check};

/// What the script does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Push,
    Pop,
    Ack,
    /// Nack, reject, release, extend.
    Settle,
    /// Any other: one command.
    Single,
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
        let (kind, items) = kind_of(command);
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

fn kind_of(command: &Command) -> (Kind, usize) {
    match command {
        Command::Push { jobs } => (Kind::Push, jobs.len().max(1)),
        Command::Pop { .. } => (Kind::Pop, 1),
        Command::Ack { receipts } => (Kind::Ack, receipts.len().max(1)),
        Command::Nack { receipts, .. }
        | Command::Reject { receipts, .. }
        | Command::Release { receipts }
        | Command::Extend { receipts, .. } => (Kind::Settle, receipts.len().max(1)),
        Command::Pause { .. }
        | Command::Resume
        | Command::Purge
        | Command::Limit { .. }
        | Command::Redrive { .. }
        | Command::PurgeDead { .. }
        | Command::GiveBack { .. } => (Kind::Single, 1),
    }
}
