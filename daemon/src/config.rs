//! Reads flags, the process environment and `.env` files: the only place that does.
//!
//! What it all means is decided in `dsync_core::config`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use dsync::api::Setting;
use dsync_core::config::{
    self, EnvFile, EnvLine, Flag, Inputs, Key, NodeConfig, Problem, Refused, Resolved, Warning,
    dotenv,
};
use dsync_core::node::Role;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// A valid configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: NodeConfig,
    /// Each value and its source, secrets masked.
    pub settings: Vec<Setting>,
    /// What works but is hardly meant.
    pub warnings: Vec<Warning>,
}

/// Where a node that names itself keeps its name.
const NAME_FILE: &str = "node_id";
/// More bytes than any name has.
const NAME_FILE_MAX: usize = 256;

/// Reads the configuration without writing anything. A node with `NODE_ID=auto` that never ran
/// keeps the id `auto`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(files: &[impl AsRef<Path>], flags: Vec<Flag>) -> Result<Loaded, Refused> {
    check_inputs(gather(files, flags))
}

/// The same for one who only needs to know where the node is: `NODE_TYPE` may be missing.
///
/// # Errors
/// Everything else that is wrong with it.
pub fn check_address(files: &[impl AsRef<Path>], flags: Vec<Flag>) -> Result<Loaded, Refused> {
    let mut inputs = gather(files, flags);
    // A queue's rules are the least strict.
    let line = EnvLine {
        number: 1,
        key: Key::NodeType.name().to_owned(),
        value: Role::Queue.as_str().to_owned(),
    };
    inputs.files.insert(0, EnvFile { name: "default".to_owned(), lines: vec![line] });
    check_inputs(inputs)
}

fn check_inputs(inputs: Inputs) -> Result<Loaded, Refused> {
    let mut resolved = config::resolve(inputs)?;
    if resolved.needs_name()
        && let Some(name) = kept_name(&resolved.config.data_dir)?
    {
        take_name(&mut resolved, &name)?;
    }
    Ok(loaded(resolved))
}

/// Reads the configuration of a node that is about to run. A node with `NODE_ID=auto` gets its
/// name here, and keeps it in its data directory.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(files: &[impl AsRef<Path>], flags: Vec<Flag>) -> Result<Loaded, Refused> {
    let mut resolved = config::resolve(gather(files, flags))?;
    if resolved.needs_name() {
        let dir = &resolved.config.data_dir;
        if kept_name(dir)?.is_none() {
            keep_name(dir, &resolved.new_name(rand::random()))?;
        }
        let name = kept_name(dir)?.unwrap_or_default();
        take_name(&mut resolved, &name)?;
    }
    Ok(loaded(resolved))
}

fn loaded(resolved: Resolved) -> Loaded {
    let settings = resolved
        .settings
        .into_iter()
        .map(|setting| Setting {
            key: setting.key.to_owned(),
            value: setting.value,
            source: setting.source,
        })
        .collect();
    Loaded { config: resolved.config, settings, warnings: resolved.warnings }
}

fn gather(files: &[impl AsRef<Path>], flags: Vec<Flag>) -> Inputs {
    let mut inputs = Inputs { flags, host_name: host_name(), ..Inputs::default() };
    for key in Key::ALL {
        let name = key.name();
        match std::env::var(name) {
            Ok(value) => inputs.environment.push((name.to_owned(), value)),
            Err(std::env::VarError::NotPresent) => {}
            Err(std::env::VarError::NotUnicode(_)) => {
                let message = format!("{name} is not UTF-8");
                inputs.problems.push(Problem::new("environment", message, "set it anew"));
            }
        }
    }
    inputs.environment.sort();
    for path in files {
        match read_file(path.as_ref()) {
            Ok((file, problems)) => {
                inputs.files.push(file);
                inputs.problems.extend(problems);
            }
            Err(problem) => inputs.problems.push(problem),
        }
    }
    inputs
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn read_file(path: &Path) -> Result<(EnvFile, Vec<Problem>), Problem> {
    let name = path.display().to_string();
    match read_bytes(path, dotenv::FILE_MAX) {
        Ok(bytes) => Ok(parse_file(name, &bytes)),
        Err(error) => Err(dotenv::unreadable(&name, error)),
    }
}

/// Reads the text of a `.env` file: its assignments, and the lines that are refused.
pub fn parse_file(name: String, bytes: &[u8]) -> (EnvFile, Vec<Problem>) {
    let (prepared, mut problems) = dotenv::prepare(&name, bytes);
    let mut file = EnvFile { name, lines: Vec::new() };
    for line in prepared {
        let pair = dotenvy::from_read_iter(line.text.as_bytes()).next().and_then(Result::ok);
        match dotenv::parsed(&file.name, line.number, pair) {
            Ok(line) => file.lines.push(line),
            Err(problem) => problems.push(problem),
        }
    }
    (file, problems)
}

/// Reads at most one byte more than `most`, so that the excess is seen and no more is held.
fn read_bytes(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn kept_name(dir: &str) -> Result<Option<String>, Refused> {
    let path = Path::new(dir).join(NAME_FILE);
    match read_bytes(&path, NAME_FILE_MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(&path, &format!("cannot be read: {error}"))),
    }
}

/// Keeps the name whole or not at all, and durably: a node must never come back under another. Of
/// two processes that do this together one is the first, and both get its name.
fn keep_name(dir: &str, name: &str) -> Result<(), Refused> {
    let dir = Path::new(dir);
    let path = dir.join(NAME_FILE);
    let temporary = dir.join(format!("{NAME_FILE}.{name}"));
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let mut file = File::create(&temporary)?;
        file.write_all(name.as_bytes())?;
        file.sync_all()?;
        match renameat_with(CWD, &temporary, CWD, &path, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => std::fs::remove_file(&temporary),
            Err(error) => Err(error.into()),
            Ok(()) => File::open(dir)?.sync_all(),
        }
    };
    write().map_err(|error| refused(&path, &format!("cannot be written: {error}")))
}

fn take_name(resolved: &mut Resolved, name: &str) -> Result<(), Refused> {
    let path = Path::new(&resolved.config.data_dir).join(NAME_FILE);
    resolved.name_node(name).map_err(|why| refused(&path, &why))
}

fn refused(path: &Path, message: &str) -> Refused {
    let fix = "set DATA_DIR to a directory that this user may write, or NODE_ID to a name";
    let place = path.display().to_string();
    Refused { problems: vec![Problem::new(place, message, fix)], warnings: Vec::new() }
}
