//! The only place that prints. Data goes to stdout, everything else to stderr.

pub(crate) mod human;
pub(crate) mod ids;
pub(crate) mod progress;
mod render;
pub(crate) mod view;
pub(crate) mod views;
mod yaml;

use std::cell::Cell as Flag;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use dsync_core::Code;
use rustix::event::{PollFd, PollFlags, Timespec};
use serde_json::{Map, Value};

use crate::args::{Color, Format};
use crate::error::{Failure, Result};

pub(crate) use view::{Cell, Table, View};

/// Version of every document.
const API_VERSION: &str = "dsync/v1";

/// Where results go, and how they look.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    color_out: bool,
    color_err: bool,
    chat: Chat,
    progress: bool,
    closed: Flag<bool>,
}

/// How chatty and colourful it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    pub(crate) color: Color,
    pub(crate) no_color: bool,
    pub(crate) chat: Chat,
    pub(crate) no_progress: bool,
}

/// How much is told on stderr beside errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Chat {
    Quiet,
    #[default]
    Notes,
    Details,
}

impl Output {
    /// An output to the process's stdout and stderr.
    pub(crate) fn new(format: Format, style: Style) -> Self {
        let color = |tty: bool| match style.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => tty && !style.no_color,
        };
        let err_tty = io::stderr().is_terminal();
        Self {
            format,
            color_out: color(io::stdout().is_terminal()),
            color_err: color(err_tty),
            chat: style.chat,
            progress: err_tty && !style.no_progress && style.chat != Chat::Quiet,
            closed: Flag::new(false),
        }
    }

    /// Looks whether the reader of stdout has gone, without printing anything: true from then on, and
    /// nothing more need be printed.
    pub(crate) fn reader_gone(&self) -> bool {
        let stdout = io::stdout();
        let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
        let looked = rustix::event::poll(&mut asked, Some(&Timespec::default()));
        let [asked] = asked;
        let gone = PollFlags::ERR | PollFlags::HUP;
        if looked.is_ok() && asked.revents().intersects(gone) {
            self.closed.set(true);
        }
        self.closed.get()
    }

    /// True when progress may be drawn.
    pub(crate) fn progress(&self) -> bool {
        self.progress
    }

    /// Prints a result.
    pub(crate) fn show(&self, view: &View) -> Result<()> {
        self.write(&text_of(view, self.format, self.color_out))
    }

    /// Prints one of a stream of results: in every machine format one document, on one line where
    /// the format has lines.
    pub(crate) fn show_next(&self, view: &View) -> Result<()> {
        let json = self.format == Format::Json;
        let format = if json { Format::Jsonl } else { self.format };
        let separator = if format == Format::Yaml { "---\n" } else { "" };
        self.write(&format!("{separator}{}", text_of(view, format, self.color_out)))
    }

    /// Prints a text as it is: help, a completion script, a manual page.
    pub(crate) fn raw(&self, text: &str) -> Result<()> {
        self.write(text)
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<()> {
        self.write_bytes(bytes)
    }

    /// Prints clap's text, with its colours where colours are on.
    pub(crate) fn styled(&self, text: &clap::builder::StyledStr) -> Result<()> {
        if self.color_out {
            self.write(&text.ansi().to_string())
        } else {
            self.write(&text.to_string())
        }
    }

    /// Tells people something on stderr, unless --quiet.
    pub(crate) fn note(&self, text: &str) {
        if self.chat != Chat::Quiet {
            line_to_stderr(&human::printable(text));
        }
    }

    /// Tells people more, with --verbose.
    pub(crate) fn detail(&self, text: &str) {
        if self.chat == Chat::Details {
            line_to_stderr(&human::printable(text));
        }
    }

    /// Prints a failure: a document on stdout for machines, lines on stderr for people.
    pub(crate) fn failure(&self, failure: &Failure) {
        match self.format {
            Format::Json | Format::Jsonl | Format::Yaml if !failure.stderr => {
                let view = View::document("Error", failure.document());
                // Nothing is left to be said when stdout cannot be written either.
                self.show(&view).unwrap_or_default();
            }
            Format::Table
            | Format::Plain
            | Format::Name
            | Format::Json
            | Format::Jsonl
            | Format::Yaml => {
                for line in failure.lines().iter().flat_map(|text| text.lines()) {
                    let line = human::printable(line);
                    match (self.color_err, line.strip_prefix("error:")) {
                        (true, Some(rest)) => {
                            line_to_stderr(&format!("\u{1b}[1;31merror:\u{1b}[0m{rest}"));
                        }
                        _ => line_to_stderr(&line),
                    }
                }
            }
        }
    }

    /// Writes to stdout at once. A reader that went away ends the printing quietly.
    fn write(&self, text: &str) -> Result<()> {
        self.write_bytes(text.as_bytes())
    }

    fn write_bytes(&self, bytes: &[u8]) -> Result<()> {
        if self.closed.get() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed.set(true);
                Ok(())
            }
            Err(error) => {
                self.closed.set(true);
                Err(Failure::new(Code::Internal, format!("cannot write to stdout: {error}")))
            }
        }
    }
}

/// Asks on the terminal; without one the answer is a refusal that names the flag.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::usage(format!("{question} Not done without an answer"))
            .hint("add --yes to do it"));
    }
    let mut err = io::stderr().lock();
    let asked = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    drop(err);
    let mut answer = String::new();
    let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Failure::usage("not done: the answer was not yes")),
    }
}

/// Passes on what a command said on its stderr; ours may be gone.
pub(crate) fn of_child(said: &[u8]) {
    io::stderr().lock().write_all(said).unwrap_or_default();
}

/// A line on stderr; a stderr that is gone is no reason to fail.
fn line_to_stderr(line: &str) {
    writeln!(io::stderr().lock(), "{line}").unwrap_or_default();
}

/// A view as text in a format.
fn text_of(view: &View, format: Format, color: bool) -> String {
    match format {
        Format::Table => render::table(view, color),
        Format::Plain => render::plain(view),
        Format::Name => lines(view.names.iter().cloned()),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(&document(view.kind, &view.document))
                .unwrap_or_default();
            text.push('\n');
            text
        }
        Format::Jsonl => match (view.item_kind, view.document.get("items")) {
            (Some(kind), Some(Value::Array(items))) => {
                lines(items.iter().map(|item| document(kind, item).to_string()))
            }
            _ => lines([document(view.kind, &view.document).to_string()]),
        },
        Format::Yaml => yaml::text(&document(view.kind, &view.document)),
    }
}

fn lines(texts: impl IntoIterator<Item = String>) -> String {
    texts.into_iter().fold(String::new(), |mut all, line| {
        all.push_str(&line);
        all.push('\n');
        all
    })
}

/// A document with version and kind first.
fn document(kind: &str, fields: &Value) -> Value {
    let mut all = Map::new();
    all.insert("apiVersion".to_owned(), API_VERSION.into());
    all.insert("kind".to_owned(), kind.into());
    let fields = fields.as_object().into_iter().flatten();
    all.extend(fields.map(|(key, value)| (key.clone(), value.clone())));
    Value::Object(all)
}

#[cfg(test)]
pub(crate) fn text_for_test(view: &View, format: Format) -> String {
    text_of(view, format, false)
}
