//! Contexts.

use serde_json::{Value, json};

use crate::output::{Cell, Table, View};
use crate::settings::context::{Context, Contexts};

/// All contexts.
pub(crate) fn list(contexts: &Contexts) -> View {
    let in_use = |name: &String| contexts.current.as_ref() == Some(name);
    let items = contexts.contexts.iter().map(|(name, one)| fields(name, one, in_use(name)));
    let mut table = Table::new(&["NAME", "IN USE", "ENDPOINTS"]);
    for (name, context) in &contexts.contexts {
        let star = if in_use(name) { "*" } else { "" };
        table.row([Cell::text(name), Cell::text(star), Cell::text(places(context))]);
    }
    View::list("ContextList", "Context", items)
        .table(table)
        .names(contexts.contexts.keys().cloned())
}

/// One context.
pub(crate) fn one(name: &str, context: &Context, in_use: bool) -> View {
    let mut table = Table::new(&["NAME", "IN USE", "ENDPOINTS", "TIMEOUT"]);
    table.row([
        Cell::text(name),
        Cell::text(if in_use { "*" } else { "" }),
        Cell::text(places(context)),
        Cell::or_none(context.timeout_ms, Cell::Ms),
    ]);
    View::document("Context", fields(name, context, in_use)).table(table).names([name.to_owned()])
}

fn places(context: &Context) -> String {
    let all: Vec<_> =
        context.endpoints.iter().chain(&context.node_files).map(String::as_str).collect();
    all.join(",")
}

fn fields(name: &str, context: &Context, in_use: bool) -> Value {
    json!({
        "name": name,
        "in_use": in_use,
        "endpoints": context.endpoints,
        "node_files": context.node_files,
        "timeout_ms": context.timeout_ms,
    })
}
