//! `dsctl lock …`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use dsync_core::lock::{Mode, Policy, Token};
use dsync_core::name::Name;

use super::parse;

/// Verbs of `lock`.
#[derive(Debug, Subcommand)]
pub(crate) enum Lock {
    /// Take a lock and return with a lease, without keeping a process
    ///
    /// Does not wait unless --wait says so. The lease ends after --ttl; `lock renew` extends it,
    /// --keepalive stays in the foreground and renews until interrupted. The token rises with every
    /// grant: pass it to the resource and let the resource refuse an older one.
    #[command(before_help = "Example:\n  dsctl lock acquire deploy/prod --ttl 30s --wait 10s")]
    Acquire(Acquire),
    /// Give a lock back
    ///
    /// Without --token, gives back what this owner holds; lists the tokens if that is several.
    #[command(before_help = "Example:\n  dsctl lock release deploy/prod --token 4711")]
    Release(Release),
    /// Extend the lease of a lock
    #[command(before_help = "Example:\n  dsctl lock renew deploy/prod --token 4711")]
    Renew(Renew),
    /// Hold locks while a command runs
    ///
    /// Waits until all locks are free (--wait and --no-wait limit that), keeps them renewed, runs the
    /// command without a shell and in a process group of its own, forwards signals, and gives the
    /// locks back when it ends. When the lease cannot be renewed, the command is asked to end (TERM)
    /// and is killed, with all that is left of its group, before the locks can be granted to anyone
    /// else. If dsctl itself is killed, so is the command, but not what the command has started. The
    /// command finds
    /// DSYNC_LOCK_NAME, _TOKEN, _MODE, _SESSION, _OWNER and _TTL_MS in its environment; of several
    /// locks, NAME, TOKEN and MODE have one line each.
    #[command(
        before_help = "Example:\n  dsctl lock run deploy/prod --wait 1m -- ./deploy.sh --fast"
    )]
    Run(Run),
    /// Change how a lock is held
    ///
    /// To shared is immediate; to exclusive may have to wait for other sharers.
    #[command(
        before_help = "Example:\n  dsctl lock convert report --token 4711 --to exclusive --wait 5s"
    )]
    Convert(Convert),
    /// List the locks that are held or waited for
    #[command(before_help = "Example:\n  dsctl lock list --prefix deploy/ --waiting")]
    List(List),
    /// Show who holds a lock and who waits for it
    #[command(before_help = "Example:\n  dsctl lock show deploy/prod")]
    Show(Show),
    /// Check that a token still holds its lock
    #[command(before_help = "Example:\n  dsctl lock validate deploy/prod --token 4711")]
    Validate(Validate),
    /// Take a lock away from whoever holds it
    ///
    /// A pause follows before it is granted again, so that the old holder can notice.
    #[command(
        before_help = "Example:\n  dsctl lock force-release deploy/prod --token 4711 --reason 'host is gone'"
    )]
    ForceRelease(ForceRelease),
    /// Show who waits for whom
    #[command(before_help = "Example:\n  dsctl lock deadlocks")]
    Deadlocks,
}

/// How to hold.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Share {
    /// Share it with others who share
    #[arg(long, conflicts_with = "permits")]
    pub(crate) shared: bool,
    /// Take K of N permits
    #[arg(long, value_name = "K/N", value_parser = parse::permits)]
    pub(crate) permits: Option<Mode>,
}

impl Share {
    /// The mode.
    pub(crate) fn mode(self) -> Mode {
        match (self.permits, self.shared) {
            (Some(permits), _) => permits,
            (None, true) => Mode::Shared,
            (None, false) => Mode::Exclusive,
        }
    }
}

/// What to do when it would wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PolicyArg {
    /// Wait; a request that would close a cycle of waiters fails
    #[default]
    Detect,
    /// An older session takes the lock from a younger holder
    WoundWait,
    /// A younger session fails at once
    WaitDie,
}

impl From<PolicyArg> for Policy {
    fn from(arg: PolicyArg) -> Self {
        match arg {
            PolicyArg::Detect => Self::Detect,
            PolicyArg::WoundWait => Self::WoundWait,
            PolicyArg::WaitDie => Self::WaitDie,
        }
    }
}

/// Arguments of `acquire`.
#[derive(Debug, Args)]
pub(crate) struct Acquire {
    /// Name of the lock
    #[arg(value_parser = parse::name)]
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) share: Share,
    /// Lease: how long it is held unless renewed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse::ttl, allow_hyphen_values = true)]
    pub(crate) ttl: Duration,
    /// Longest wait
    #[arg(long, value_name = "DURATION", value_parser = parse::wait, conflicts_with = "no_wait", allow_hyphen_values = true)]
    pub(crate) wait: Option<Duration>,
    /// Do not wait (the default)
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Who holds it
    #[arg(
        long,
        value_name = "ID",
        value_parser = parse::name,
        help = "Who holds it [env: DSCTL_OWNER] [default: user@host]"
    )]
    pub(crate) owner: Option<Name>,
    /// What to do when it would wait
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    pub(crate) policy: PolicyArg,
    /// Stay in the foreground and renew until interrupted, then give it back
    #[arg(long)]
    pub(crate) keepalive: bool,
}

