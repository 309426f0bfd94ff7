//! The version and the exit codes.

use serde_json::json;

use crate::output::{Cell, Table, View};

/// The version of this program.
pub(crate) fn version(version: &str) -> View {
    let mut table = Table::new(&["PROGRAM", "VERSION", "PROTOCOL"]);
    table.row([Cell::text("dsctl"), Cell::text(version), Cell::text("DSYNC/1")]);
    View::document(
        "Version",
        json!({"program": "dsctl", "version": version, "protocol": "DSYNC/1"}),
    )
    .table(table)
    .names([version.to_owned()])
}

/// The table of exit codes.
pub(crate) fn exit_codes(codes: &[(&str, &str)]) -> View {
    let items = codes.iter().map(|(code, meaning)| json!({"code": code, "meaning": meaning}));
    let mut table = Table::new(&["CODE", "MEANING"]);
    for (code, meaning) in codes {
        table.row([Cell::text(*code), Cell::text(*meaning)]);
    }
    View::list("ExitCodeList", "ExitCode", items)
        .table(table)
        .names(codes.iter().map(|(code, _)| (*code).to_owned()))
}
