//! What README.md shows is what happens: its commands are run, its tables are held against the
//! programs.
//!
//! The shipped `.env` files are used as they are; the process environment, which outdoes them,
//! moves the nodes to ports that are free.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dsync_core::config::Key;
use dsync_tests::process::binaries;
use dsync_tests::process::ports::Ports;
use dsync_tests::process::redis::{Redis, RedisPlan};
use dsync_tests::source::root;
use tempfile::TempDir;

/// The comment after which the killed node of the tour has been started again.
const START_AGAIN: &str = "<!-- test: start the killed node again -->";

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// One line of a console block: a command and what README says that it prints.
#[derive(Debug)]
struct Shown {
    command: String,
    output: Vec<String>,
    /// A `$ echo $?` behind it says so; else 0.
    code: i32,
    /// The reader has started the killed node again before.
    start_again: bool,
}

/// Every command of every console block, in order.
fn shown(readme: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let (mut inside, mut start_again, mut asks_code) = (false, false, false);
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if line == START_AGAIN {
            start_again = true;
        } else if inside && line == "$ echo $?" {
            asks_code = true;
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            let command = command.to_owned();
            all.push(Shown { command, output: Vec::new(), code: 0, start_again });
            start_again = false;
        } else if inside && asks_code {
            all.last_mut().unwrap().code = line.parse().unwrap();
            asks_code = false;
        } else if inside {
            all.last_mut().unwrap().output.push(line.to_owned());
        }
    }
    all
}

/// A line without what differs from run to run: numbers, times, widths of columns.
fn squeezed(line: &str) -> String {
    let mut text = String::new();
    let mut in_number = false;
    for c in line.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        let of_a_duration = matches!(c, '.' | 'm' | 's' | 'h' | 'µ');
        if c.is_ascii_digit() {
            if !in_number {
                text.push('#');
            }
            in_number = true;
        } else if !(in_number && of_a_duration) {
            in_number = false;
            text.push(c);
        }
    }
    text
}

/// Lines squeezed, counts of nodes whole, names of people left out. Which node leads, and so which
/// row is the leader's, differs: rows have no order.
fn squeezed_lines(lines: &mut dyn Iterator<Item = &str>) -> Vec<String> {
    let whole = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_count = |w: &&[&str]| matches!(w, [_, "of", all] if all.parse::<u8>().is_ok());
        let count = words.windows(3).find(is_count).map(|w| w.join(" ")).unwrap_or_default();
        let nobody = words.iter().filter(|word| !word.contains('@')).copied();
        format!("{} {count}", squeezed(&nobody.collect::<Vec<_>>().join(" ")))
    };
    let mut lines: Vec<String> = lines.map(whole).collect();
    lines.sort();
    lines
}

/// The reader's machine: a folder like the top of the repository, and programs on the PATH.
struct Desk {
    folder: TempDir,
    listen: [u16; 3],
    /// Ports of the queue nodes.
    queues: [u16; 3],
    /// Ports of the cache nodes.
    caches: [u16; 3],
    elsewhere: [u16; 2],
    nodes: Vec<(String, Child)>,
    redis: Option<Redis>,
    _ports: Ports,
}

impl Desk {
    fn new() -> Self {
        let folder = TempDir::with_prefix("dsync-readme-").unwrap();
        symlink(root().join("envs"), folder.path().join("envs")).unwrap();
        let mut ports = Ports::claim();
        let [listen, queues, caches] = [(); 3].map(|()| [(); 3].map(|()| ports.take()));
        let [first_queue, ..] = queues;
        let elsewhere = [first_queue, ports.take()];
        let (nodes, redis) = (Vec::new(), None);
        Self { folder, listen, queues, caches, elsewhere, nodes, redis, _ports: ports }
    }

