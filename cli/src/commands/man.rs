//! `dsctl man`.

use std::fs;
use std::path::Path;

use clap::Command;
use dsync_core::Code;

use crate::args::{self, Man};
use crate::error::{Failure, Result};
use crate::exit::Exit;

use super::Ctx;

/// Prints one manual page, or writes all of them.
pub(super) fn run(args: &Man, ctx: &Ctx) -> Result<Exit> {
    let Some(directory) = &args.dir else {
        let page = page(args::resolve(&args.command)?)?;
        ctx.out.raw(&page)?;
        return Ok(Exit::Done);
    };
    fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
    let mut written = 0_usize;
    write_all(args::resolve(&[])?, directory, &mut written)?;
    ctx.out.note(&format!("{written} pages written to {}", directory.display()));
    Ok(Exit::Done)
}

/// Writes the page of a command and those of its subcommands.
fn write_all(command: Command, directory: &Path, written: &mut usize) -> Result<()> {
    for sub in command.get_subcommands() {
        write_all(sub.clone(), directory, written)?;
    }
    let file = directory.join(format!("{}.1", file_name(&command)));
    let text = page(command)?;
    fs::write(&file, text).map_err(|error| failed(&file, &error))?;
    *written += 1;
    Ok(())
}

/// `dsctl-lock-acquire`.
fn file_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).replace(' ', "-")
}

fn page(command: Command) -> Result<String> {
    let name = file_name(&command);
    let mut text = Vec::new();
    clap_mangen::Man::new(command.disable_help_flag(true))
        .title(name.to_uppercase())
        .render(&mut text)
        .map_err(|error| Failure::new(Code::Internal, format!("cannot write a page: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Internal, format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let mut written = 0;
        write_all(args::resolve(&[]).unwrap(), directory.path(), &mut written).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), written);
        let page = fs::read_to_string(directory.path().join("dsctl-lock-acquire.1")).unwrap();
        assert!(page.contains(".TH DSCTL-LOCK-ACQUIRE 1"), "{page}");
        assert!(page.contains("dsctl lock acquire"), "{page}");
        assert!(directory.path().join("dsctl-raft-snapshot-save.1").exists());
    }
}
