//! The whole state as a value: equal states give equal bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::deadlines::{Deadlines, Due};
use super::machine::LockMachine;
use super::state::{Standing, State};
use crate::fault::{Code, Fault};

/// Version of the snapshot's format.
pub const SNAPSHOT_VERSION: u16 = 1;

/// The state at one log index.
///
/// Canonical: two machines in the same state have snapshots with the same bytes, so that a hash
/// of them can be compared between nodes. What follows from the rest is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    version: u16,
    pub(super) state: State,
}

/// The same bytes as [`Snapshot`], without a copy of the state.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SnapshotRef<'a> {
    version: u16,
    state: &'a State,
}

impl LockMachine {
    /// A copy of the state: equal for equal states.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { version: SNAPSHOT_VERSION, state: self.state.canonical() }
    }

    /// The state, to be serialized in place.
    pub fn snapshot_ref(&self) -> SnapshotRef<'_> {
        SnapshotRef { version: SNAPSHOT_VERSION, state: &self.state }
    }

    /// The machine that gave this snapshot.
    ///
    /// # Errors
    /// `Incompatible` for another format, `Internal` for a state that cannot be: the message says
    /// what is wrong with it.
    pub fn restore(snapshot: Snapshot) -> Result<Self, Fault> {
        let Snapshot { version, state } = snapshot;
        if version != SNAPSHOT_VERSION {
            let message = format!("lock snapshot has format {version}, not {SNAPSHOT_VERSION}");
            return Err(Fault::new(Code::Incompatible, message)
                .hint("use a snapshot taken by this version of dsd, or that version of dsd"));
        }
        consistent(&state)?;
        let mut machine = Self { state, ..Self::default() };
        machine.reindex();
        Ok(machine)
    }

    /// Rebuilds what follows from the state.
    pub(super) fn reindex(&mut self) {
        let mut deadlines = Deadlines::default();
        self.state.remembered.reindex();
        for (id, session) in &self.state.sessions {
            deadlines.add(session.expires_at_ms, Due::Session(*id));
        }
        for (name, lock) in &mut self.state.locks {
            for (token, held) in &lock.holders {
                lock.occupancy.add(held.mode);
                if let Some(until) = held.hold_until_ms {
                    deadlines.add(until, Due::Hold(name.clone(), *token));
                }
                if let Some(wound) = &held.wound {
                    deadlines.add(wound.until_ms, Due::Wound(name.clone(), *token));
                }
                if let Some(session) = self.state.sessions.get_mut(&held.session) {
                    session.note_grant(&held.owner, name, *token);
                }
            }
            for (token, lost) in &lock.lost {
                lock.occupancy.add(lost.mode);
                deadlines.add(lost.until_ms, Due::Delay(name.clone(), *token));
            }
            let users = lock.holders.values().map(|h| h.mode);
            let users: Vec<_> = users.chain(lock.lost.values().map(|l| l.mode)).collect();
            for mode in users {
                lock.count_user(mode);
            }
            self.grants += lock.holders.len();
            lock.refresh_run();
        }
        self.deadlines = deadlines;
        let tickets = std::mem::take(&mut self.state.tickets);
        for (id, ticket) in &tickets {
            self.index_ticket(*id, ticket);
        }
        self.state.tickets = tickets;
    }
}

