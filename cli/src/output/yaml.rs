//! YAML from a JSON document: block style, every text that could be read otherwise in quotes.

use serde_json::{Map, Value};

/// The document as YAML.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) => object(&mut out, map, 0, false),
        other => {
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
    out
}

/// Keys at an indent; `inline` when the first one continues the line of a dash.
fn object(out: &mut String, map: &Map<String, Value>, indent: usize, inline: bool) {
    for (at, (key, value)) in map.iter().enumerate() {
        if at > 0 || !inline {
            pad(out, indent);
        }
        out.push_str(&string(key));
        out.push(':');
        child(out, value, indent);
    }
}

/// What follows `key:`.
fn child(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            object(out, map, indent + 2, false);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            array(out, items, indent);
        }
        other => {
            out.push(' ');
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

/// Items with a dash each.
fn array(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => object(out, map, indent + 2, true),
            // A list in a list does not occur in our documents; JSON is valid YAML.
            other => {
                out.push_str(&scalar(other));
                out.push('\n');
            }
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        other => other.to_string(),
    }
}

/// Plain where that is safe: begins with a letter, holds nothing that YAML gives a meaning.
fn string(text: &str) -> String {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@');
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
    );
    match first && text.chars().all(safe) && !word {
        true => text.to_owned(),
        false => Value::from(text).to_string(),
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        let value = json!({
            "kind": "Lock", "token": "4711", "free": null, "no": "no", "items": [
                {"name": "deploy/prod", "holders": [{"owner": "ci@build7"}, {"owner": "a: b"}], "n": 1},
                "x", {}, [1, 2]
            ], "empty": [], "sub": {"a": true, "b": "multi\nline"}
        });
        insta::assert_snapshot!(text(&value), @r"");
    }
}
