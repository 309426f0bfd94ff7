//! The queue's scripts on a connection that blocks.

use dsync_core::name::Name;
use dsync_core::queue::redis::{
    COMMANDS, Call, Done, READS, Reply, decode, decode_query, encode, encode_query,
};
use dsync_core::queue::{Command, Query, Seen};
use redis::{Connection, Value};

use crate::process::Redis;

/// A connection on which both scripts are loaded.
pub struct Scripts {
    connection: Connection,
    commands: String,
    reads: String,
}

impl std::fmt::Debug for Scripts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripts").finish_non_exhaustive()
    }
}

impl Scripts {
    /// Loads the scripts.
    pub fn load(server: &Redis) -> Self {
        Self::load_these(server, COMMANDS)
    }

    /// Loads another script of commands.
    pub fn load_these(server: &Redis, commands: &str) -> Self {
        let mut connection = server.connection();
        let mut load = |source: &str| -> String {
            let loaded = redis::cmd("SCRIPT").arg("LOAD").arg(source).query(&mut connection);
            loaded.unwrap_or_else(|error| panic!("the script does not compile: {error}"))
        };
        let (commands, reads) = (load(commands), load(READS));
        Self { connection, commands, reads }
    }

    /// The connection, for commands of Redis itself.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Carries commands out.
    ///
    /// # Errors
    /// What Redis or the decoder said.
    pub fn run(
        &mut self,
        queue: &Name,
        commands: &[Command],
        now: Option<u64>,
    ) -> Result<Done, String> {
        let call = encode(queue, commands, now);
        let value: Value = evalsha(&self.commands, &call)
            .query(&mut self.connection)
            .map_err(|error| format!("{commands:?}: {error}"))?;
        decode(commands, reply(value))
    }

    /// Answers reads, all in one round trip.
    ///
    /// # Errors
    /// As of [`run`](Self::run).
    pub fn ask(&mut self, queries: &[Query], now: Option<u64>) -> Result<Vec<Seen>, String> {
        let mut pipe = redis::pipe();
        let mut counts = Vec::new();
        for query in queries {
            let calls = encode_query(query, now);
            counts.push(calls.len());
            for call in &calls {
                pipe.add_command(evalsha(&self.reads, call));
            }
        }
        let values: Vec<Value> =
            pipe.query(&mut self.connection).map_err(|error| format!("{queries:?}: {error}"))?;
        let mut replies = values.into_iter().map(reply);
        let answers = queries.iter().zip(counts);
        answers
            .map(|(query, count)| decode_query(query, replies.by_ref().take(count).collect()))
            .collect()
    }
}

/// A call as the redis crate sends it.
pub fn evalsha(sha: &str, call: &Call) -> redis::Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(sha).arg(call.keys.len());
    for bytes in call.keys.iter().chain(&call.args) {
        command.arg(bytes.as_slice());
    }
    command
}

/// An answer of the redis crate.
pub fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes),
        Value::SimpleString(text) => Reply::Bytes(text.into_bytes()),
        Value::Okay => Reply::Bytes(b"OK".to_vec()),
        Value::Array(list) => Reply::List(list.into_iter().map(reply).collect()),
        other => panic!("no script answers {other:?}"),
    }
}
