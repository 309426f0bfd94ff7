//! The machine and the scripts, asked the same.

use dsync_core::cache::command::{Ask, Done, Found, Query, Told};
use dsync_core::cache::machine::{Batch, MemoryMachine};
use dsync_core::cache::op::Key;
use dsync_core::cache::redis::{COMMANDS, READS, decode, encode};
use dsync_core::cache::view::Seen;
use dsync_core::lock::At;
use redis::{Connection, Value};

use super::random::Now;
use crate::process::Redis;
use crate::queue::scripts::{evalsha, reply};

/// Both, with the machine's clock.
pub struct Twins {
    /// The machine.
    pub machine: MemoryMachine,
    /// Its time.
    pub now_ms: u64,
    connection: Connection,
    commands: String,
    reads: String,
    index: u64,
}

impl std::fmt::Debug for Twins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twins").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Twins {
    /// With nothing in them.
    pub fn new(server: &Redis) -> Self {
        Self::with(server, COMMANDS)
    }

    /// With another script of commands.
    pub fn with(server: &Redis, commands: &str) -> Self {
        let mut connection = server.connection();
        let mut load = |source: &str| -> String {
            let loaded = redis::cmd("SCRIPT").arg("LOAD").arg(source).query(&mut connection);
            loaded.unwrap_or_else(|error| panic!("the script does not compile: {error}"))
        };
        let (commands, reads) = (load(commands), load(READS));
        let machine = MemoryMachine::new();
        let mut twins = Self { machine, now_ms: 1_000, connection, commands, reads, index: 0 };
        twins.begin();
        twins
    }

    /// Empties both.
    pub fn begin(&mut self) {
        redis::cmd("FLUSHDB").exec(&mut self.connection).expect("Redis is there");
        self.machine = MemoryMachine::new();
    }

    /// The connection, for commands of Redis itself.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// What the machine has.
    pub fn now(&self) -> Now {
        Now { epoch: self.machine.view().epoch, serving: self.machine.serving() }
    }

    /// The version of a key at the machine.
    pub fn version(&self, key: &Key) -> u64 {
        match self.machine.look(self.now_ms, &Query::Get(key.clone())) {
            Found::Item { item, .. } => item.version,
            Found::Keys { .. } | Found::Size(_) => 0,
        }
    }

    /// What the scripts say.
    ///
    /// # Errors
    /// What Redis or the decoder said.
    pub fn redis(&mut self, ask: &Ask) -> Result<Told, String> {
        let sha = if matches!(ask, Ask::Look(_)) { &self.reads } else { &self.commands };
        let value: Result<Value, _> = evalsha(sha, &encode(ask)).query(&mut self.connection);
        decode(ask, "r", reply(value.map_err(|error| format!("{ask:?}: {error}"))?))
    }

    /// What the machine says.
    pub fn machine(&mut self, ask: &Ask) -> Told {
        match ask {
            Ask::Do(command) => {
                self.index += 1;
                let at = At { index: self.index, term: 1, t_ms: self.now_ms };
                let batch = Batch { commands: vec![command.clone()], limit: 0 };
                let done = self.machine.apply(at, &batch).pop();
                Told::Done(done.expect("one answer per command"))
            }
            Ask::Look(query) => Told::Found(self.machine.look(self.now_ms, query)),
            Ask::Live(_) => Told::Seen(Seen {
                view: self.machine.view().clone(),
                serving: self.machine.serving(),
                run: "r".to_owned(),
                beats: Vec::new(),
            }),
        }
    }

    /// What both say.
    ///
    /// # Errors
    /// They do not say the same.
    pub fn ask(&mut self, ask: &Ask) -> Result<Told, String> {
        let (ours, theirs) = (self.machine(ask), self.redis(ask)?);
        if comparable(ours.clone()) == comparable(theirs.clone()) {
            return Ok(ours);
        }
        Err(format!("{ask:?}:\nthe machine: {ours:?}\nRedis: {theirs:?}"))
    }
}

/// Times to the hour, without what is counted otherwise. Values as they are: their bytes are not
/// shown.
fn comparable(mut told: Told) -> (Told, Option<Vec<u8>>) {
    let hours = |ttl: &mut Option<u64>| *ttl = ttl.map(|ms| (ms + 1_800_000) / 3_600_000);
    let mut bytes = None;
    match &mut told {
        Told::Done(Done::Written { item, ttl_ms, .. })
        | Told::Found(Found::Item { item, ttl_ms }) => {
            hours(ttl_ms);
            bytes = item.value.as_ref().map(|value| value.bytes.as_slice().to_vec());
        }
        Told::Found(Found::Keys { keys, .. }) => {
            for key in keys {
                hours(&mut key.ttl_ms);
            }
        }
        Told::Found(Found::Size(size)) => (size.bytes, size.limit) = (0, 0),
        Told::Seen(seen) => seen.beats.clear(),
        Told::Done(_) => {}
    }
    (told, bytes)
}
