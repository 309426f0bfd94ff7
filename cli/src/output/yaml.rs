//! YAML from a JSON document: block style, every text that could be read otherwise in quotes.

use serde_json::{Map, Value};

/// The document, an object, as YAML.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    if let Value::Object(map) = value {
        object(&mut out, map, 0, false);
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
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            out.push(' ');
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

/// Items with a dash each.
fn array(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push_str("- ");
        if let Some(map) = item.as_object().filter(|map| !map.is_empty()) {
            object(out, map, indent + 2, true);
        } else {
            // A list in a list does not occur in our documents; JSON is valid YAML.
            out.push_str(&scalar(item));
            out.push('\n');
        }
    }
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), string)
}

/// Plain where that is safe: begins with a letter, holds nothing that YAML gives a meaning.
fn string(text: &str) -> String {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@');
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
    );
    let plain = first && text.chars().all(safe) && !word;
    if plain { text.to_owned() } else { Value::from(text).to_string() }
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
        insta::assert_snapshot!(text(&value), @r#"
        kind: Lock
        token: "4711"
        free: null
        "no": "no"
        items:
        - name: deploy/prod
          holders:
          - owner: ci@build7
          - owner: "a: b"
          "n": 1
        - x
        - {}
        - [1,2]
        empty: []
        sub:
          a: true
          b: "multi\nline"
        "#);
    }
}
