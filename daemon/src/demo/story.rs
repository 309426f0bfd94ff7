//! What the tour tells while it goes.

use std::fmt::Display;

use tokio::time::Instant;

use crate::report;

/// The tour so far.
#[derive(Debug)]
pub(super) struct Story {
    begun: Instant,
    steps: usize,
    title: String,
    last: String,
}

impl Story {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), steps: 0, title: String::new(), last: String::new() }
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, title: &str) {
        if self.steps > 0 {
            report::line("");
        }
        self.steps += 1;
        title.clone_into(&mut self.title);
        "its beginning".clone_into(&mut self.last);
        report::line(format_args!("{}. {title}", self.steps));
    }

    /// Tells what happened.
    pub(super) fn say(&mut self, text: impl Display) {
        self.last = text.to_string();
        report::line(format_args!("   {text}"));
    }

    /// Tells what was done and what came of it.
    pub(super) fn fact(&mut self, what: impl Display, seen: impl Display) {
        self.last = what.to_string();
        report::line(format_args!("   {:<66} {seen}", self.last));
    }

    /// Where it is: the step, and what was told last.
    pub(super) fn place(&self) -> String {
        format!("step {} ({}), after \"{}\"", self.steps, self.title, self.last.trim())
    }

    /// All is told.
    pub(super) fn end(&self) {
        let took = since(self.begun);
        report::line(format_args!("\nAll {} steps held, in {took}.", self.steps));
        report::line(
            "Next: `dsd dev` runs such a cluster for you, `dsctl lock acquire NAME` uses it.",
        );
    }
}

/// The time since then, for people.
pub(super) fn since(then: Instant) -> String {
    let micros = then.elapsed().as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}
