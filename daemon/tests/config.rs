//! The daemon's configuration from outside: files, environment, flags, exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dsd::config::parse_file;
use dsync_core::config::{Flag, Inputs, Key, NodeConfig, resolve};
use proptest::prelude::*;

/// `dsd` in an empty environment, in a directory of its own.
fn dsd(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsd"));
    command.args(args).env_clear().current_dir(dir);
    command
}

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    told(&dsd(dir, args).output().unwrap())
}

/// Exit code, stdout, stderr.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

const NODE: &str = "NODE_ID=lock-node-1\nNODE_PORT=8001\nPEER_ADDRESSES=a:8002, b:8003\n";

/// A directory with `node.env` in it.
fn with_file(text: impl AsRef<[u8]>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("node.env"), text).unwrap();
    dir
}

const CHECK: [&str; 5] = ["--env-file", "node.env", "--node-type", "lock", "--check-config"];
const PRINT: [&str; 5] = ["--env-file", "node.env", "--node-type", "lock", "--print-config"];

/// The value that `--print-config` shows for a key, and its source.
fn shown(stdout: &str, key: &str) -> (String, String) {
    let line = stdout.lines().find(|l| l.split_whitespace().next() == Some(key)).unwrap();
    let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
    match cells.as_slice() {
        [_, value, source] => ((*value).to_owned(), (*source).to_owned()),
        [_, source] => (String::new(), (*source).to_owned()),
        _ => unreachable!("{line}"),
    }
}

fn flag(name: &'static str, key: Key, value: impl Into<String>) -> Flag {
    Flag { name, key, value: value.into() }
}

fn lock() -> Flag {
    flag("--node-type", Key::NodeType, "lock")
}

