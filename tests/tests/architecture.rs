//! The house keeps its shape: crate arrows, single owners, sizes and suppressions.
//!
//! What ARCHITECTURE.md draws is held here, so that the picture cannot go stale.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use dsync_tests::source::{Source, root, sources};
use serde_json::Value;

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 500;

/// Which crates of the workspace each crate may name, in any kind of dependency.
const ARROWS: [(&str, &[&str]); 5] = [
    ("dsync-core", &[]),
    ("dsync", &["dsync-core"]),
    ("dsd", &["dsync", "dsync-core"]),
    ("dsctl", &["dsync", "dsync-core"]),
    ("dsync-tests", &["dsync", "dsync-core", "dsd"]),
];

/// All that the pure core builds on. A crate that opens files or sockets must not slip in here.
const CORE_DEPENDENCIES: [&str; 3] = ["serde", "thiserror", "xxhash-rust"];

/// Something that only some files may do.
struct Owner {
    what: &'static str,
    words: &'static [&'static str],
    /// Paths, or beginnings of paths, that may.
    owners: &'static [&'static str],
}

const OWNERS: [Owner; 9] = [
    Owner {
        what: "reads the environment or an .env file",
        words: &["env::var", "env::vars", "dotenvy::", "env::set_var"],
        owners: &["daemon/src/config", "cli/src/settings", "cli/src/env"],
    },
    Owner {
        what: "prints",
        words: &["println!", "print!", "eprintln!", "eprint!", "io::stdout", "io::stderr"],
        owners: &[
            "cli/src/output",
            "daemon/src/report.rs",
            "daemon/src/telemetry/logging.rs",
            // Not in what ships: what was searched, and how fast it is.
            "shared/core/src/cache/model_tests",
            "shared/core/examples",
        ],
    },
    Owner {
        what: "opens a socket",
        words: &[
            "TcpListener",
            "TcpStream",
            "TcpSocket",
            "UdpSocket",
            "UnixStream",
            "UnixListener",
            "socket2::",
            "lookup_host",
        ],
        owners: &[
            "shared/rpc/src/net",
            "daemon/src/telemetry/http.rs",
            // How long the redis crate's own sockets may be silent.
            "daemon/src/store/redis/connect.rs",
        ],
    },
    Owner {
        what: "writes files",
        words: &[
            "fs::write",
            "fs::rename",
            "fs::remove_file",
            "fs::remove_dir",
            "fs::create_dir",
            "fs::copy",
            "fs::set_permissions",
            "File::create",
            "File::options",
            "OpenOptions",
            "set_len(",
            "sync_all(",
            "sync_data(",
        ],
        owners: &[
            "daemon/src/raft/log",
            "daemon/src/raft/snapshot",
            "daemon/src/raft/identity",
            "daemon/src/raft/fs",
            // The drawn name of NODE_ID=auto, and what a dev cluster leaves.
            "daemon/src/config.rs",
            "daemon/src/dev.rs",
            "cli/src/output",
            "cli/src/settings/context",
            "cli/src/commands/man.rs",
            "cli/src/commands/raft/snapshot.rs",
            "cli/src/commands/queue/export.rs",
        ],
    },
    Owner {
        what: "speaks to Redis through the redis crate",
        words: &[" redis::", "(redis::", "<redis::", "&redis::"],
        owners: &["daemon/src/store/redis"],
    },
    Owner {
        what: "declares an RPC service",
        words: &["tarpc::service"],
        owners: &["shared/rpc/src/api.rs", "shared/rpc/src/peer.rs"],
    },
    Owner { what: "names openraft", words: &["openraft::"], owners: &["daemon/src/raft"] },
    Owner { what: "holds unsafe code", words: &["unsafe "], owners: &["cli/src/child.rs"] },
    Owner {
        what: "asks for the wall clock",
        words: &["SystemTime::now"],
        owners: &["daemon/src/telemetry", "cli/src/output"],
    },
];

#[test]
fn crates_point_downwards_only() {
    let packages = packages();
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, packages.keys().map(String::as_str).collect(), "crates of the workspace");
    for (name, allowed) in ARROWS {
        for dependency in &packages[name] {
            assert!(
                !ours.contains(dependency.name.as_str())
                    || allowed.contains(&dependency.name.as_str()),
                "{name} depends on {}: the arrows allow {allowed:?}",
                dependency.name
            );
        }
    }
}

