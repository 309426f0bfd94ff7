//! What Redis and the way to it can answer, as faults.

use dsync_core::{Code, Effect, Fault};
use redis::{ErrorKind, RedisError};

/// What an error means for the request and for the connection.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) fault: Fault,
    /// The connection is of no more use.
    pub(super) broken: bool,
    /// The server has forgotten the script.
    pub(super) no_script: bool,
}

/// Judges an error that answered a command sent to `server`.
pub(super) fn judge(server: &str, error: &RedisError) -> Judged {
    if error.kind() == ErrorKind::Io || error.is_io_error() || error.is_timeout() {
        return of_the_way(server, error);
    }
    let code = error.code().unwrap_or_default();
    let said = said(error);
    let (fault, broken) = match code {
        "READONLY" => (unavailable(server, "is a replica now: it takes no writes", &said), true),
        "LOADING" => (unavailable(server, "is still loading its data", &said), false),
        "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" => {
            (unavailable(server, "cannot serve this now", &said), code != "TRYAGAIN")
        }
        "BUSY" => (unavailable(server, "is busy with a script of someone else", &said), false),
        "MISCONF" => {
            let fault = unavailable(server, "cannot write to its disk and takes no writes", &said);
            (fault.hint("make room on the disk of Redis, or see its log"), false)
        }
        "OOM" => {
            let fault =
                unavailable(server, "is out of memory (maxmemory) and takes no writes", &said);
            (fault.hint("raise maxmemory, or delete what is not needed (of queues: let consumers catch up)"), false)
        }
        "NOREPLICAS" => (unavailable(server, "has too few replicas to take writes", &said), false),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => (denied(server, &said), code != "NOPERM"),
        "NOSCRIPT" => (unavailable(server, "has forgotten the script", &said), false),
        _ if error.kind() == ErrorKind::AuthenticationFailed => (denied(server, &said), true),
        _ => {
            let text = format!("Redis at {server} did not understand this node: {said}");
            (Fault { effect: Effect::Unknown, ..Fault::new(Code::Internal, text) }, false)
        }
    };
    Judged { fault, broken, no_script: code == "NOSCRIPT" }
}

/// The request may have been carried out: its answer is missing.
fn of_the_way(server: &str, error: &RedisError) -> Judged {
    let fault = if error.is_connection_refusal() {
        unavailable(server, "cannot be reached", &said(error))
    } else {
        Fault { code: Code::Unavailable, ..Fault::unknown(lost(server, &said(error))) }
    };
    Judged { fault, broken: true, no_script: false }
}

fn lost(server: &str, why: &str) -> String {
    format!("Redis at {server} did not answer: {why}")
}

fn unavailable(server: &str, what: &str, said: &str) -> Fault {
    Fault::unavailable(format!("Redis at {server} {what}: {said}"))
}

/// Waiting does not mend it: the operator must.
pub(super) fn denied(server: &str, said: &str) -> Fault {
    let text = format!("Redis at {server} does not let this node in: {said}");
    Fault::new(Code::Unavailable, text).hint(
        "set REDIS_PASSWORD (and REDIS_USERNAME) as that Redis wants them; its user needs the \
         commands of README's section on Redis",
    )
}

/// The words of Redis, or of the system.
pub(super) fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}
