//! Named clusters, in one file that only its owner may read.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use dsync_core::Code;
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};
use crate::exit::Exit;

use super::Vars;

/// The file: `$XDG_CONFIG_HOME/dsctl/contexts.json`, or below `~/.config`.
pub(crate) fn path(vars: Vars<'_>) -> Option<PathBuf> {
    let base = vars("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| vars("HOME").map(|home| Path::new(&home).join(".config")))?;
    Some(base.join("dsctl").join("contexts.json"))
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Context {
    /// Any nodes of it.
    pub(crate) endpoints: Vec<String>,
    /// Its node files, for the expected nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) node_files: Vec<String>,
    /// Its --timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// All, by name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Reads the file; one that does not exist holds nothing.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(broken(file, &error)),
        };
        serde_json::from_str(&text).map_err(|error| broken(file, &error))
    }

    /// Replaces the file as a whole; nobody but its owner may read it.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let failed = |error: std::io::Error| {
            Failure::new(Code::Internal, format!("cannot write {}: {error}", file.display()))
                .exit(Exit::Config)
        };
        let text = serde_json::to_string_pretty(self).map_err(|error| broken(file, &error))?;
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let draft = file.with_extension(format!("json.{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&draft)
            .and_then(|mut to| to.write_all(text.as_bytes()).and_then(|()| to.sync_all()))
            .and_then(|()| fs::rename(&draft, file));
        if written.is_err() {
            fs::remove_file(&draft).unwrap_or_default();
        }
        written.map_err(failed)
    }

    /// The context of that name.
    pub(crate) fn get(&self, name: &str) -> Result<&Context> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
            let hint = if known.is_empty() {
                "there is none yet; `dsctl context add NAME --endpoints HOST:PORT` makes one"
                    .to_owned()
            } else {
                format!("known: {}", known.join(", "))
            };
            Failure::new(Code::NotFound, format!("no context {name:?}")).hint(hint)
        })
    }
}

fn broken(file: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::InvalidArgument, format!("cannot read {}: {error}", file.display()))
        .hint("mend or remove the file; once it is gone, `dsctl context add` makes a new one")
        .exit(Exit::Config)
}
