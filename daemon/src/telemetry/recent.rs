//! The last warnings, for whoever asks the node what is wrong.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use dsync_core::config::LogFormat;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;

use super::escape::escape;

/// Warnings kept.
const KEPT: usize = 50;
/// Longest warning, in characters.
const LONGEST: usize = 512;

/// The last 50 warnings and errors, oldest first; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Recent {
    /// The warnings, oldest first, one line each.
    pub fn list(&self) -> Vec<String> {
        self.lines.lock().iter().cloned().collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.lines.lock();
        if lines.len() >= KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::WARN {
            return;
        }
        let mut line = String::new();
        if SystemTime.format_time(&mut Writer::new(&mut line)).is_err() {
            line.clear();
        }
        line.push(' ');
        line.push_str(event.metadata().level().as_str());
        let mut words = Words { message: String::new(), fields: String::new() };
        event.record(&mut words);
        line.push(' ');
        line.push_str(&words.message);
        line.push_str(&words.fields);
        let mut line = escape(&line, LogFormat::Text);
        if let Some((end, _)) = line.char_indices().nth(LONGEST) {
            line.truncate(end);
            line.push('…');
        }
        self.push(line);
    }
}

/// The message of an event and its fields as ` name=value`.
struct Words {
    message: String,
    fields: String,
}

impl Words {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        if field.name() == "message" {
            self.message.write_fmt(value).unwrap_or_default();
        } else {
            write!(self.fields, " {}={value}", field.name()).unwrap_or_default();
        }
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }
}
