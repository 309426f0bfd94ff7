//! Precedence, and several files.

use super::{GOOD, file, problems, setting, warnings};
use crate::config::{Flag, Inputs, Key, Problem, resolve};

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn inputs() -> Inputs {
    Inputs { files: vec![file("a.env", GOOD)], host_name: "box".to_owned(), ..Inputs::default() }
}

#[test]
fn flag_environment_file_default() {
    let mut given = inputs();
    let level = |given: &Inputs| {
        let resolved = resolve(given.clone()).unwrap();
        let (value, source) = setting(&resolved, Key::LogFormat);
        (value.to_owned(), source.to_owned())
    };
    assert_eq!(level(&given), pair("text", "default"));
    given.files.push(file("b.env", "\nLOG_FORMAT=json\n"));
    assert_eq!(level(&given), pair("json", "b.env:2"));
    given.environment.push(pair("LOG_FORMAT", ""));
    assert_eq!(level(&given), pair("json", "b.env:2"), "an empty variable means unset");
    given.environment = vec![pair("LOG_FORMAT", "text"), pair("PATH", "/bin")];
    assert_eq!(level(&given), pair("text", "environment"));
    let flag = Flag { name: "--log-format", key: Key::LogFormat, value: "json".to_owned() };
    given.flags.push(flag);
    assert_eq!(level(&given), pair("json", "flag --log-format"));
}

#[test]
fn a_later_file_outdoes_an_earlier_one() {
    let mut given = inputs();
    given.files.push(file("b.env", "NODE_PORT=8009\nPEER_ADDRESSES=\n"));
    let resolved = resolve(given).unwrap();
    assert_eq!(resolved.config.port, 8009);
    assert_eq!(resolved.config.peers, Vec::<String>::new());
    assert_eq!(setting(&resolved, Key::NodePort), ("8009", "b.env:1"));
    assert_eq!(setting(&resolved, Key::NodeId), ("lock-node-1", "a.env:1"));
}

#[test]
fn the_source_of_a_bad_value_is_named() {
    let mut given = inputs();
    given.environment.push(pair("NODE_PORT", "x"));
    given.flags.push(Flag { name: "--node-type", key: Key::NodeType, value: "y".to_owned() });
    given.problems.push(Problem::new("c.env", "cannot be read", "name another"));
    assert_eq!(
        problems(&resolve(given).unwrap_err()),
        [
            "c.env: cannot be read",
            "flag --node-type: NODE_TYPE: \"y\" is not a node type",
            "environment: NODE_PORT: \"x\" is not a port, a number from 1 to 65535",
        ]
    );
}

#[test]
fn one_key_twice_in_a_file() {
    let mut given = inputs();
    given.files.push(file("b.env", "NODE_PORT=1\nLOG_LEVEL=warn\nNODE_PORT=2\nLOG_LEVEL=warn\n"));
    let refused = resolve(given).unwrap_err();
    let found = problems(&refused);
    assert_eq!(found, ["b.env:3: NODE_PORT is already in line 1, with another value"]);
    let found: Vec<String> = refused.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["b.env:4: LOG_LEVEL is already in line 2"]);
}

#[test]
fn unknown_keys_are_warnings_and_have_a_limit() {
    let mut given = inputs();
    given.files.push(file("b.env", "NODE_PROT=1\nTZ=UTC\n"));
    assert_eq!(
        warnings(&resolve(given.clone()).unwrap()),
        [
            "b.env:1: \"NODE_PROT\" is no key; did you mean NODE_PORT?",
            "b.env:2: \"TZ\" is no key of dsync and has no effect",
        ]
    );
    given.files.push(file("c.env", &"X=1\n".repeat(1_000)));
    assert_eq!(resolve(given).unwrap().warnings.len(), 50);
}

#[test]
fn a_hostile_file_name_stays_on_its_line() {
    let mut given = inputs();
    given.files.push(file("b\n\u{1b}[31m.env", "NODE_PORT=x\n"));
    let report = resolve(given).unwrap_err().to_string();
    assert!(report.contains("b\\n\\u{1b}[31m.env:1: NODE_PORT"), "{report}");
    assert_eq!(report.lines().count(), 3);
}

#[test]
fn a_machine_without_a_usable_name_must_be_told_one() {
    let mut given = inputs();
    given.host_name = "my box".to_owned();
    given.files.push(file("b.env", "NODE_HOST=0.0.0.0\n"));
    let found = problems(&resolve(given.clone()).unwrap_err());
    assert_eq!(
        found,
        ["b.env:1: NODE_HOST=0.0.0.0 is no address to dial, nor is this machine's name \"my box\""]
    );
    given.files.push(file("c.env", "NODE_ADVERTISE=10.0.0.1\n"));
    assert_eq!(resolve(given).unwrap().config.advertise, "10.0.0.1:8001");
}
