//! Tests of the configuration's parsers and rules.

mod address;
mod arbitrary;
mod dotenv;
mod files;
mod key;
mod report;
mod rules;

use super::{EnvFile, EnvLine, Inputs, Key, Refused, Resolved, resolve};

/// A `.env` file of `KEY=value` lines, without the rules of quoting.
fn file(name: &str, text: &str) -> EnvFile {
    let lines = text
        .lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let (key, value) = line.split_once('=')?;
            Some(EnvLine { number: index + 1, key: key.to_owned(), value: value.to_owned() })
        })
        .collect();
    EnvFile { name: name.to_owned(), lines }
}

/// The configuration that one such file makes.
fn read(text: &str) -> Result<Resolved, Refused> {
    resolve(Inputs {
        files: vec![file("node.env", text)],
        host_name: "box".to_owned(),
        ..Inputs::default()
    })
}

/// The same, with a good node before it.
fn node(text: &str) -> Result<Resolved, Refused> {
    read(&format!("{GOOD}{text}"))
}

const GOOD: &str = "NODE_ID=lock-node-1\nNODE_TYPE=lock\nNODE_PORT=8001\n\
                    PEER_ADDRESSES=127.0.0.1:8002,127.0.0.1:8003\n";

fn problems(refused: &Refused) -> Vec<String> {
    refused.problems.iter().map(ToString::to_string).collect()
}

fn warnings(resolved: &Resolved) -> Vec<String> {
    resolved.warnings.iter().map(ToString::to_string).collect()
}

fn setting(resolved: &Resolved, key: Key) -> (&str, &str) {
    let setting = resolved.settings.iter().find(|s| s.key == key.name()).unwrap();
    (&setting.value, &setting.source)
}
