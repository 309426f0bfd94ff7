//! `dsctl queue import`.

use std::io;
use std::path::Path;

use crate::args::Import;
use crate::commands::input::open_file;
use crate::error::Result;
use crate::exit::Exit;

use super::Ctx;
use super::lines::push_lines;
use super::push::template;

/// Pushes the jobs of a file.
pub(super) async fn run(args: Import, ctx: &Ctx) -> Result<Exit> {
    let template = template(&args.fields)?;
    let from = match args.file.as_deref() {
        None => Box::new(io::stdin()),
        Some(file) if file == Path::new("-") => Box::new(io::stdin()),
        Some(file) => open_file(file)?,
    };
    push_lines(ctx, &args.queue, &template, args.fields.durability, from).await
}
