//! Every exit code, in one table: `dsctl help exit-codes` prints it.

use std::process::ExitCode;

use dsync_core::Code;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Findings,
    Usage,
    Data,
    NotFound,
    Unavailable,
    Internal,
    Conflict,
    Timeout,
    Incompatible,
    Denied,
    Config,
    LockLost,
    Deadlock,
    RunFailed,
    NotExecutable,
    NoSuchCommand,
    /// The code of a child process.
    Child(u8),
    /// Ended by this signal.
    Signal(u8),
}

/// The table: code and meaning. 2 is kept for warnings.
pub(crate) const TABLE: &[(&str, &str)] = &[
    ("0", "done"),
    ("1", "findings: a benchmark missed its --slo, `queue audit` found something"),
    ("64", "usage: an argument, a flag or a variable is wrong"),
    (
        "65",
        "bad data: a file or an answer cannot be read, a payload or a value is too large, a line is no job, a key holds no number",
    ),
    (
        "66",
        "not found, or nothing there: a lock that nobody holds, a queue without a job to give, a key without a value, an unknown node or context",
    ),
    (
        "69",
        "unavailable: no node reachable, no leader, no quorum, a limit of the service or of a queue reached",
    ),
    ("70", "internal: a fault of dsync itself, or the output cannot be written"),
    (
        "73",
        "conflict: a stale token or receipt, a condition of a key that does not hold, a session that is over",
    ),
    ("75", "timeout: not acquired in time, or no answer within --timeout"),
    ("76", "not a dsd, another protocol version, another cluster, or a node of another role"),
    ("77", "denied: someone else holds the lock"),
    ("78", "configuration: an env file or the context file is wrong"),
    ("80", "the lock was lost while `lock run` or `lock acquire --keepalive` held it"),
    ("81", "deadlock, or wounded by an older request"),
    ("125", "`lock run` or `queue work` could not start the command"),
    ("126", "the command of `lock run` or `queue work` cannot be executed"),
    ("127", "the command of `lock run` or `queue work` was not found"),
    ("128+n", "ended by signal n (130: Ctrl-C); of `lock run`: the command was"),
];

impl Exit {
    /// The number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Findings => 1,
            Self::Usage => 64,
            Self::Data => 65,
            Self::NotFound => 66,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::Conflict => 73,
            Self::Timeout => 75,
            Self::Incompatible => 76,
            Self::Denied => 77,
            Self::Config => 78,
            Self::LockLost => 80,
            Self::Deadlock => 81,
            Self::RunFailed => 125,
            Self::NotExecutable => 126,
            Self::NoSuchCommand => 127,
            Self::Child(code) => code,
            Self::Signal(number) => 128_u8.saturating_add(number),
        }
    }

    /// How a failure of that kind ends the process.
    pub(crate) const fn of(code: Code) -> Self {
        match code {
            Code::InvalidArgument => Self::Usage,
            Code::NotFound => Self::NotFound,
            Code::Unavailable | Code::LimitReached => Self::Unavailable,
            Code::Internal => Self::Internal,
            Code::Conflict | Code::SessionExpired => Self::Conflict,
            Code::Timeout | Code::WouldBlock => Self::Timeout,
            Code::Incompatible | Code::WrongCluster | Code::WrongRole => Self::Incompatible,
            Code::NotOwner | Code::Denied => Self::Denied,
            Code::Deadlock | Code::Wounded => Self::Deadlock,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// The name of a kind of failure in JSON.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "invalid_argument",
        Code::NotFound => "not_found",
        Code::Unavailable => "unavailable",
        Code::Internal => "internal",
        Code::Conflict => "conflict",
        Code::Timeout => "timeout",
        Code::Incompatible => "incompatible",
        Code::WrongCluster => "wrong_cluster",
        Code::NotOwner => "not_owner",
        Code::Deadlock => "deadlock",
        Code::Wounded => "wounded",
        Code::SessionExpired => "session_expired",
        Code::LimitReached => "limit_reached",
        Code::WrongRole => "wrong_role",
        Code::Denied => "denied",
        Code::WouldBlock => "would_block",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Code; 16] = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::Unavailable,
        Code::Internal,
        Code::Conflict,
        Code::Timeout,
        Code::Incompatible,
        Code::WrongCluster,
        Code::NotOwner,
        Code::Deadlock,
        Code::Wounded,
        Code::SessionExpired,
        Code::LimitReached,
        Code::WrongRole,
        Code::Denied,
        Code::WouldBlock,
    ];

    #[test]
    fn every_code_ends_with_the_number_of_the_contract() {
        let found: Vec<_> =
            ALL.iter().map(|c| format!("{} {}", code_name(*c), Exit::of(*c).number())).collect();
        insta::assert_snapshot!(found.join("\n"), @"
        invalid_argument 64
        not_found 66
        unavailable 69
        internal 70
        conflict 73
        timeout 75
        incompatible 76
        wrong_cluster 76
        not_owner 77
        deadlock 81
        wounded 81
        session_expired 73
        limit_reached 69
        wrong_role 76
        denied 77
        would_block 75
        ");
    }

    #[test]
    fn every_number_in_use_is_in_the_table() {
        let fixed = [
            Exit::Done,
            Exit::Findings,
            Exit::Usage,
            Exit::Data,
            Exit::NotFound,
            Exit::Unavailable,
            Exit::Internal,
            Exit::Conflict,
            Exit::Timeout,
            Exit::Incompatible,
            Exit::Denied,
            Exit::Config,
            Exit::LockLost,
            Exit::Deadlock,
            Exit::RunFailed,
            Exit::NotExecutable,
            Exit::NoSuchCommand,
        ];
        for exit in fixed {
            let number = exit.number().to_string();
            assert!(TABLE.iter().any(|(code, _)| *code == number), "{number} is not in the table");
        }
        assert_eq!(TABLE.len(), fixed.len() + 1, "nothing but what is in use, and 128+n");
        assert_eq!(Exit::Signal(2).number(), 130);
        assert_eq!(Exit::Signal(200).number(), 255);
        assert_eq!(Exit::Child(7).number(), 7);
    }
}