    fn shell(&self, command: &str) -> Command {
        let endpoints: Vec<String> = self.listen.iter().map(|p| format!("127.0.0.1:{p}")).collect();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path())
            .env("HOME", self.folder.path())
            .env("DSCTL_ENDPOINTS", endpoints.join(","))
            .stdin(Stdio::null());
        shell
    }

    /// Starts a node with the command that README gives for it.
    fn start(&mut self, command: &str) {
        let is_of = |what: &str, n: usize| command.contains(&format!("{what}_node{n}.env"));
        let roles = [("lock", &self.listen), ("queue", &self.queues), ("cache", &self.caches)];
        let mut all = (1..=3).flat_map(|n| roles.map(|(role, ports)| (n, role, ports)));
        let (place, role, all) = all.find(|(n, role, _)| is_of(role, *n)).unwrap();
        let own = all.get(place - 1).copied().unwrap();
        let list = |ports: &mut dyn Iterator<Item = &u16>| {
            ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
        };
        let peers = list(&mut all.iter().filter(|port| **port != own));
        let others = if role == "lock" {
            list(&mut self.elsewhere.iter())
        } else {
            list(&mut self.listen.iter().take(1).chain(self.elsewhere.last()))
        };
        let redis = self.redis.as_ref().map_or(1, Redis::port);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("nodes.log"))
            .unwrap();
        let child = self
            .shell(&format!("exec {command}"))
            .env("NODE_PORT", own.to_string())
            .env("PEER_ADDRESSES", peers)
            .env("CLUSTER_ADDRESSES", others)
            .env("REDIS_PORT", redis.to_string())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.nodes.push((command.to_owned(), child));
    }

    /// The Redis that README has the reader start.
    fn start_redis(&mut self) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let plan = RedisPlan {
            args: ["--appendonly", "yes"].map(str::to_owned).to_vec(),
            ..RedisPlan::default()
        };
        self.redis = Some(runtime.block_on(Redis::start(plan)));
    }

    /// Starts the nodes anew that have ended.
    fn start_ended(&mut self) {
        let (ended, running) = std::mem::take(&mut self.nodes)
            .into_iter()
            .map(|(command, mut child)| (child.try_wait().unwrap().is_some(), command, child))
            .partition::<Vec<_>, _>(|(ended, ..)| *ended);
        self.nodes = running.into_iter().map(|(_, command, child)| (command, child)).collect();
        assert_eq!(ended.len(), 1, "one node was killed");
        for (_, command, _) in ended {
            self.start(&command);
        }
    }

    /// Runs a command as the fourth terminal would; gives its code and its output.
    fn run(&self, command: &str) -> (i32, String) {
        let mut command = command.to_owned();
        for (number, port) in (1..).zip(self.caches) {
            command =
                command.replace(&format!("127.0.0.1:700{number}"), &format!("127.0.0.1:{port}"));
        }
        let output = self.shell(&command).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8(text).unwrap())
    }
}

impl Drop for Desk {
    #[expect(clippy::print_stderr, reason = "the logs belong to a failed test's output")]
    fn drop(&mut self) {
        for (_, node) in &mut self.nodes {
            // One that has ended already is as good.
            drop(node.kill());
            drop(node.wait());
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("nodes.log")).unwrap_or_default();
            eprintln!("-- the nodes' logs\n{log}");
        }
    }
}

/// The programs under test first, then the system's.
fn path() -> OsString {
    let folder = binaries::dsd().parent().unwrap().to_owned();
    let dsctl = binaries::dsctl();
    assert_eq!(dsctl.parent(), Some(folder.as_path()));
    let system = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&system))).unwrap()
}

#[test]
fn the_deployment_and_the_tour_go_as_printed() {
    let mut desk = Desk::new();
    let (mut started, mut formed) = (0, 0);
    for shown in shown(&readme()) {
        if shown.start_again {
            desk.start_ended();
        }
        if shown.command.starts_with("dsd --env-file") {
            if shown.command.contains("queue_node") && desk.redis.is_none() {
                desk.start_redis();
            }
            desk.start(&shown.command);
            started += 1;
            continue;
        }
        if formed < started {
            let wait = format!("dsctl cluster wait --for nodes={started} --timeout 60s");
            let (code, said) = desk.run(&wait);
            assert_eq!(code, 0, "{said}");
            formed = started;
        }
        let (code, said) = desk.run(&shown.command);
        assert_eq!(code, shown.code, "`{}` exits with another code\n{said}", shown.command);
        // How many followers have answered by the time of the commit differs from probe to probe.
        let lines = if shown.command.starts_with("dsctl raft probe") { 1 } else { usize::MAX };
        assert_eq!(
            squeezed_lines(&mut said.lines().take(lines)),
            squeezed_lines(&mut shown.output.iter().map(String::as_str).take(lines)),
            "`{}` prints something else\n{said}",
            shown.command
        );
    }
    assert_eq!(formed, 9, "README shows a deployment of lock, queue and cache nodes");
}

#[test]
fn the_demo_holds_and_leaves_nothing() {
    let desk = Desk::new();
    let (code, said) = desk.run(&format!("TMPDIR={} dsd demo", desk.folder.path().display()));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("All 12 steps held"), "{said}");
    let left: Vec<_> = fs::read_dir(desk.folder.path()).unwrap().map(|e| e.unwrap()).collect();
    assert_eq!(left.len(), 1, "nothing but envs/ is there: {left:?}");
    for line in readme().split("```text\n").nth(1).unwrap().split("```").next().unwrap().lines() {
        // Steps and what is done in them; names of nodes and figures differ.
        let what = line.trim().split("   ").next().unwrap();
        if !what.contains(|c: char| c.is_ascii_digit()) {
            assert!(said.contains(what), "the demo does not print {what:?}\n{said}");
        }
    }
}

