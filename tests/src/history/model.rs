//! A lock as one caller after the other sees it: what L10 holds a history against.

use std::collections::{BTreeMap, BTreeSet};

use dsync_core::lock::Mode;
use porcupine_rs::Model;

use super::apart;

/// An owner label as a number.
pub(super) type Owner = usize;

/// Who holds, how and how deep.
pub(super) type Holders = BTreeMap<Owner, (Mode, u32)>;

#[derive(Debug, Clone)]
pub(super) struct Lock;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A new grant, or one entered once more.
    Granted { owner: Owner, mode: Mode, count: u32 },
    /// Others were in the way: these.
    Blocked { owner: Owner, by: BTreeSet<Owner> },
    /// No answer: it has its effect at some time, or at the end of all times.
    MaybeGranted { owner: Owner, mode: Mode },
    /// Held in another mode.
    Converted { owner: Owner, to: Mode },
    /// A conversion without an answer.
    MaybeConverted { owner: Owner, to: Mode },
    /// Given up, `remaining` levels being left.
    Released { owner: Owner, remaining: u32, all: bool },
    /// Not held at that moment.
    NotHolder { owner: Owner },
    /// A release without an answer, or a lease that may have run out.
    MaybeReleased { owner: Owner },
    /// A release of one level without an answer.
    MaybeLeft { owner: Owner },
    /// These hold, and nobody else.
    Holders(Holders),
}

fn admits(state: &Holders, mode: Mode) -> bool {
    let Mode::Permits { take, of } = mode else {
        return state.values().all(|(held, _)| !apart(*held, mode));
    };
    let mut taken = take;
    for (held, _) in state.values() {
        match held {
            Mode::Permits { take, .. } => taken += take,
            Mode::Exclusive | Mode::Shared => return false,
        }
    }
    taken <= of
}

/// The state after a grant, if there can be one.
fn granted(state: &Holders, owner: Owner, mode: Mode, count: Option<u32>) -> Option<Holders> {
    let mut next = state.clone();
    let depth = match next.get_mut(&owner) {
        Some((held, _)) if count.is_some() && *held != mode => return None,
        Some((_, depth)) => {
            *depth += 1;
            *depth
        }
        None if admits(state, mode) => {
            next.insert(owner, (mode, 1));
            1
        }
        None => return None,
    };
    count.is_none_or(|count| count == depth).then_some(next)
}

/// The state after a conversion, if there can be one.
fn converted(state: &Holders, owner: Owner, to: Mode) -> Option<Holders> {
    let alone = state.len() == 1;
    let mut next = state.clone();
    let (mode, _) = next.get_mut(&owner)?;
    if to == Mode::Exclusive && !alone {
        return None;
    }
    *mode = to;
    Some(next)
}

fn left(state: &Holders, owner: Owner, all: bool) -> Option<(Holders, u32)> {
    let mut next = state.clone();
    let (_, depth) = next.get_mut(&owner)?;
    *depth -= 1;
    let remaining = if all { 0 } else { *depth };
    if remaining == 0 {
        next.remove(&owner);
    }
    Some((next, remaining))
}

impl Model for Lock {
    type State = Holders;
    type Op = Step;
    type Metadata = ();

    fn init() -> Holders {
        Holders::new()
    }

    fn step(state: &Holders, op: &Step) -> (bool, Holders) {
        let must = |next: Option<Holders>| match next {
            Some(next) => (true, next),
            None => (false, state.clone()),
        };
        let may = |next: Option<Holders>| (true, next.unwrap_or_else(|| state.clone()));
        let sees = |seen: bool| (seen, state.clone());
        match op {
            Step::Granted { owner, mode, count } => {
                must(granted(state, *owner, *mode, Some(*count)))
            }
            Step::MaybeGranted { owner, mode } => may(granted(state, *owner, *mode, None)),
            Step::Converted { owner, to } => must(converted(state, *owner, *to)),
            Step::MaybeConverted { owner, to } => may(converted(state, *owner, *to)),
            Step::Blocked { owner, by } => {
                sees(state.keys().filter(|holder| *holder != owner).eq(by.iter()))
            }
            Step::Released { owner, remaining, all } => {
                let next = left(state, *owner, *all).filter(|(_, depth)| depth == remaining);
                must(next.map(|(next, _)| next))
            }
            Step::MaybeReleased { owner } => may(left(state, *owner, true).map(|(next, _)| next)),
            Step::MaybeLeft { owner } => may(left(state, *owner, false).map(|(next, _)| next)),
            Step::NotHolder { owner } => sees(!state.contains_key(owner)),
            Step::Holders(seen) => sees(state == seen),
        }
    }
}
