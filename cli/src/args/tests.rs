use clap::{Command, CommandFactory as _, Parser as _};

use super::Cli;
use crate::app::usage_failure;

/// Every command with its words, parents first.
fn all(command: &Command, words: &str, found: &mut Vec<(String, Command)>) {
    found.push((words.to_owned(), command.clone()));
    for sub in command.get_subcommands() {
        all(sub, &format!("{words} {}", sub.get_name()), found);
    }
}

fn commands() -> Vec<(String, Command)> {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut found = Vec::new();
    all(&root, "dsctl", &mut found);
    found
}

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_help_is_as_recorded_and_begins_with_an_example() {
    for (words, mut command) in commands() {
        let help = command.render_long_help().to_string();
        assert!(help.starts_with("Example:\n  dsctl "), "{words}: {help}");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(words.replace(' ', "-"), help);
        });
    }
}

#[test]
fn every_example_is_accepted() {
    let mut checked = 0;
    for (words, command) in commands() {
        let text = command.get_before_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("dsctl ")) {
            // What a shell would do with the rest of the line is not ours.
            let own = line.split(['|', '>']).next().unwrap().replace("'host is gone'", "gone");
            let parsed = Cli::try_parse_from(own.split_whitespace());
            assert!(parsed.is_ok(), "{words}: {own}: {}", parsed.unwrap_err());
            checked += 1;
        }
    }
    assert!(checked >= 30, "only {checked} examples found");
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    let before = Cli::try_parse_from(["dsctl", "-o", "json", "--timeout", "2s", "raft", "leader"]);
    let after = Cli::try_parse_from(["dsctl", "raft", "leader", "--timeout", "2s", "-ojson"]);
    for parsed in [before, after] {
        let global = parsed.unwrap().global;
        assert_eq!(global.output, Some(super::Format::Json));
        assert_eq!(global.timeout, Some(std::time::Duration::from_secs(2)));
    }
}

#[test]
fn what_follows_the_dashes_belongs_to_the_command() {
    let words = ["dsctl", "lock", "run", "a", "b", "--wait", "1s", "--", "sh", "-o", "json", "--"];
    let parsed = Cli::try_parse_from(words).unwrap();
    let super::Command::Lock(super::Lock::Run(run)) = parsed.command else { panic!("no run") };
    assert_eq!(run.names.len(), 2);
    assert_eq!(run.command, ["sh", "-o", "json", "--"]);
    assert_eq!(parsed.global.output, None);
}