#[test]
fn a_good_configuration_is_0_and_writes_nothing() {
    let dir = with_file(NODE);
    assert_eq!(run(dir.path(), &CHECK), (0, String::new(), String::new()));
    let (code, stdout, stderr) = run(dir.path(), &PRINT);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(shown(&stdout, "NODE_ID"), ("lock-node-1".to_owned(), "node.env:1".to_owned()));
    assert_eq!(shown(&stdout, "NODE_TYPE"), ("lock".to_owned(), "flag --node-type".to_owned()));
    assert_eq!(shown(&stdout, "STORE"), ("raft".to_owned(), "default".to_owned()));
    assert_eq!(shown(&stdout, "METRICS_ADDR"), (String::new(), "default".to_owned()));
    assert_eq!(stdout.lines().count(), 35);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn all_problems_come_together_and_are_78() {
    let dir = with_file(
        b"\xef\xbb\xbfNODE_ID=lock node\r\n\
          NODE_PROT=8001\r\n\
          REDIS_PASSWORD hunter2\r\n\
          PEER_ADDRESSES=\"a:1, b\"\r\n\
          REDIS_PASSWORD=\"hunter2\\d\"\r\n\
          \xff=1\r\n",
    );
    let (code, stdout, stderr) = run(dir.path(), &CHECK);
    assert_eq!((code, stdout.as_str()), (78, ""));
    assert_eq!(
        stderr,
        "\
dsd: 6 problems in the configuration, nothing was started
  1. node.env:3: there is no = right after \"REDIS_PASSWORD\"
     fix: write REDIS_PASSWORD=value
  2. node.env:6: byte 1 is not UTF-8
     fix: save the file as UTF-8
  3. node.env:5: the value in double quotes has an escape that is not one of \\\\ \\\" \\' \\$ \\n
     fix: put the value in single quotes, where a backslash is a backslash
  4. node.env:1: NODE_ID: \"lock node\" is not a node id
     fix: 1 to 64 letters, digits, '.', '_' and '-', such as NODE_ID=lock-node-1; or NODE_ID=auto
  5. not set: NODE_PORT is where the node listens and has no default
     fix: NODE_PORT=8001, a port that nothing else on this machine uses
  6. node.env:4: PEER_ADDRESSES: \"b\" has no port
     fix: PEER_ADDRESSES=host:port,host:port
warning: node.env:2: \"NODE_PROT\" is no key; did you mean NODE_PORT?
"
    );
    let start = ["--env-file", "node.env", "--node-type", "lock"];
    assert_eq!(run(dir.path(), &start), (78, String::new(), stderr));
}

#[test]
fn bad_files_are_named() {
    let dir = with_file(NODE);
    let huge = format!("{NODE}LOG_LEVEL={}\n", "x".repeat(1 << 20));
    fs::write(dir.path().join("huge.env"), huge).unwrap();
    fs::write(dir.path().join("twice.env"), "NODE_PORT=1\nNODE_PORT=2\n").unwrap();
    for (file, why) in [
        ("none.env", "none.env: cannot be read: No such file"),
        (".", ".: cannot be read: Is a directory"),
        ("/dev/zero", "/dev/zero: the file has more than 4194304 bytes"),
        ("huge.env", "huge.env:4: the line has 1048586 bytes"),
        ("twice.env", "twice.env:2: NODE_PORT is already in line 1, with another value"),
    ] {
        let args = ["--env-file", "node.env", "--env-file", file, "--node-type", "lock"];
        let (code, _, stderr) = run(dir.path(), &args);
        assert_eq!(code, 78, "{file}");
        assert!(stderr.contains(why), "{file}: {stderr}");
        assert!(stderr.starts_with("dsd: 1 problem in"), "{file}: {stderr}");
        assert!(stderr.len() < 1_000, "{file}");
    }
}

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["--no-such-flag"][..],
        &["no-such-command"],
        &["--env-file"],
        &["dev", "--ports", "0"],
        &["--node-type", "lock", "dev"],
    ] {
        let (code, stdout, stderr) = run(dir.path(), args);
        assert_eq!((code, stdout.as_str()), (64, ""), "{args:?}: {stderr}");
        assert!(!stderr.is_empty(), "{args:?}");
    }
    let of = ["dev", "demo", "healthcheck"].map(|command| vec![command, "--help"]);
    for args in of.into_iter().chain([vec!["--help"]]) {
        let (code, stdout, _) = run(dir.path(), &args);
        assert_eq!(code, 0, "{args:?}");
        assert!(stdout.starts_with("Example"), "{args:?}: {stdout}");
    }
    assert_eq!(run(dir.path(), &["--version"]).1, format!("dsd {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_file_a_newcomer_is_shown_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run(dir.path(), &[]);
    assert_eq!(code, 78);
    assert!(stderr.ends_with("starts a node that comes with dsync, `dsd dev` a whole cluster\n"));
}

#[test]
fn flag_before_environment_before_file() {
    let dir = with_file(format!("{NODE}LOG_FORMAT=json\nLOG_LEVEL=warn\nDATA_DIR=from-file\n"));
    let mut command = dsd(dir.path(), &PRINT);
    command.args(["--data-dir", "from-flag"]);
    command.env("DATA_DIR", "from-environment").env("LOG_LEVEL", "debug").env("LOG_FORMAT", "");
    let (code, stdout, _) = told(&command.output().unwrap());
    assert_eq!(code, 0);
    let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(shown(&stdout, "DATA_DIR"), pair("from-flag", "flag --data-dir"));
    assert_eq!(shown(&stdout, "LOG_LEVEL"), pair("debug", "environment"));
    assert_eq!(shown(&stdout, "LOG_FORMAT"), pair("json", "node.env:4"));
}

#[test]
fn an_environment_that_is_not_text_is_a_problem() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = with_file(NODE);
    let mut command = dsd(dir.path(), &CHECK);
    command.env("NODE_HOST", std::ffi::OsStr::from_bytes(b"\xff"));
    let (code, _, stderr) = told(&command.output().unwrap());
    assert_eq!(code, 78);
    assert!(stderr.contains("environment: NODE_HOST is not UTF-8"), "{stderr}");
}

