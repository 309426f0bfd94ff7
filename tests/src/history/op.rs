//! What clients ask and what they are told, request by request.

use std::fmt;

use dsync_core::lock::Mode;

use super::Us;

/// One lock that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its name.
    pub lock: String,
    /// How it is to be held.
    pub mode: Mode,
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// To hold one lock, or several at once.
    Acquire(Vec<Want>),
    /// To hold a grant in another mode.
    Convert {
        /// The lock.
        lock: String,
        /// The grant's token.
        token: u64,
        /// The mode.
        to: Mode,
    },
    /// To give a grant up.
    Release {
        /// The lock.
        lock: String,
        /// Its token.
        token: u64,
        /// Every level of it, not one.
        all: bool,
    },
    /// To see who holds and who waits.
    Get {
        /// The lock.
        lock: String,
    },
}

/// One lock that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The lock.
    pub lock: String,
    /// How it is held.
    pub mode: Mode,
    /// The token.
    pub token: u64,
    /// Times that the owner has entered.
    pub count: u32,
}

/// A holder as a reader saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Owner label.
    pub owner: String,
    /// How it holds.
    pub mode: Mode,
    /// Times entered.
    pub count: u32,
}

/// One step of a cycle as it was reported: `waiter` waits for `lock`, where `holder` is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Owner label of who waits.
    pub waiter: String,
    /// For what.
    pub lock: String,
    /// Owner label of who has it or is ahead.
    pub holder: String,
}

/// What it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It holds, under these tokens. Of a conversion too.
    Granted(Vec<Granted>),
    /// It does not hold: these were in the way at that moment.
    WouldBlock(Vec<String>),
    /// It does not hold: its wait was over.
    Timeout,
    /// It does not hold, or no more: it was withdrawn.
    Cancelled,
    /// It does not hold: this cycle would have closed.
    Deadlock(Vec<Edge>),
    /// It does not hold for another reason, or there is no answer yet.
    NotGranted,
    /// It waits: only as the answer to a repetition.
    Waits,
    /// It holds no more, or less deep.
    Released {
        /// Levels left.
        remaining: u32,
    },
    /// It did not hold when it wanted to release or convert.
    NotHolder,
    /// Who holds, and the owner labels of who waits.
    Holders(Vec<Seen>, Vec<String>),
    /// The answer got lost, and repeating the request did not bring it back.
    Unknown,
}

/// One request of one client, its repetitions included.
#[derive(Debug, Clone)]
pub struct Op {
    /// The client.
    pub client: u32,
    /// Its session.
    pub session: u64,
    /// Names the request; repetitions carry the same.
    pub request: u64,
    /// Owner label, one per round of a client, so that whoever holds can be told by it.
    pub owner: String,
    /// When it was first sent.
    pub called: Us,
    /// When the client first learnt that it waits in the queue.
    pub queued: Option<Us>,
    /// When the client first asked to withdraw it.
    pub withdrawn: Option<Us>,
    /// When the answer was there; `None`: never.
    pub returned: Option<Us>,
    /// What was asked.
    pub action: Action,
    /// What was answered.
    pub answer: Answer,
    /// What repetitions were told after the answer.
    pub again: Vec<Answer>,
}

impl Op {
    /// What it was granted.
    pub fn granted(&self) -> &[Granted] {
        if let Answer::Granted(grants) = &self.answer { grants } else { &[] }
    }

    /// What it was granted that it did not hold before, so under tokens of its own.
    pub fn fresh(&self) -> impl Iterator<Item = &Granted> {
        self.granted().iter().filter(|grant| match &self.action {
            Action::Acquire(_) => grant.count == 1,
            // Up is a new grant, down is the old one.
            Action::Convert { to, .. } => *to == Mode::Exclusive,
            Action::Release { .. } | Action::Get { .. } => false,
        })
    }

    /// What it waits for, with how.
    pub fn wants(&self) -> impl Iterator<Item = (&str, Mode)> {
        let (group, one) = match &self.action {
            Action::Acquire(wants) => (wants.as_slice(), None),
            Action::Convert { lock, to, .. } => (&[][..], Some((lock.as_str(), *to))),
            Action::Release { .. } | Action::Get { .. } => (&[][..], None),
        };
        group.iter().map(|want| (want.lock.as_str(), want.mode)).chain(one)
    }

    /// True when it asks for several locks at once.
    pub fn is_group(&self) -> bool {
        matches!(&self.action, Action::Acquire(wants) if wants.len() > 1)
    }

    /// True when it changes how a grant is held.
    pub fn is_conversion(&self) -> bool {
        matches!(self.action, Action::Convert { .. })
    }

    /// True when its client was told for good that it does not get what it asked for.
    pub fn was_refused(&self) -> bool {
        matches!(
            self.answer,
            Answer::WouldBlock(_) | Answer::Timeout | Answer::Cancelled | Answer::Deadlock(_)
        )
    }

    /// When it was over; one whose end nobody knows is never over.
    pub fn over(&self) -> Us {
        let known = self.returned.filter(|_| self.answer != Answer::Unknown);
        known.unwrap_or(Us::MAX)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (request {} at {} µs)", self.owner, self.request, self.called)
    }
}

/// True when the two can never be held together, or not in these numbers.
pub fn apart(a: Mode, b: Mode) -> bool {
    match (a, b) {
        (Mode::Shared, Mode::Shared) => false,
        (Mode::Permits { take: a, of }, Mode::Permits { take: b, .. }) => a + b > of,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_together() {
        let permits = |take| Mode::Permits { take, of: 3 };
        assert!(!apart(Mode::Shared, Mode::Shared) && !apart(permits(1), permits(2)));
        assert!(apart(permits(2), permits(2)) && apart(permits(1), Mode::Shared));
        assert!(apart(Mode::Exclusive, Mode::Shared) && apart(permits(1), Mode::Exclusive));
    }
}