/// Checks that whatever is referred to is there.
fn consistent(state: &State) -> Result<(), Fault> {
    let wrong = |what: String| {
        Fault::new(Code::Internal, format!("lock snapshot is inconsistent: {what}"))
            .hint("take another snapshot; this one was altered or is of a faulty node")
    };
    let mut owners = BTreeMap::new();
    for (name, lock) in &state.locks {
        for (token, held) in &lock.holders {
            if !state.sessions.contains_key(&held.session) {
                let session = held.session.0;
                return Err(wrong(format!("lock {name} is held by session {session}, not there")));
            }
            if *token > state.last_token {
                return Err(wrong(format!("token {} was never given out", token.0)));
            }
            if owners.insert((held.session, &held.owner, name), token).is_some() {
                return Err(wrong(format!("{} holds lock {name} twice", held.owner)));
            }
        }
    }
    let mut waiting = BTreeMap::new();
    for (id, ticket) in &state.tickets {
        if !state.sessions.contains_key(&ticket.session) || *id > state.last_ticket {
            return Err(wrong(format!("ticket {} has no session", id.0)));
        }
        if waiting.insert((ticket.session, &ticket.owner), id).is_some() {
            return Err(wrong(format!("{} waits twice", ticket.owner)));
        }
        let leans = |w: &super::state::TicketWant| {
            w.standing == Standing::Queued
                || owners.contains_key(&(ticket.session, &ticket.owner, &w.want.lock))
        };
        if !ticket.wants.iter().all(leans) {
            return Err(wrong(format!("ticket {} counts on a grant that is not there", id.0)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{
        At, Batch, Command, Mode, Outcome, Policy, Request, RequestKey, SessionId, Settings, Token,
        Want,
    };
    use crate::name::Name;

    /// One session that holds `x`, and another owner of it that waits.
    fn machine() -> LockMachine {
        let name = |text| Name::parse("name", text).unwrap();
        let acquire = |owner| Command::Acquire {
            wants: vec![Want { lock: name("x"), mode: Mode::Exclusive }],
            owner: name(owner),
            wait_ms: 1_000,
            policy: Policy::Detect,
            age: 0,
            max_hold_ms: 0,
        };
        let open = Command::OpenSession {
            ttl_ms: 15_000,
            owner: name("ci"),
            meta: String::new(),
            ephemeral: false,
        };
        let key = |seq| RequestKey::Session { session: SessionId(1), seq };
        let requests = vec![(RequestKey::Detached(1), open), (key(1), acquire("a"))];
        let requests = requests.into_iter().chain([(key(2), acquire("b"))]);
        let requests =
            requests.map(|(key, command)| Request { key, first_outstanding: 0, command }).collect();
        let mut machine = LockMachine::new();
        let at = At { index: 1, term: 1, t_ms: 0 };
        machine.apply(at, &Batch { requests, ..Batch::default() });
        machine
    }

    #[test]
    fn another_format_is_refused() {
        let mut snapshot = machine().snapshot();
        snapshot.version += 1;
        let fault = LockMachine::restore(snapshot).unwrap_err();
        assert_eq!(fault.code, Code::Incompatible);
        assert_eq!(fault.message, "lock snapshot has format 2, not 1");
    }

    #[test]
    fn a_state_that_cannot_be_is_refused() {
        type Harm = fn(&mut State);
        let harms: [(Harm, &str); 4] = [
            (|state| state.sessions.clear(), "held by session 1, not there"),
            (|state| state.last_token = Token(0), "never given out"),
            (|state| state.last_ticket.0 = 0, "has no session"),
            (
                |state| {
                    let ticket = state.tickets.values_mut().next().unwrap();
                    ticket.wants[0].standing = Standing::Held;
                },
                "counts on a grant",
            ),
        ];
        for (harm, what) in harms {
            let mut snapshot = machine().snapshot();
            harm(&mut snapshot.state);
            let fault = LockMachine::restore(snapshot).unwrap_err();
            assert!(fault.code == Code::Internal && fault.message.contains(what), "{fault}");
        }
        assert_eq!(LockMachine::restore(machine().snapshot()), Ok(machine()));
    }

    /// Opens a session and takes a lock in it; gives the session and the token.
    fn grant(machine: &mut LockMachine, index: u64, key: u128) -> (SessionId, Token) {
        let owner = Name::parse("owner", "o").unwrap();
        let mut carry_out = |index: u64, key, command| {
            let request = Request { key, first_outstanding: 0, command };
            let settings = Settings::default();
            let batch = Batch { settings, requests: vec![request], ..Batch::default() };
            machine.apply(At { index, term: 1, t_ms: index }, &batch).outcomes.remove(0)
        };
        let open = Command::OpenSession {
            ttl_ms: 15_000,
            owner: owner.clone(),
            meta: String::new(),
            ephemeral: false,
        };
        let opened = carry_out(index, RequestKey::Detached(key), open);
        let Outcome::SessionOpened { session, .. } = opened else { panic!("{opened:?}") };
        let lock = Name::parse("lock", &format!("l{key}")).unwrap();
        let acquire = Command::Acquire {
            wants: vec![Want { lock, mode: Mode::Exclusive }],
            owner,
            wait_ms: 0,
            policy: Policy::Detect,
            age: 0,
            max_hold_ms: 0,
        };
        let granted = carry_out(index + 1, RequestKey::Session { session, seq: 1 }, acquire);
        let Outcome::Granted(grants) = granted else { panic!("{granted:?}") };
        (session, grants[0].token)
    }

    #[test]
    fn one_backup_restored_twice_gives_no_token_and_no_session_twice() {
        let mut machine = LockMachine::new();
        let mut given = vec![grant(&mut machine, 1, 1)];
        let backup = machine.snapshot();
        for round in 1..4 {
            given.push(grant(&mut machine, round * 10, u128::from(round) + 1));
            let restored = backup.clone().restored_from_backup(&machine).unwrap();
            machine = LockMachine::restore(restored).unwrap();
            given.push(grant(&mut machine, round * 10 + 5, u128::from(round) + 100));
        }
        assert!(given.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1), "{given:?}");
    }
}