#[test]
fn the_core_builds_on_pure_crates_alone() {
    for dependency in &packages()["dsync-core"] {
        assert!(
            dependency.dev || CORE_DEPENDENCIES.contains(&dependency.name.as_str()),
            "dsync-core depends on {}: only {CORE_DEPENDENCIES:?} are known to be pure",
            dependency.name
        );
    }
}

#[test]
fn every_right_has_its_owners() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| !s.path.starts_with("tests/")) {
        for owner in &OWNERS {
            if owner.owners.iter().any(|prefix| source.path.starts_with(prefix)) {
                continue;
            }
            for (line, word) in hits(&source.product, owner.words) {
                found.push(format!(
                    "{}:{line}: `{word}` {}; only {:?} may",
                    source.path, owner.what, owner.owners
                ));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn roles_do_not_import_each_other() {
    let roles = ["lock", "queue", "cache"];
    for source in sources() {
        let Some(rest) = source.path.strip_prefix("daemon/src/roles/") else { continue };
        let Some(own) = roles.iter().find(|r| rest.starts_with(*r)) else { continue };
        for other in roles.iter().filter(|r| *r != own) {
            let word = format!("roles::{other}");
            assert!(!source.product.contains(&word), "{} imports {word}", source.path);
        }
    }
}

#[test]
fn files_fit_on_a_few_screens() {
    let long: Vec<String> = sources()
        .iter()
        .map(|s| (s.path.clone(), s.text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines, at most {FILE_LINES_MAX}"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn nothing_is_silenced_or_left_for_later() {
    let words = ["[allow(", "[ignore", "todo!", "unimplemented!", "dbg!"];
    let mut found = Vec::new();
    for Source { path, code, .. } in sources() {
        for (line, word) in hits(&code, &words) {
            found.push(format!("{path}:{line}: `{word}`"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_documents_name_every_crate_and_folder() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md"))
        .unwrap_or_else(|e| panic!("ARCHITECTURE.md: {e}"));
    for word in
        ["shared/core", "shared/rpc", "daemon", "cli", "tests", "dsync-core", "dsd", "dsctl"]
    {
        assert!(text.contains(word), "ARCHITECTURE.md does not mention {word}");
    }
    // A path in backquotes that ends in .rs, or begins like a crate's source folder, must exist.
    for path in text.split('`').skip(1).step_by(2).filter(|word| is_source_path(word)) {
        let path = path.trim_end_matches('/');
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}, which does not exist");
    }
}

fn is_source_path(word: &str) -> bool {
    let rooted = ["shared/", "daemon/", "cli/", "tests/"].iter().any(|p| word.starts_with(p));
    rooted && !word.contains(['*', '{', ' ', '<', '-'])
}

/// Line number and word of every place where one of `words` stands on its own.
fn hits<'a>(code: &str, words: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for word in words {
            let stands = line.match_indices(word).any(|(at, _)| {
                let before = line[..at].chars().next_back().unwrap_or(' ');
                !(before.is_alphanumeric() || before == '_')
            });
            if stands {
                found.push((number + 1, *word));
            }
        }
    }
    found
}

struct Dependency {
    name: String,
    dev: bool,
}

/// Direct dependencies of each crate of the workspace.
fn packages() -> BTreeMap<String, Vec<Dependency>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let dependencies = dependencies
                .map(|d| Dependency { name: text(&d["name"]), dev: d["kind"] == "dev" })
                .collect();
            (text(&package["name"]), dependencies)
        })
        .collect()
}

#[test]
fn the_test_sees_what_it_looks_for() {
    assert_eq!(hits("x\nstd::env::var(\"A\")", &["env::var"]), [(2, "env::var")]);
    assert_eq!(hits("eprintln!()", &["println!"]), []);
    let sources = sources();
    assert!(sources.len() > 10, "sources were found");
    assert!(sources.iter().any(|s| s.path == "shared/core/src/lib.rs" && !s.product.is_empty()));
}
