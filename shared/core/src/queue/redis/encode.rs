//! Commands as arguments of the script.

use super::record::{put, put_sized};
use super::runs::{Kind, Run, runs};
use super::{names_key, partition, queue_key};
use crate::name::Name;
use crate::queue::{Command, JobId, Limits, NewJob, Overflow, Receipt, kept_error};

/// One call of a script: `EVALSHA sha keys.len() keys… args…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The keys that name the node of a cluster; the script makes the others of them.
    pub keys: Vec<Vec<u8>>,
    /// The arguments.
    pub args: Vec<Vec<u8>>,
}

/// The call of [`COMMANDS`](super::COMMANDS) that carries commands out, in order and as one step.
/// With no commands it only does what ends by itself. Neighbours of one kind cost little more than
/// one of them. Commands that [`check`](crate::queue::check) refuses are left out.
///
/// # Time
/// Of Redis; `now_ms` is for tests, which have their own.
///
/// # Limits
/// Redis does nothing else meanwhile: at most 1 000 jobs, receipts and pops together are advised.
pub fn encode(queue: &Name, commands: &[Command], now_ms: Option<u64>) -> Call {
    let mut args = vec![clock(now_ms), queue.as_str().as_bytes().to_vec()];
    for run in runs(commands) {
        encode_run(&mut args, commands, &run);
    }
    Call { keys: vec![queue_key(queue), names_key(partition(queue))], args }
}

pub(super) fn clock(now_ms: Option<u64>) -> Vec<u8> {
    now_ms.map(number).unwrap_or_default()
}

pub(super) fn number(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn count(list: impl ExactSizeIterator) -> Vec<u8> {
    number(list.len())
}

fn encode_run(args: &mut Vec<Vec<u8>>, commands: &[Command], run: &Run) {
    let run_of = || run.places.iter().filter_map(|place| commands.get(*place));
    let head = args.len() + 1;
    let mut items = 0;
    let letter = match run.kind {
        Kind::Push => "P",
        Kind::Pop => "T",
        Kind::Ack => "A",
        Kind::Settle => "S",
        Kind::Single => {
            run_of().for_each(|command| encode_single(args, command));
            return;
        }
    };
    args.push(letter.into());
    args.push(Vec::new());
    for command in run_of() {
        items += match command {
            Command::Push { jobs } => {
                jobs.iter().for_each(|job| encode_job(args, job));
                jobs.len()
            }
            Command::Ack { receipts } => {
                args.extend(receipts.iter().map(receipt_bytes));
                receipts.len()
            }
            Command::Pop { .. } => encode_pop(args, command),
            _ => encode_settle(args, command),
        };
    }
    if let Some(place) = args.get_mut(head) {
        *place = number(items);
    }
}

fn encode_job(args: &mut Vec<Vec<u8>>, job: &NewJob) {
    let mut head = id_bytes(&job.id);
    put(&mut head, 4, job.delay_ms);
    put(&mut head, 1, u64::from(job.priority));
    put_sized(&mut head, 4, job.payload.len());
    put_sized(&mut head, 2, job.headers.iter().map(|(name, value)| name.len() + value.len()).sum());
    put(&mut head, 4, u64::from(job.max_attempts));
    put(&mut head, 4, job.backoff.base_ms);
    put(&mut head, 4, job.backoff.max_ms);
    put(&mut head, 4, job.ttl_ms);
    let mut headers = Vec::new();
    for text in job.headers.iter().flat_map(|(name, value)| [name, value]) {
        put_sized(&mut headers, 2, text.len());
        headers.extend(text.as_bytes());
    }
    // The 16 bytes say it all if it is the hexadecimal digits of them.
    let hex = JobId::random(job.id.bits()) == job.id;
    let text = if hex { "" } else { job.id.as_str() };
    let mut rest = Vec::with_capacity(3 + text.len() + headers.len() + job.payload.len());
    put_sized(&mut rest, 1, text.len());
    rest.extend(text.as_bytes());
    put_sized(&mut rest, 2, headers.len());
    rest.extend(headers);
    rest.extend(&job.payload);
    args.extend([head, rest]);
}

fn encode_pop(args: &mut Vec<Vec<u8>>, command: &Command) -> usize {
    let Command::Pop { request, max, lease_ms, ack, consumer } = command else { return 0 };
    let mut wish = Vec::with_capacity(13);
    put(&mut wish, 4, u64::from(*max));
    put(&mut wish, 8, *lease_ms);
    put(&mut wish, 1, u64::from(*ack));
    args.extend([request_bytes(*request), wish, consumer.as_str().into()]);
    1
}

fn encode_settle(args: &mut Vec<Vec<u8>>, command: &Command) -> usize {
    let (kind, ms, error, receipts) = match command {
        Command::Nack { receipts, delay_ms, error } => ("n", *delay_ms, error.as_str(), receipts),
        Command::Reject { receipts, error } => ("j", None, error.as_str(), receipts),
        Command::Release { receipts } => ("r", None, "", receipts),
        Command::Extend { receipts, lease_ms } => ("e", Some(*lease_ms), "", receipts),
        _ => return 0,
    };
    args.extend([kind.into(), clock(ms), kept_error(error).into(), count(receipts.iter())]);
    args.extend(receipts.iter().map(receipt_bytes));
    1
}

fn encode_single(args: &mut Vec<Vec<u8>>, command: &Command) {
    match command {
        Command::Pause { reason } => args.extend(["Z".into(), reason.as_str().into()]),
        Command::Resume => args.push("R".into()),
        Command::Purge => args.push("U".into()),
        Command::Limit { limits } => args.extend(["L".into(), limits_bytes(limits)]),
        Command::Redrive { ids, max } => encode_dead(args, "D", ids, *max),
        Command::PurgeDead { ids, max } => encode_dead(args, "X", ids, *max),
        Command::GiveBack { request } => args.extend(["G".into(), request_bytes(*request)]),
        _ => {}
    }
}

fn encode_dead(args: &mut Vec<Vec<u8>>, letter: &str, ids: &[JobId], max: u32) {
    args.extend([letter.into(), number(max), count(ids.iter())]);
    args.extend(ids.iter().map(id_bytes));
}

pub(super) fn id_bytes(id: &JobId) -> Vec<u8> {
    id.bits().to_be_bytes().to_vec()
}

fn request_bytes(request: u128) -> Vec<u8> {
    format!("{request:032x}").into_bytes()
}

fn receipt_bytes(receipt: &Receipt) -> Vec<u8> {
    let mut bytes = receipt.token.to_be_bytes().to_vec();
    bytes.extend(receipt.id.bits().to_be_bytes());
    bytes
}

/// Limits as the script keeps them; the default ones are nothing.
fn limits_bytes(limits: &Limits) -> Vec<u8> {
    let mut bytes = Vec::new();
    if *limits == Limits::default() {
        return bytes;
    }
    put(&mut bytes, 8, limits.max_jobs);
    put(&mut bytes, 1, u64::from(limits.overflow == Overflow::DropOldest));
    put(&mut bytes, 4, u64::from(limits.max_in_flight));
    put(&mut bytes, 4, u64::from(limits.rate_per_s));
    put(&mut bytes, 4, u64::from(limits.burst));
    put(&mut bytes, 8, limits.dedup_ms);
    bytes
}
