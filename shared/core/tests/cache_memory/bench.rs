//! A machine with a clock.

use dsync_core::cache::command::{By, Command, Done, Found, Query, Written};
use dsync_core::cache::machine::{Batch, MemoryMachine};
use dsync_core::cache::op::{Action, Bytes, Condition, Op, Value, tags_of};
use dsync_core::cache::view::View;
use dsync_core::lock::At;
use dsync_core::name::Name;

pub(crate) fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

pub(crate) fn value(text: &str, tags: &[&str]) -> Value {
    let tags = tags_of(tags.iter().map(|tag| name(tag)).collect());
    Value { bytes: Bytes::from(text.as_bytes()), tags }
}

pub(crate) fn set(value: Value, condition: Condition, ttl_ms: Option<u64>) -> Action {
    Action::Set { value, condition, ttl_ms }
}

pub(crate) fn by(key: &str, by: By, id: u128, action: Action) -> Command {
    let write = Written::Apply(Op { request: id, action });
    Command::Write { key: name(key), by, id, write }
}

#[derive(Debug, Default)]
pub(crate) struct Bench {
    pub(crate) machine: MemoryMachine,
    pub(crate) now: u64,
    pub(crate) limit: u64,
    index: u64,
}

impl Bench {
    /// That epoch is served.
    pub(crate) fn serving(epoch: u64) -> Self {
        let mut bench = Self::default();
        let view = View { epoch, ..View::default() };
        assert_eq!(bench.run(Command::Replace { epoch: 0, view }), Done::Is(true));
        assert_eq!(bench.run(Command::TakeOver { epoch }), Done::Is(true));
        bench
    }

    pub(crate) fn apply(&mut self, commands: Vec<Command>) -> Vec<Done> {
        self.index += 1;
        let at = At { index: self.index, term: 1, t_ms: self.now };
        self.machine.apply(at, &Batch { commands, limit: self.limit })
    }

    pub(crate) fn run(&mut self, command: Command) -> Done {
        self.apply(vec![command]).pop().unwrap()
    }

    pub(crate) fn look(&self, query: &Query) -> Found {
        self.machine.look(self.now, query)
    }

    /// The machine of its own snapshot, which must be the same.
    pub(crate) fn restored(&self) -> MemoryMachine {
        let bytes = postcard::to_stdvec(&self.machine.snapshot_ref()).unwrap();
        let machine = MemoryMachine::restore(postcard::from_bytes(&bytes).unwrap()).unwrap();
        let again = postcard::to_stdvec(&machine.snapshot_ref()).unwrap();
        assert_eq!(bytes, again, "canonical");
        machine
    }
}
