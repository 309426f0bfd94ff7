//! Golden transcripts: scripts of requests with what the machine answered, in text.
//!
//! A file is a row of blocks. A block is input lines, `---`, then what they gave, then an empty
//! line. `UPDATE_TRANSCRIPTS=1` writes the outputs anew. See [`parse`] for the lines.

mod parse;
mod render;

use std::fmt::Write as _;

use parse::{Line, Read};

use crate::api::lock::{At, Batch, LockMachine, Settings, Snapshot};

/// A machine under a script.
#[derive(Debug)]
pub(crate) struct Script {
    machine: LockMachine,
    settings: Settings,
    index: u64,
    term: u64,
    t_ms: u64,
}

impl Script {
    pub(crate) fn new() -> Self {
        let settings = Settings { new_term_grace_ms: 0, ..Settings::default() };
        Self { machine: LockMachine::new(), settings, index: 0, term: 1, t_ms: 0 }
    }

    /// Runs all blocks of a file; gives the file as it should be.
    pub(crate) fn replay(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut output = false;
        for line in text.lines() {
            if line.is_empty() {
                output = false;
            }
            if output {
                continue;
            }
            out.push_str(line);
            out.push('\n');
            output = line == "---";
            if output {
                let block = self.block(&out);
                out.push_str(&block);
            }
        }
        out
    }

    /// The state that the script has led to.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.machine.snapshot()
    }

    /// Runs the input lines at the end of `file`.
    fn block(&mut self, file: &str) -> String {
        let body = file.strip_suffix("---\n").unwrap();
        let input = body.rsplit("\n\n").next().unwrap();
        let mut out = String::new();
        for line in input.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
            self.line(line, &mut out);
        }
        if out.is_empty() {
            out.push_str("ok\n");
        }
        out
    }

    fn line(&mut self, line: &str, out: &mut String) {
        match parse::line(line, self.settings) {
            Line::Time(pause) => self.t_ms += pause,
            Line::Clock(t_ms) => self.t_ms = t_ms,
            Line::Term(term) => self.term = term,
            Line::Settings(settings) => self.settings = settings,
            Line::Entry(batch) => self.apply(&batch, out),
            Line::Read(read) => self.read(&read, out),
            Line::Restart => {
                let bytes = postcard::to_stdvec(&self.machine.snapshot_ref()).unwrap();
                let snapshot: Snapshot = postcard::from_bytes(&bytes).unwrap();
                let machine = LockMachine::restore(snapshot).unwrap();
                assert_eq!(machine, self.machine, "a restored machine is the machine");
                self.machine = machine;
            }
            Line::Backup => {
                let snapshot =
                    self.machine.snapshot().restored_from_backup(&LockMachine::new()).unwrap();
                self.machine = LockMachine::restore(snapshot).unwrap();
                self.term = 1;
            }
        }
    }

    fn apply(&mut self, batch: &Batch, out: &mut String) {
        self.index += 1;
        let at = At { index: self.index, term: self.term, t_ms: self.t_ms };
        let applied = self.machine.apply(at, batch);
        for (session, left) in batch.keep_alives.iter().zip(&applied.keep_alives) {
            let left = left.map_or("over".to_owned(), |ms| format!("{ms} ms"));
            writeln!(out, "alive {}: {left}", session.0).unwrap();
        }
        for (request, outcome) in batch.requests.iter().zip(&applied.outcomes) {
            writeln!(out, "{}: {}", render::key(request.key), render::outcome(outcome)).unwrap();
        }
        for (key, outcome) in &applied.settled {
            writeln!(out, "settled {}: {}", render::key(*key), render::outcome(outcome)).unwrap();
        }
        for event in &applied.events {
            writeln!(out, "event {}", render::event(&event.kind)).unwrap();
        }
    }

    fn read(&self, read: &Read, out: &mut String) {
        let m = &self.machine;
        match read {
            Read::Get(lock) => match m.get(lock) {
                Some(view) => out.push_str(&render::lock(&view)),
                None => writeln!(out, "{lock}: free").unwrap(),
            },
            Read::List { prefix, waiting, after, limit } => {
                let (items, more) = m.list(prefix, *waiting, after.as_ref(), *limit);
                out.extend(items.iter().map(render::lock));
                writeln!(out, "more: {more}").unwrap();
            }
            Read::Validate(lock, token) => match m.validate(lock, *token) {
                Some(holder) => writeln!(out, "valid: {}", render::holder(&holder)).unwrap(),
                None => writeln!(out, "not valid").unwrap(),
            },
            Read::Lookup(key) => {
                writeln!(out, "{}: {}", render::key(*key), render::lookup(&m.lookup(key))).unwrap();
            }
            Read::Graph => {
                for step in m.wait_graph().0 {
                    writeln!(out, "{}", render::step(&step)).unwrap();
                }
            }
            Read::Sessions => {
                for view in m.sessions(crate::api::lock::SessionId(0), 100).0 {
                    writeln!(out, "{}", render::session(&view)).unwrap();
                }
            }
            Read::Counts => writeln!(out, "{:?}", m.counts()).unwrap(),
            Read::Next => writeln!(out, "now {} next {:?}", m.now_ms(), m.next_deadline()).unwrap(),
        }
    }
}
