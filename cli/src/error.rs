//! What went wrong, with the code that the process ends with.

use std::num::NonZero;

use dsync_core::{Code, Effect, Fault};
use serde_json::{Value, json};

use crate::exit::{Exit, code_name};
use crate::output::ids::hex_id;

/// A failure of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What, in words.
    pub(crate) fault: Fault,
    /// How the process ends.
    pub(crate) exit: Exit,
    /// Its name in JSON, where the kind's own does not say it.
    pub(crate) name: Option<&'static str>,
    /// Not on stdout in any format: it belongs to a child.
    pub(crate) stderr: bool,
    /// The request. When its effect is unknown: only one whose repetition has no second effect.
    pub(crate) request_id: Option<NonZero<u128>>,
    /// Of many jobs: how many were pushed nevertheless.
    pub(crate) pushed: Option<u64>,
    /// Of several keys: some were changed.
    pub(crate) part: bool,
}

/// What can be done about a request whose effect is unknown and that has no name to repeat it by.
const LOOK_FIRST: &str = "look what became of it before you repeat it";

/// What a command gives back.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let exit = Exit::of(fault.code);
        Self { fault, exit, name: None, stderr: false, request_id: None, pushed: None, part: false }
    }
}

impl Failure {
    /// A failure of that kind.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Fault::new(code, message).into()
    }

    /// An argument that cannot be used.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.fault.hint = Some(hint.into());
        self
    }

    /// Ends the process with another code than the kind's own.
    #[must_use]
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Gives it a name of its own in JSON.
    #[must_use]
    pub(crate) fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Keeps it off stdout.
    #[must_use]
    pub(crate) fn on_stderr(mut self) -> Self {
        self.stderr = true;
        self
    }

    /// Names the request.
    #[must_use]
    pub(crate) fn of_request(mut self, id: u128) -> Self {
        self.request_id = NonZero::new(id);
        self
    }

    /// Some of several keys were changed, if nothing worse is known.
    #[must_use]
    pub(crate) fn after_a_part(mut self) -> Self {
        self.part = true;
        if self.fault.effect == Effect::None {
            self.fault.effect = Effect::Done;
        }
        self
    }

    /// A part of it was carried out: so many jobs are pushed, and a repetition under the same name adds
    /// only the others.
    #[must_use]
    pub(crate) fn after_pushing(mut self, jobs: u64, request_id: u128) -> Self {
        self.request_id = NonZero::new(request_id);
        self.pushed = Some(jobs);
        if jobs == 0 {
            return self;
        }
        if self.fault.effect == Effect::None {
            self.fault.effect = Effect::Done;
        }
        let repeat = format!(
            "repeat with --request-id {}: the lines before are no second jobs",
            hex_id(request_id)
        );
        self.fault.hint = Some(match self.fault.hint {
            Some(hint) => format!("{hint}; {repeat}"),
            None => format!("mend it and {repeat}"),
        });
        self
    }

    /// A request that no node knows again: when its effect is unknown, a repetition may be a second one.
    #[must_use]
    pub(crate) fn once_only(mut self) -> Self {
        if self.fault.effect == Effect::Unknown {
            self.request_id = None;
            self.fault.hint = Some(LOOK_FIRST.to_owned());
        }
        self
    }

    /// The document for machines, without version and kind.
    pub(crate) fn document(&self) -> Value {
        let mut error = json!({
            "code": self.name.unwrap_or_else(|| code_name(self.fault.code)),
            "exit": self.exit.number(),
            "message": self.fault.message,
            "hint": self.fault.hint,
            "retryable": self.fault.retryable,
            "outcome": outcome_name(self.fault.effect),
            "request_id": self.request_id.map(|id| hex_id(id.get())),
        });
        if let (Some(pushed), Some(fields)) = (self.pushed, error.as_object_mut()) {
            fields.insert("pushed".to_owned(), pushed.into());
        }
        json!({ "error": error })
    }

    /// The lines for people: what, whether it happened, what to do.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("error: {}", self.fault.message)];
        match (self.fault.effect, self.request_id) {
            (Effect::None, _) => {}
            (Effect::Done, _) if self.part || self.pushed.is_some() => {
                lines.push("outcome: a part of it was carried out".to_owned());
            }
            (Effect::Done, _) => lines.push("outcome: it was carried out".to_owned()),
            (Effect::Unknown, None) => {
                lines.push("outcome: unknown, it may have been carried out".to_owned());
            }
            (Effect::Unknown, Some(id)) => lines.push(format!(
                "outcome: unknown, it may have been carried out; repeating it with --request-id {} has no second effect",
                hex_id(id.get())
            )),
        }
        if let Some(hint) = &self.fault.hint {
            lines.push(format!("hint: {hint}"));
        }
        lines
    }
}

/// The effect's name in JSON.
const fn outcome_name(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "none",
        Effect::Done => "done",
        Effect::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_before_a_failure_is_done() {
        let broken = Failure::usage("line 3: it is no JSON object");
        let none = broken.clone().after_pushing(0, 0xabc);
        assert_eq!((none.fault.effect, none.fault.hint.as_deref()), (Effect::None, None));
        let some = broken.after_pushing(2, 0xabc);
        let error = &some.document()["error"];
        assert_eq!((&error["outcome"], &error["pushed"]), (&"done".into(), &2.into()));
        assert_eq!(error["request_id"], hex_id(0xabc));
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.starts_with("mend it and repeat with --request-id 0000"), "{hint}");
        assert!(some.lines()[1].contains("a part of it"), "{:?}", some.lines());
        let lost = Failure::from(Fault::unknown("no answer").hint("wait")).after_pushing(2, 0xabc);
        assert_eq!(lost.fault.effect, Effect::Unknown);
        assert!(lost.fault.hint.unwrap().starts_with("wait; repeat with"));
    }

    #[test]
    fn a_request_is_to_be_repeated_by_its_id_only_where_nodes_know_it_again() {
        let unknown =
            Failure::from(Fault::unknown("no answer").hint("repeat it")).of_request(0xabc);
        assert!(unknown.lines().iter().any(|line| line.contains("--request-id")));
        let once = unknown.once_only();
        let lines = once.lines().join("\n");
        assert!(!lines.contains("--request-id") && !lines.contains("hint: repeat"), "{lines}");
        assert!(lines.contains("outcome: unknown") && lines.contains(LOOK_FIRST), "{lines}");
        assert_eq!(once.document()["error"]["request_id"], Value::Null);
        let none = Failure::from(Fault::unavailable("no leader")).of_request(0xabc).once_only();
        assert_eq!(none.request_id, NonZero::new(0xabc));
    }
}
