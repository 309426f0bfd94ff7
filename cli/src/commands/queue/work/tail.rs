//! The end of what a command said on stderr: pure.

use std::collections::VecDeque;

/// Bytes that are kept: an error text has room for them and the exit code.
const KEPT: usize = 900;

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    /// Adds what came.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.iter().skip(bytes.len().saturating_sub(KEPT)));
        let over = self.0.len().saturating_sub(KEPT);
        self.0.drain(..over);
    }

    /// The text, from the beginning of a line where there is one.
    pub(super) fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let cut = bytes.len() == KEPT;
        match text.split_once('\n') {
            Some((_, rest)) if cut && !rest.trim().is_empty() => rest.trim().to_owned(),
            _ => text.trim().to_owned(),
        }
    }
}

/// Why a job failed: how the command ended, and what it said last.
pub(super) fn error_text(ended: &str, tail: &Tail) -> String {
    match tail.text() {
        said if said.is_empty() => ended.to_owned(),
        said => format!("{ended}: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_from_the_beginning_of_a_line() {
        let mut tail = Tail::default();
        assert_eq!(error_text("exit code 3", &tail), "exit code 3");
        tail.add(b"first\n");
        tail.add(b"  no such user\n");
        assert_eq!(error_text("exit code 3", &tail), "exit code 3: first\n  no such user");
        for number in 0..1_000 {
            tail.add(format!("line {number}\n").as_bytes());
        }
        let text = tail.text();
        assert!(text.len() < KEPT && text.ends_with("line 999"), "{text}");
        assert!(text.starts_with("line 9"), "{text}");
        tail.add("é".repeat(2_000).as_bytes());
        assert!(tail.text().len() <= KEPT + 4);
    }
}
