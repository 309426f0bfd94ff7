//! What `dsd` says outside its log: on stdout what was asked for, on stderr why it did not start.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

use dsync::api::Setting;

/// Says on stderr why the process ends.
pub fn failure(why: impl Display) {
    // With stderr closed there is nobody to tell.
    writeln!(io::stderr().lock(), "dsd: {why}").unwrap_or_default();
}

/// Tells on stdout what was done. A reader that closes the pipe ends it quietly.
pub fn line(text: impl Display) {
    writeln!(io::stdout().lock(), "{text}").unwrap_or_default();
}

/// Prints the settings as a table on stdout. A reader that closes the pipe ends it quietly.
pub fn settings(settings: &[Setting]) {
    let width = |text: fn(&Setting) -> &str| {
        settings.iter().map(|s| text(s).chars().count()).max().unwrap_or(0)
    };
    let key_width = width(|s| &s.key).max(3);
    let value_width = width(|s| &s.value).max(5);
    let mut table = format!("{:key_width$}  {:value_width$}  SOURCE\n", "KEY", "VALUE");
    for Setting { key, value, source } in settings {
        // Writing to a String cannot fail.
        writeln!(table, "{key:key_width$}  {value:value_width$}  {source}").unwrap_or_default();
    }
    io::stdout().lock().write_all(table.as_bytes()).unwrap_or_default();
}