#[test]
fn a_dollar_in_a_password_is_a_dollar_and_is_not_shown() {
    let text = format!("{NODE}REDIS_HOST=r\nREDIS_PASSWORD=hunter2$HOME${{PATH}}\n");
    let dir = with_file(&text);
    let mut command = dsd(dir.path(), &PRINT);
    command.env("HOME", "/root").env("PATH", "/bin");
    let (code, stdout, stderr) = told(&command.output().unwrap());
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(shown(&stdout, "REDIS_PASSWORD").0, "****");
    assert!(!stdout.contains("hunter2"));
    let config = read("node.env", text.as_bytes(), "lock");
    assert_eq!(config.redis.unwrap().password.unwrap().expose(), "hunter2$HOME${PATH}");
}

/// The configuration that a file makes for a node of that role, without any environment.
fn read(name: &str, bytes: &[u8], role: &str) -> NodeConfig {
    let (file, problems) = parse_file(name.to_owned(), bytes);
    let flags = vec![flag("--node-type", Key::NodeType, role)];
    let inputs = Inputs { files: vec![file], flags, problems, ..Inputs::default() };
    let resolved = resolve(inputs).unwrap();
    assert_eq!(resolved.warnings, [], "{name}");
    resolved.config
}

#[test]
fn a_node_names_itself_once() {
    let dir = with_file(NODE.replace("lock-node-1", "auto"));
    let (code, stdout, _) = run(dir.path(), &PRINT);
    assert_eq!((code, shown(&stdout, "NODE_ID").0.as_str()), (0, "auto"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a check writes nothing");

    let data = dir.path().join("data-dir");
    let flags = || vec![lock(), flag("--data-dir", Key::DataDir, data.display().to_string())];
    let files = [dir.path().join("node.env")];
    let load = || dsd::config::load(&files, flags());
    let id = load().unwrap().config.node_id;
    assert_ne!(id, "auto");
    assert_eq!(load().unwrap().config.node_id, id);
    let again = dsd::config::check(&files, flags()).unwrap();
    assert_eq!(again.config.node_id, id);
    assert!(again.settings.iter().any(|s| s.key == "NODE_ID" && s.value == id));

    fs::write(data.join("node_id"), "../../etc\n").unwrap();
    let refused = load().unwrap_err();
    assert!(refused.to_string().contains("\"../../etc\" is not a node id"), "{refused}");
    fs::remove_file(data.join("node_id")).unwrap();
    fs::create_dir(data.join("node_id")).unwrap();
    assert!(load().unwrap_err().to_string().contains("node_id: cannot be read"));
}

#[test]
fn nodes_that_share_a_directory_by_mistake_get_one_name() {
    let dir = with_file(NODE.replace("lock-node-1", "auto"));
    let data = dir.path().join("data").display().to_string();
    let files = [dir.path().join("node.env")];
    let name = || {
        let flags = vec![lock(), flag("--data-dir", Key::DataDir, &data)];
        dsd::config::load(&files, flags).unwrap().config.node_id
    };
    let names: BTreeSet<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(name)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "only node_id is left");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let dir = with_file(NODE.replace("lock-node-1", "auto"));
    fs::write(dir.path().join("taken"), "").unwrap();
    let args = ["--env-file", "node.env", "--node-type", "lock", "--data-dir", "taken"];
    let (code, _, stderr) = run(dir.path(), &args);
    assert_eq!(code, 78);
    assert!(stderr.contains("taken/node_id: cannot be"), "{stderr}");
    assert!(stderr.contains("fix: set DATA_DIR to a directory that this user may write"));
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The nine files that come with dsync, read as their role.
fn shipped() -> Vec<NodeConfig> {
    let mut nodes = Vec::new();
    for (role, base) in [("lock", 8001_u16), ("queue", 9001), ("cache", 7001)] {
        for number in 0..3 {
            let name = format!("{role}_node{}.env", number + 1);
            let bytes = fs::read(repository().join("envs").join(&name)).unwrap();
            let config = read(&name, &bytes, role);
            assert_eq!((config.port, config.role.as_str()), (base + number, role), "{name}");
            nodes.push(config);
        }
    }
    nodes
}

#[test]
fn the_shipped_files_describe_three_clusters() {
    let nodes = shipped();
    let unique =
        |value: fn(&NodeConfig) -> String| nodes.iter().map(value).collect::<BTreeSet<_>>().len();
    assert_eq!(unique(|node| node.node_id.clone()), 9);
    assert_eq!(unique(|node| node.port.to_string()), 9);
    assert_eq!(unique(|node| node.data_dir.clone()), 9);
    assert_eq!(unique(|node| node.members().join(",")), 3, "members differ within a role");
    let at = |address: &String| nodes.iter().find(|node| &node.advertise == address).unwrap();
    for node in &nodes {
        assert_eq!(node.peers.len(), 2, "{}", node.node_id);
        for peer in node.peers.iter().map(at) {
            assert_eq!(peer.role, node.role, "{}", node.node_id);
            assert!(peer.peers.contains(&node.advertise), "{} {}", peer.node_id, node.node_id);
        }
        let roles: BTreeSet<_> = node.cluster.iter().map(|address| at(address).role).collect();
        assert!(roles.len() == 2 && !roles.contains(&node.role), "{}", node.node_id);
        assert!(node.data_dir.starts_with("data/"), "{}", node.data_dir);
        let redis = node.redis.as_ref().unwrap();
        assert_eq!((redis.host.as_str(), redis.port), ("localhost", 6379));
    }
    let ignored = fs::read_to_string(repository().join(".gitignore")).unwrap();
    assert!(ignored.lines().any(|line| line == "/data"), "the default DATA_DIR is not ignored");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What stands in single quotes is what arrives, whatever it is.
    #[test]
    fn single_quotes_are_literal(value in "[^'\\p{Cc}]{0,40}") {
        let (file, problems) = parse_file("x".to_owned(), format!("K='{value}'").as_bytes());
        prop_assert_eq!(problems, []);
        prop_assert_eq!(file.lines.first().map(|line| &line.value), Some(&value));
    }

    /// A bare value arrives as it stands, or its line is refused; it is never altered. All that may
    /// be missing are the spaces around it and a comment.
    #[test]
    fn bare_values_are_literal_or_refused(
        value in "([^'\"\\p{Cc}]{0,40}|[^'\"\\p{Cc}\\s][a-z $#{}\\\\'\"]{0,20})"
    ) {
        let (file, problems) = parse_file("x".to_owned(), format!("K={value}").as_bytes());
        match file.lines.first() {
            None => prop_assert_eq!(problems.len(), 1),
            Some(line) => {
                let rest = value.trim().strip_prefix(line.value.as_str()).map(str::trim_start);
                prop_assert!(rest.is_some_and(|r| r.is_empty() || r.starts_with('#')), "{:?}", line);
            }
        }
    }

    /// Whatever the file is, reading it ends, and a key that is read is a key.
    #[test]
    fn any_bytes_are_a_file(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let (file, problems) = parse_file("x".to_owned(), &bytes);
        prop_assert!(problems.len() <= 42);
        for line in file.lines {
            let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
            prop_assert!(line.key.bytes().all(letter), "{:?}", line);
        }
    }

    /// The same near the format's own characters.
    #[test]
    fn any_lines_are_a_file(
        text in "((export )?[A-Z]{1,3} ?=? ?[\"'\\\\$#{} a\u{a0}\t]{0,12}\r?\n){0,6}"
    ) {
        let (file, problems) = parse_file("x".to_owned(), text.as_bytes());
        prop_assert!(file.lines.len() + problems.len() <= 6);
    }
}
