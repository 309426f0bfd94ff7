//! What is given as an argument, in a file or on stdin.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;

use dsync_core::Code;

use crate::error::{Failure, Result};
use crate::exit::Exit;

/// Most bytes that are read of what is too large, to say how large it is.
const READ_MAX: u64 = 64 * 1024 * 1024;

/// Where it comes from.
enum Source {
    Text(String),
    Stdin,
    File(String),
}

impl Source {
    /// `what` names it where it is missing.
    fn of(given: Option<&str>, what: &str) -> Result<Self> {
        match given {
            None if io::stdin().is_terminal() => {
                Err(Failure::usage(format!("a {what} is missing"))
                    .hint("give it as an argument, as @FILE, or on stdin (-)"))
            }
            None | Some("-") => Ok(Self::Stdin),
            Some(text) => Ok(match text.strip_prefix('@') {
                Some(file) => Self::File(file.to_owned()),
                None => Self::Text(text.to_owned()),
            }),
        }
    }
}

/// What can be read of it bit by bit.
pub(crate) fn open(given: Option<&str>, what: &str) -> Result<Box<dyn Read + Send>> {
    Ok(match Source::of(given, what)? {
        Source::Text(text) => Box::new(io::Cursor::new(text)),
        Source::Stdin => Box::new(io::stdin()),
        Source::File(file) => open_file(Path::new(&file))?,
    })
}

/// A file, to be read.
pub(crate) fn open_file(file: &Path) -> Result<Box<dyn Read + Send>> {
    Ok(Box::new(File::open(file).map_err(|error| unreadable(&file.display().to_string(), &error))?))
}

/// All of it, at most so many bytes; `instead` says what to do with more.
pub(crate) fn bytes(
    given: Option<&str>,
    what: &str,
    (most, instead): (usize, &str),
) -> Result<Vec<u8>> {
    let bytes = match Source::of(given, what)? {
        Source::Text(text) => text.into_bytes(),
        Source::Stdin => {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().take(READ_MAX).read_to_end(&mut bytes);
            read.map_err(|error| unreadable("stdin", &error))?;
            bytes
        }
        Source::File(file) => fs::read(&file).map_err(|error| unreadable(&file, &error))?,
    };
    if bytes.len() > most {
        let text = format!("the {what} has {} bytes, at most {most} are possible", bytes.len());
        return Err(bad_data(text).hint(instead));
    }
    Ok(bytes)
}

/// Data that cannot be used.
pub(crate) fn bad_data(message: String) -> Failure {
    Failure::new(Code::InvalidArgument, message).named("bad_data").exit(Exit::Data)
}

/// A file that cannot be read.
pub(crate) fn unreadable(what: &str, error: &io::Error) -> Failure {
    let failure = bad_data(format!("cannot read {what}: {error}"));
    match error.kind() {
        io::ErrorKind::NotFound => failure.exit(Exit::NotFound),
        _ => failure,
    }
}