/// Rows of the tables below that heading.
fn rows(readme: &str, heading: &str) -> Vec<Vec<String>> {
    let section = readme.split("\n## ").find(|s| s.starts_with(heading)).unwrap();
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// What stands in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_configuration_table_is_the_codes() {
    let rows = rows(&readme(), "Configuration");
    let keys: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(keys, Key::ALL.map(Key::name), "keys, in order");
    let set = "NODE_ID=n NODE_TYPE=lock NODE_PORT=8001 dsd --print-config";
    let (code, said) = Desk::new().run(set);
    assert_eq!(code, 0, "{said}");
    for row in &rows {
        let key = row[0].trim_matches('`');
        let line = said.lines().find(|line| line.split(' ').next() == Some(key)).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let default = match row[1].as_str() {
            "none" => "",
            "–" => continue,
            text => text.trim_matches('`'),
        };
        let default = default.replace("NODE_TYPE", "lock").replace("NODE_ID", "n");
        let default = default.replace("NODE_HOST", "127.0.0.1").replace("NODE_PORT", "8001");
        let value = if words.len() == 3 { words[1] } else { "" };
        assert_eq!((key, value), (key, default.as_str()), "{line}");
    }
}

#[test]
fn the_exit_codes_are_the_programs() {
    let (_, said) = Desk::new().run("dsctl help exit-codes");
    let known: Vec<(&str, &str)> = said
        .lines()
        .skip(1)
        .map(|l| l.split_once(' ').unwrap())
        .map(|(a, b)| (a, b.trim()))
        .collect();
    let rows = rows(&readme(), "Exit codes");
    let written: Vec<_> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    assert_eq!(written, known);
}

#[test]
fn the_command_table_is_the_programs() {
    let desk = Desk::new();
    let mut written = BTreeSet::new();
    for row in rows(&readme(), "dsctl") {
        for command in quoted(&row[0]) {
            let words: Vec<&str> = command.split(' ').collect();
            let name = command_name(&words);
            if name == "help exit-codes" {
                continue;
            }
            let (code, help) = desk.run(&format!("dsctl {name} --help"));
            assert_eq!(code, 0, "dsctl {name}: {help}");
            let of_the_row = quoted(&row[1]).into_iter().filter(|_| quoted(&row[0]).len() == 1);
            let flags = words.iter().copied().chain(of_the_row.flat_map(|q| q.split(' ')));
            for flag in flags.filter(|w| w.starts_with("--") && w.len() > 2) {
                assert!(help.contains(flag), "dsctl {name} has no {flag}");
            }
            written.insert(name);
        }
    }
    let mut there = BTreeSet::new();
    for noun in subcommands(&desk, "") {
        let verbs = subcommands(&desk, &noun);
        // `context` manages a file of the tool's own; the table has it in one row.
        if verbs.is_empty() || noun == "context" {
            there.insert(noun);
            continue;
        }
        for verb in verbs {
            let below = subcommands(&desk, &format!("{noun} {verb}"));
            there.extend(below.iter().map(|last| format!("{noun} {verb} {last}")));
            if below.is_empty() {
                there.insert(format!("{noun} {verb}"));
            }
        }
    }
    assert_eq!(written, there);
}

/// The words of a command that name it: before the first argument or flag.
fn command_name(words: &[&str]) -> String {
    let is_name = |w: &&&str| w.starts_with(|c: char| c.is_ascii_lowercase());
    words.iter().take_while(is_name).copied().collect::<Vec<_>>().join(" ")
}

fn subcommands(desk: &Desk, of: &str) -> Vec<String> {
    let (code, help) = desk.run(&format!("dsctl {of} --help"));
    assert_eq!(code, 0, "{help}");
    let Some(list) = help.split("\nCommands:\n").nth(1) else { return Vec::new() };
    list.lines()
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn links_and_paths_lead_somewhere() {
    let readme = readme();
    let linked = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for path in linked.filter(|path| !path.starts_with("https://")) {
        assert!(root().join(path).exists(), "README links to {path}");
    }
    for path in quoted(&readme).into_iter().filter(|q| is_path(q)) {
        assert!(root().join(path).exists(), "README names {path}");
    }
    for script in ["tests/run", "tests/bench"] {
        assert!(readme.contains(script) && is_program(&root().join(script)), "{script}");
    }
}

fn is_path(quoted: &str) -> bool {
    let ending = Path::new(quoted).extension().and_then(|e| e.to_str());
    matches!(ending, Some("rs" | "env"))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o100 != 0)
}

#[test]
fn the_reader_of_the_readme_reads_it() {
    let text = "```console\n$ a\nout 1\n$ b\n$ echo $?\n75\n```\n$ no\n";
    let all = shown(text);
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].command.as_str(), all[0].output.len(), all[0].code), ("a", 1, 0));
    assert_eq!((all[1].command.as_str(), all[1].code), ("b", 75));
    assert_eq!(squeezed("expires in 9m59s   (token 12, 7.5ms)"), "expires in # (token #, #)");
    assert_eq!(squeezed("lock-node-3 leads"), "lock-node-# leads");
}
