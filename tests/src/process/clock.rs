//! A wall clock that is wrong: libfaketime in front of one process, monotonic clocks untouched.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment of a process whose wall clock is shifted by what `file` says (`+3600`), read
/// anew at every look at the clock.
pub fn environment(file: &Path) -> Vec<(String, String)> {
    let library = library();
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

/// Seconds since 1970 that a process with this environment is told.
pub fn told(environment: &[(String, String)]) -> i64 {
    let output = Command::new("date")
        .arg("+%s")
        .envs(environment.iter().map(|(k, v)| (k, v)))
        .output()
        .expect("date can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim().parse().unwrap_or_else(|e| panic!("date printed {text:?}: {e}"))
}

fn library() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
        .chain([PathBuf::from("/usr/lib/faketime/libfaketimeMT.so.1")])
        .find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("libfaketime is missing: apt-get install faketime (tests/run does)")
    })
}
