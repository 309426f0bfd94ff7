//! Finds the programs under test beside the test itself, and refuses stale ones.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// `target/<profile>/dsd`, built from the sources as they are now.
pub fn dsd() -> PathBuf {
    program("dsd")
}

/// `target/<profile>/dsctl`, built from the sources as they are now.
pub fn dsctl() -> PathBuf {
    program("dsctl")
}

fn program(name: &str) -> PathBuf {
    let folder = profile_folder();
    let path = folder.join(name);
    let release = if folder.ends_with("release") { " --release" } else { "" };
    let fix = format!("run `cargo build --bin dsd --bin dsctl{release}` first (tests/run does)");
    assert!(path.exists(), "{} does not exist: {fix}", path.display());
    // The dependency file that Cargo writes beside a program names every source it was built from.
    if let Ok(list) = std::fs::read_to_string(path.with_extension("d")) {
        let built = modified(&path);
        for source in list.split_whitespace().skip(1).map(Path::new) {
            let newer = built < modified(source);
            let source = source.display();
            assert!(!newer, "{} is older than {source}: {fix}", path.display());
        }
    }
    path
}

/// `target/<profile>`: the test runs from its `deps` folder.
fn profile_folder() -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its own path");
    let folder = exe.parent().expect("a program is in a folder");
    let inner = ["deps", "examples"].iter().any(|name| folder.ends_with(name));
    let folder = if inner { folder.parent().expect("target/<profile>") } else { folder };
    folder.to_owned()
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}
