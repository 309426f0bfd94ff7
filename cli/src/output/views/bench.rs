//! Measurements.

use serde_json::{Value, json};

use crate::commands::Report;
use crate::output::{Cell, Table, View};

/// Of `bench …`.
pub(crate) fn report(report: &Report, missed: &[String]) -> View {
    let document = json!({
        "what": report.what,
        "clients": report.clients,
        "connections": report.connections,
        "elapsed_ms": report.elapsed_ms,
        "operations": report.operations,
        "rate": rounded(report.rate, 1e1),
        "p50_ms": rounded(report.p50_ms, 1e3),
        "p90_ms": rounded(report.p90_ms, 1e3),
        "p99_ms": rounded(report.p99_ms, 1e3),
        "p999_ms": rounded(report.p999_ms, 1e3),
        "max_ms": rounded(report.max_ms, 1e3),
        "errors": report.errors,
        "error": report.error,
        "missed": missed,
    });
    let mut table =
        Table::new(&["WHAT", "CLIENTS", "RATE/S", "P50 MS", "P99 MS", "MAX MS", "ERRORS"]);
    table.row([
        Cell::text(report.what),
        Cell::Number(u64::from(report.clients)),
        Cell::Decimal(report.rate, 1),
        Cell::Decimal(report.p50_ms, 3),
        Cell::Decimal(report.p99_ms, 3),
        Cell::Decimal(report.max_ms, 3),
        Cell::Number(report.errors),
    ]);
    let view = View::document("Bench", document).table(table).names([report.what.to_owned()]);
    match &report.error {
        Some(error) => view.note(format!("first error: {error}")),
        None => view,
    }
}

/// A number with few digits behind the point.
fn rounded(number: f64, scale: f64) -> Value {
    json!((number * scale).round() / scale)
}
