//! A script and its hash.

use redis::Cmd;

/// A Lua script, called by its hash.
#[derive(Debug, Clone)]
pub struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    /// That script.
    pub fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// The call of it.
    pub(super) fn call(&self, keys: &[Vec<u8>], args: &[Vec<u8>]) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.hash).arg(keys.len());
        for part in keys.iter().chain(args) {
            call.arg(part.as_slice());
        }
        call
    }

    /// What makes the server know it.
    pub(super) fn load(&self) -> Cmd {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.text);
        load
    }
}
