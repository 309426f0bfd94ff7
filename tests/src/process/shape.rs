//! Shapes of JSON documents: the fields that scripts rely on.

use serde_json::Value;

/// Kinds of values that the interface promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    /// A text.
    Text,
    /// A whole number in a text: ids, tokens, terms, versions, indexes.
    Id,
    /// A number.
    Number,
    /// A time in milliseconds, or null.
    MsOrNull,
    /// True or false.
    Bool,
    /// A list.
    List,
    /// A document within.
    Object,
}

/// Ends the test unless `document` has the field at `path` (`/a/0/b`), of that kind.
pub fn field<'a>(document: &'a Value, path: &str, kind: Is) -> &'a Value {
    let value = document.pointer(path).unwrap_or_else(|| panic!("no {path} in {document:#}"));
    let fits = match kind {
        Is::Text => value.is_string(),
        Is::Id => value.as_str().is_some_and(|text| text.parse::<u64>().is_ok()),
        Is::Number => value.is_number(),
        Is::MsOrNull => value.is_u64() || value.is_null(),
        Is::Bool => value.is_boolean(),
        Is::List => value.is_array(),
        Is::Object => value.is_object(),
    };
    assert!(fits, "{path} is {value}, not {kind:?}, in {document:#}");
    value
}

/// Ends the test unless the document is of that kind and has all those fields.
pub fn document(document: &Value, kind: &str, fields: &[(&str, Is)]) {
    assert_eq!(field(document, "/apiVersion", Is::Text), "dsync/v1", "{document:#}");
    if !kind.is_empty() {
        assert_eq!(field(document, "/kind", Is::Text), kind, "{document:#}");
    }
    field(document, "/kind", Is::Text);
    for (path, is) in fields {
        field(document, path, *is);
    }
}

/// Ends the test unless the document is an error with this exit code.
pub fn error(document: &Value, exit: i32) {
    self::document(
        document,
        "Error",
        &[
            ("/error/code", Is::Text),
            ("/error/exit", Is::Number),
            ("/error/message", Is::Text),
            ("/error/retryable", Is::Bool),
            ("/error/outcome", Is::Text),
        ],
    );
    assert_eq!(*field(document, "/error/exit", Is::Number), exit, "{document:#}");
    let outcome = field(document, "/error/outcome", Is::Text).as_str().unwrap_or_default();
    assert!(["none", "done", "unknown"].contains(&outcome), "{document:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_mistyped_field_is_found() {
        let good = serde_json::json!({"apiVersion": "dsync/v1", "kind": "X", "token": "12"});
        document(&good, "X", &[("/token", Is::Id)]);
        for (path, is) in [("/token", Is::Number), ("/tokens", Is::Id), ("/kind", Is::Id)] {
            assert!(std::panic::catch_unwind(|| field(&good, path, is).clone()).is_err());
        }
        assert!(std::panic::catch_unwind(|| error(&good, 1)).is_err());
    }
}
