//! Every file of `transcripts/` is replayed and must give what it says.

use std::path::{Path, PathBuf};

use crate::script::Script;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lock/transcripts");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn transcripts_give_what_they_say() {
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let mut wrong = Vec::new();
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let now = Script::new().replay(&text);
        if update {
            std::fs::write(&file, &now).unwrap();
        } else if now != text {
            let at = text.lines().zip(now.lines()).position(|(old, new)| old != new);
            let line = at.unwrap_or_else(|| text.lines().count().min(now.lines().count()));
            wrong.push(format!(
                "{}:{}\n  says  {:?}\n  gives {:?}",
                file.file_name().unwrap().to_string_lossy(),
                line + 1,
                text.lines().nth(line),
                now.lines().nth(line),
            ));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_TRANSCRIPTS=1 rewrites them:\n{}", wrong.join("\n"));
    assert!(files().len() >= 12, "transcripts are missing");
}