/// Arguments that are refused; the recorded text is what the user reads.
const BAD: &[&[&str]] = &[
    &[],
    &["lock"],
    &["lok", "list"],
    &["lock", "acquire"],
    &["lock", "acquire", ""],
    &["lock", "acquire", "a\nb"],
    &["lock", "acquire", "a", "--ttl", "0"],
    &["lock", "acquire", "a", "--ttl", "-1s"],
    &["lock", "acquire", "a", "--ttl", "1e18s"],
    &["lock", "acquire", "a", "--ttl", "NaN"],
    &["lock", "acquire", "a", "--wait", "-1s"],
    &["queue", "pop", "q", "--wait", "-1s"],
    &["queue", "push", "q", "x", "--max-attempts", "-1"],
    &["queue", "limit", "q", "--max-jobs", "-1"],
    &["queue", "work", "q", "--max-jobs", "-1", "--", "true"],
    &["raft", "probe", "--role", "redis"],
    &["lock", "acquire", "a", "--ttl", "30"],
    &["lock", "acquire", "a", "--wait", "5s", "--no-wait"],
    &["lock", "acquire", "a", "--shared", "--permits", "1/2"],
    &["lock", "acquire", "a", "--permits", "3/2"],
    &["lock", "acquire", "a", "--policy", "hope"],
    &["lock", "acquire", "a", "--tll", "30s"],
    &["lock", "release", "a", "--token", "0"],
    &["lock", "release", "a", "--token", "1", "--owner", "b"],
    &["lock", "renew", "a"],
    &["lock", "run", "a"],
    &["lock", "run", "--", "true"],
    &["lock", "force-release", "a", "--token", "1"],
    &["lock", "force-release", "a", "--token", "1", "--reason", " "],
    &["queue", "push"],
    &["queue", "push", "a\nb", "x"],
    &["queue", "push", "q", "x", "--priority", "10"],
    &["queue", "push", "q", "x", "--priority", "-1"],
    &["queue", "push", "q", "x", "--delay", "-1s"],
    &["queue", "push", "q", "x", "--delay", "31d"],
    &["queue", "push", "q", "x", "--delay", "1s", "--at", "0"],
    &["queue", "push", "q", "x", "--at", "tomorrow"],
    &["queue", "push", "q", "x", "--ttl", "0"],
    &["queue", "push", "q", "x", "--id", "a b"],
    &["queue", "push", "q", "x", "--id", "a", "--jsonl"],
    &["queue", "push", "q", "x", "--header", "lang"],
    &["queue", "push", "q", "x", "--durability", "hope"],
    &["queue", "pop", "q", "-n", "0"],
    &["queue", "pop", "q", "-n", "1001"],
    &["queue", "pop", "q", "--lease", "99ms"],
    &["queue", "pop", "q", "--lease", "25h"],
    &["queue", "pop", "q", "--ack", "--lease", "1m"],
    &["queue", "ack", "q"],
    &["queue", "ack", "q", "order-17"],
    &["queue", "nack", "q", "a:1", "--delay", "-1s"],
    &["queue", "extend", "q", "a:1"],
    &["queue", "work", "q"],
    &["queue", "work", "q", "--concurrency", "0", "--", "true"],
    &["queue", "peek", "q", "--state", "lost"],
    &["queue", "purge", "q"],
    &["queue", "limit", "q", "--rate", "-1"],
    &["queue", "dlq", "redrive", "q", "a", "--all"],
    &["bench", "queue", "--batch", "1001"],
    &["cache", "get"],
    &["cache", "get", "k", "--max-stale", "0"],
    &["cache", "set", "a\nb", "x"],
    &["cache", "set", "k", "x", "--ttl", "0"],
    &["cache", "set", "k", "x", "--ttl", "-1s"],
    &["cache", "set", "k", "x", "--ttl", "1us"],
    &["cache", "set", "k", "x", "--if-version", "seven"],
    &["cache", "set", "k", "x", "--if-version", "-1"],
    &["cache", "set", "k", "x", "--nx", "--xx"],
    &["cache", "set", "k", "x", "--nx", "--if-version", "1"],
    &["cache", "set", "k", "x", "--tag", ""],
    &["cache", "del"],
    &["cache", "incr", "k", "1.5"],
    &["cache", "mset", "k"],
    &["cache", "mset", "=v"],
    &["cache", "invalidate"],
    &["cache", "invalidate", "--prefix", "p", "--tag", "t"],
    &["cache", "invalidate", "--all", "--tag", "t"],
    &["cache", "keys", "--prefix", "p", "--tag", "t"],
    &["cache", "keys", "--limit", "0"],
    &["cache", "stats", "--interval", "1s"],
    &["bench", "cache", "--batch", "257"],
    &["bench", "cache", "--reads", "101"],
    &["raft", "leader", "-o", "xml"],
    &["raft", "leader", "--request-id", "zz"],
    &["raft", "probe", "--count", "0"],
    &["cluster", "wait"],
    &["cluster", "wait", "--for", "rain"],
    &["cluster", "wait", "--for", "nodes=0"],
    &["bench", "lock", "--clients", "0"],
    &["bench", "lock", "--slo", "p75=1ms"],
    &["bench", "lock", "--slo", "rate=NaN"],
    &["bench", "lock", "--duration", "0"],
    &["completion", "cmd"],
];

#[test]
fn bad_arguments_end_with_64_and_say_what_is_good() {
    let mut texts = Vec::new();
    for bad in BAD {
        let words = std::iter::once("dsctl").chain(bad.iter().copied());
        let error = Cli::try_parse_from(words).unwrap_err();
        let failure = usage_failure(&error);
        assert_eq!(failure.exit.number(), 64, "{bad:?}");
        texts.push(format!(
            "$ dsctl {}\n{}",
            bad.join(" ").escape_debug(),
            failure.lines().join("\n")
        ));
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("bad-arguments", texts.join("\n\n"));
    });
}
