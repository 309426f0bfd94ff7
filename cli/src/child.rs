//! The child of `lock run` and of `queue work`: a process group of its own that dies with its parent.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{ExitStatus, Stdio};

use dsync_core::Code;
use rustix::process::{Pid, Signal, getpid, getppid};
use tokio::process::{Child as Process, ChildStderr, ChildStdin, Command};

use crate::error::{Failure, Result};
use crate::exit::Exit;

/// A running command.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    pid: Pid,
    group: bool,
}

/// Starts a command without a shell. `variables` are added last; `group`: in a group of its own.
///
/// # Errors
/// As env(1): not found 127, not executable 126, anything else 125.
pub(crate) fn start(
    command: &[OsString],
    variables: &[(&str, String)],
    group: bool,
) -> Result<Child> {
    spawn(prepare(command, variables, group)?, command, group)
}

/// Starts a command in a group of its own, with a pipe to its stdin and one from its stderr.
///
/// # Errors
/// As of [`start`].
pub(crate) fn start_piped(
    command: &[OsString],
    variables: &[(&str, String)],
) -> Result<(Child, ChildStdin, ChildStderr)> {
    let mut starting = prepare(command, variables, true)?;
    starting.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(starting, command, true)?;
    match (child.process.stdin.take(), child.process.stderr.take()) {
        (Some(stdin), Some(stderr)) => Ok((child, stdin, stderr)),
        _ => Err(run_failed("the command has no pipes".to_owned())),
    }
}

fn prepare(command: &[OsString], variables: &[(&str, String)], group: bool) -> Result<Command> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage("a command is missing after --"));
    };
    let mut starting = Command::new(program);
    starting.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    if group {
        starting.process_group(0);
    }
    die_with_parent(&mut starting);
    Ok(starting)
}

fn spawn(mut starting: Command, command: &[OsString], group: bool) -> Result<Child> {
    let program = command.first().map(OsString::as_os_str).unwrap_or_default();
    let process = starting.spawn().map_err(|error| cannot_start(program, &error))?;
    let pid = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    match pid {
        Some(pid) => Ok(Child { process, pid, group }),
        None => Err(run_failed("the command has no process id".to_owned())),
    }
}

fn run_failed(message: String) -> Failure {
    Failure::new(Code::Internal, message).named("run_failed").exit(Exit::RunFailed)
}

impl Child {
    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus> {
        let ended = self.process.wait().await;
        ended.map_err(|error| run_failed(format!("cannot wait for the command: {error}")))
    }

    /// Signals its whole group; without a group of its own, only the command itself.
    pub(crate) fn signal(&self, signal: Signal) {
        let sent = if self.group {
            rustix::process::kill_process_group(self.pid, signal)
        } else {
            rustix::process::kill_process(self.pid, signal)
        };
        // One that has just ended needs no signal.
        sent.unwrap_or_default();
    }

    /// Kills what is left of its group: the command may have ended and what it started may not. Without
    /// a group of its own nothing can be told from the caller's own processes, and nothing is killed.
    pub(crate) fn kill_rest(&self) {
        if self.group {
            self.signal(Signal::KILL);
        }
    }
}

/// How a command ended, as `lock run` ends then.
pub(crate) fn exit_of(status: ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt as _;
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Child(byte(code)),
        (None, Some(signal)) => Exit::Signal(byte(signal)),
        (None, None) => Exit::RunFailed,
    }
}

/// Nobody would enforce the deadline of a child whose parent was killed, so it is killed too.
#[expect(unsafe_code, reason = "the only way to run code between fork and exec")]
fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. This closure makes two
    // plain system calls, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the signal was set.
            match getppid() {
                Some(now) if now == parent => Ok(()),
                _ => Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error())),
            }
        });
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind ends the same way")]
fn cannot_start(program: &OsStr, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::NoSuchCommand,
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => Exit::NotExecutable,
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            Exit::NotExecutable
        }
        _ => Exit::RunFailed,
    };
    let message = format!("cannot run {}: {error}", program.to_string_lossy());
    Failure::new(Code::InvalidArgument, message).named("run_failed").exit(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[tokio::test]
    async fn a_child_ends_with_its_own_code_or_its_signal() {
        let mut child = start(&command(&["sh", "-c", "exit 7"]), &[], true).unwrap();
        assert_eq!(exit_of(child.wait().await.unwrap()).number(), 7);
        let mut child = start(&command(&["sleep", "600"]), &[], true).unwrap();
        child.signal(Signal::TERM);
        assert_eq!(exit_of(child.wait().await.unwrap()).number(), 143);
    }

    #[tokio::test]
    async fn a_signal_reaches_what_the_child_started() {
        // The shell waits for its own child; KILL of the group must end both.
        let mut child = start(&command(&["sh", "-c", "sleep 600; true"]), &[], true).unwrap();
        child.signal(Signal::KILL);
        assert_eq!(exit_of(child.wait().await.unwrap()).number(), 137);
    }

    #[tokio::test]
    async fn what_the_child_left_behind_is_killed_with_its_group() {
        let script = "trap '' TERM; sleep 600 & exit 0";
        let mut child = start(&command(&["sh", "-c", script]), &[], true).unwrap();
        child.wait().await.unwrap();
        // A group is there as long as anyone is in it.
        let there = || rustix::process::test_kill_process_group(child.pid).is_ok();
        assert!(there());
        child.kill_rest();
        while there() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_command_that_cannot_run_ends_as_with_env() {
        let exit = |words: &[&str]| start(&command(words), &[], true).unwrap_err().exit.number();
        assert_eq!(exit(&["/nonexistent/program"]), 127);
        assert_eq!(exit(&["/etc/passwd"]), 126);
        assert_eq!(exit(&["/"]), 126);
    }

    #[tokio::test]
    async fn variables_are_added_last() {
        let check = "test \"$DSYNC_LOCK_TOKEN\" = 4711";
        let variables = [("DSYNC_LOCK_TOKEN", "4711".to_owned())];
        let mut child = start(&command(&["sh", "-c", check]), &variables, true).unwrap();
        assert_eq!(exit_of(child.wait().await.unwrap()).number(), 0);
    }
}
