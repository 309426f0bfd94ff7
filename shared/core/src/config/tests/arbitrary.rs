//! Whatever is given, an answer comes back and it is of bounded size.

use proptest::prelude::*;

use crate::config::address::parse_list;
use crate::config::{Address, EnvFile, EnvLine, Flag, Inputs, Key, dotenv, resolve};

fn key() -> impl Strategy<Value = Key> {
    prop::sample::select(Key::ALL.to_vec())
}

/// Values that come near to being good, and values that do not.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9]{1,6}",
        "(lock|queue|cache|auto|raft|redis|json|info|true|)",
        "(http://)?[a-z0-9.\\[\\]:-]{0,12}:[0-9]{1,5}/?",
        "([a-z]{1,3}:[0-9]{1,4},? ?){0,70}",
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_a_file(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let (lines, problems) = dotenv::prepare("x", &bytes);
        prop_assert!(problems.len() <= 21);
        for line in lines {
            prop_assert!(!line.text.chars().any(|c| c.is_control() && c != '\t'));
            prop_assert!(line.text.ends_with('"'));
        }
    }

    #[test]
    fn any_text_is_a_line(text in "(export )?[A-Z_]{0,5} ?=? ?[\"'\\\\$# a-z\u{a0}\t]{0,12}") {
        let (lines, problems) = dotenv::prepare("x", text.as_bytes());
        prop_assert!(lines.len() + problems.len() <= 1);
    }

    #[test]
    fn any_text_is_a_list(text in any::<String>()) {
        if let Ok(list) = parse_list(&text) {
            prop_assert!(list.len() <= 64);
        }
    }

    #[test]
    fn an_address_reads_what_it_prints(text in value()) {
        if let Ok(address) = Address::parse(&text) {
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }
    }

    #[test]
    fn any_values_resolve(
        lines in prop::collection::vec((key(), value()), 0..30),
        environment in prop::collection::vec((key(), value()), 0..5),
        flags in prop::collection::vec((key(), value()), 0..3),
        host_name in any::<String>(),
    ) {
        let lines: Vec<EnvLine> = lines
            .into_iter()
            .enumerate()
            .map(|(i, (key, value))| EnvLine { number: i + 1, key: key.name().to_owned(), value })
            .collect();
        let inputs = Inputs {
            flags: flags
                .into_iter()
                .map(|(key, value)| Flag { name: "--flag", key, value })
                .collect(),
            environment: environment
                .into_iter()
                .map(|(key, value)| (key.name().to_owned(), value))
                .collect(),
            files: vec![EnvFile { name: "x".to_owned(), lines }],
            problems: Vec::new(),
            host_name,
        };
        match resolve(inputs) {
            Ok(resolved) => {
                prop_assert_eq!(resolved.settings.len(), Key::ALL.len());
                let config = resolved.config;
                prop_assert!(config.port > 0 && !config.peers.contains(&config.advertise));
                prop_assert!(config.timers.heartbeat_ms * 2 <= config.timers.election_min_ms);
                prop_assert!(config.timers.election_min_ms < config.timers.election_max_ms);
                for address in config.peers.iter().chain(&config.cluster).chain([&config.advertise]) {
                    prop_assert!(Address::parse(address).is_ok(), "{}", address);
                }
            }
            Err(refused) => {
                prop_assert!(!refused.problems.is_empty());
                prop_assert!(!refused.to_string().chars().any(|c| c.is_control() && c != '\n'));
            }
        }
    }
}
