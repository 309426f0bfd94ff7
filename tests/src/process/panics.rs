//! A panic, in every form in which our programs tell of one.

/// The standard library's words, those of dsd's own hook, and those for a handler that was caught.
const FORMS: [&str; 3] = ["panicked at", "panic: ", "a handler panicked"];

/// The lines that tell of a panic.
pub fn panics(said: &str) -> Vec<&str> {
    said.lines().filter(|line| FORMS.iter().any(|form| line.contains(form))).collect()
}

/// Ends the test if a program of that name told of a panic.
pub fn assert_none(name: &str, said: &str) {
    let found = panics(said);
    assert!(found.is_empty(), "{name} panicked:\n{}", found.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_and_nothing_else() {
        for line in [
            "thread 'main' panicked at src/main.rs:1:1:",
            "2026-01-01T00:00:00Z ERROR dsd: panic: no seat place=\"daemon/src/run.rs:1:1\"",
            "{\"level\":\"ERROR\",\"message\":\"panic: no seat\"}",
            "2026-01-01T00:00:00Z ERROR dsd: a handler panicked: no seat what=\"lock\"",
        ] {
            assert_eq!(panics(&format!("one\n{line}\nthree")), [line]);
        }
        assert_eq!(panics("INFO listening\nINFO stopped"), [""; 0]);
    }
}