/// Arguments of `release`.
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// Name of the lock
    #[arg(value_parser = parse::name)]
    pub(crate) name: Name,
    /// Token of the grant
    #[arg(long, value_parser = token, conflicts_with = "owner")]
    pub(crate) token: Option<Token>,
    /// Whose grant
    #[arg(
        long,
        value_name = "ID",
        value_parser = parse::name,
        help = "Whose grant [env: DSCTL_OWNER] [default: user@host]"
    )]
    pub(crate) owner: Option<Name>,
}

/// Arguments of `renew`.
#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// Name of the lock
    #[arg(value_parser = parse::name)]
    pub(crate) name: Name,
    /// Token of the grant
    #[arg(long, value_parser = token)]
    pub(crate) token: Token,
    /// A new lease; without it the old one runs anew
    #[arg(long, value_name = "DURATION", value_parser = parse::ttl, allow_hyphen_values = true)]
    pub(crate) ttl: Option<Duration>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Names of the locks, at most 64: all are taken or none
    #[arg(required = true, value_name = "NAME", value_parser = parse::name)]
    pub(crate) names: Vec<Name>,
    #[command(flatten)]
    pub(crate) share: Share,
    /// Lease: the command is dead so long after the cluster was last heard, at the latest
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = parse::ttl, allow_hyphen_values = true)]
    pub(crate) ttl: Duration,
    /// Longest wait for the locks [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = parse::wait, conflicts_with = "no_wait", allow_hyphen_values = true)]
    pub(crate) wait: Option<Duration>,
    /// Do not wait for the locks
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Time between TERM and KILL when the lease runs out, at most a third of it [default: a third, at most 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
    pub(crate) grace: Option<Duration>,
    /// Leave the command in this process group, so that it may read the terminal; only the command
    /// itself is signalled and killed then, not what it starts
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Who holds them
    #[arg(
        long,
        value_name = "ID",
        value_parser = parse::name,
        help = "Who holds them [env: DSCTL_OWNER] [default: user@host]"
    )]
    pub(crate) owner: Option<Name>,
    /// What to do when it would wait
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    pub(crate) policy: PolicyArg,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Modes that a grant can be converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertTo {
    /// By any number of sharers
    Shared,
    /// By one
    Exclusive,
}

impl From<ConvertTo> for Mode {
    fn from(to: ConvertTo) -> Self {
        match to {
            ConvertTo::Shared => Self::Shared,
            ConvertTo::Exclusive => Self::Exclusive,
        }
    }
}

/// Arguments of `convert`.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// Name of the lock
    #[arg(value_parser = parse::name)]
    pub(crate) name: Name,
    /// Token of the grant
    #[arg(long, value_parser = token)]
    pub(crate) token: Token,
    /// How to hold it
    #[arg(long, value_enum)]
    pub(crate) to: ConvertTo,
    /// Longest wait; the lease is renewed meanwhile
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse::wait, allow_hyphen_values = true)]
    pub(crate) wait: Duration,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only names that begin so
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Only locks that someone waits for
    #[arg(long)]
    pub(crate) waiting: bool,
    /// Stay and print what happens
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Name of the lock
    #[arg(value_parser = parse::name)]
    pub(crate) name: Name,
    /// Stay and print what happens
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// Name of the lock
    #[arg(value_parser = parse::name)]
    pub(crate) name: Name,
    /// The token
    #[arg(long, value_parser = token)]
    pub(crate) token: Token,
}

/// Arguments of `force-release`.
#[derive(Debug, Args)]
pub(crate) struct ForceRelease {
    /// Name of the lock
    #[arg(value_parser = parse::name)]
    pub(crate) name: Name,
    /// Token of the grant, so that only what was looked at is taken
    #[arg(long, value_parser = token)]
    pub(crate) token: Token,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: String,
    /// Who does it
    #[arg(
        long,
        value_name = "ID",
        value_parser = parse::name,
        help = "Who does it [env: DSCTL_OWNER] [default: user@host]"
    )]
    pub(crate) owner: Option<Name>,
}

/// A token: a whole number above 0.
fn token(text: &str) -> Result<Token, String> {
    match text.parse::<u64>() {
        Ok(number) if number > 0 => Ok(Token(number)),
        _ => Err(format!("{text:?} is no token; `dsctl lock show NAME` lists the tokens")),
    }
}

/// A reason: a line of at most 255 bytes.
fn reason(text: &str) -> Result<String, String> {
    Name::parse("reason", text.trim()).map(String::from).map_err(|fault| fault.message)
}
