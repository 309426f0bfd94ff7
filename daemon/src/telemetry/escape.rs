//! Keeps one event on one line, whatever is in it.

use std::fmt::Write as _;
use std::io::{self, Write};

use dsync_core::config::LogFormat;

/// A writer for whole events: every control character but the last newline is escaped, so that a
/// hostile name can neither forge a line nor steer a terminal.
#[derive(Debug)]
pub(super) struct Escaping<W> {
    inner: W,
    format: LogFormat,
}

impl<W> Escaping<W> {
    pub(super) const fn new(inner: W, format: LogFormat) -> Self {
        Self { inner, format }
    }
}

impl<W: Write> Write for Escaping<W> {
    /// Takes one whole event, as `fmt::Layer` hands it over.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = escape(line, self.format);
        line.push('\n');
        self.inner.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The line with every character escaped that ends a line or steers a terminal or the direction of
/// writing.
pub(super) fn escape(line: &str, format: LogFormat) -> String {
    let mut safe = String::with_capacity(line.len());
    for c in line.chars() {
        if !is_unsafe(c) {
            safe.push(c);
            continue;
        }
        let code = u32::from(c);
        // Writing to a String cannot fail.
        match format {
            LogFormat::Json => write!(safe, "\\u{code:04x}"),
            LogFormat::Text => write!(safe, "{}", c.escape_default()),
        }
        .unwrap_or_default();
    }
    safe
}

/// Control characters, line and paragraph separators, and what reverses the direction of writing.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_one_line() {
        for hostile in
            ["a\nb", "a\r\n2026 ERROR forged", "\u{1b}[2J", "\u{9b}31m", "\u{2028}x", "\u{202e}x"]
        {
            let mut out = Vec::new();
            let event = format!("INFO name={hostile}\n");
            let written = Escaping::new(&mut out, LogFormat::Text).write(event.as_bytes()).unwrap();
            assert_eq!(written, event.len());
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.lines().count(), 1, "{text:?}");
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.chars().any(is_unsafe), "{line:?}");
        }
        assert_eq!(escape("plain é \\n", LogFormat::Text), "plain é \\n");
        assert_eq!(escape("\u{9b}", LogFormat::Json), "\\u009b");
    }

    #[test]
    fn bytes_that_are_no_text_are_written_too() {
        let mut out = Vec::new();
        Escaping::new(&mut out, LogFormat::Text).write_all(b"a\xffb\n").unwrap();
        assert_eq!(out, "a\u{fffd}b\n".as_bytes());
    }
}
