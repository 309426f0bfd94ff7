//! Commands as arguments of the script.

use super::runs::{Kind, Run, runs};
use super::{names_key, partition, queue_key};
use crate::name::Name;
use crate::queue::{Command, JobId, Limits, NewJob, Overflow, Receipt, kept_error};
use crate::redis::Call;
use crate::redis::bytes::{put, put_sized};

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

pub(super) fn number<T: TryInto<u64>>(value: T) -> Vec<u8> {
    value.try_into().unwrap_or(u64::MAX).to_string().into_bytes()
}

fn encode_run(args: &mut Vec<Vec<u8>>, commands: &[Command], run: &Run) {
    let head = args.len() + 1;
    match run.kind {
        Kind::Push => args.extend(["P".into(), Vec::new()]),
        Kind::Pop => args.extend(["T".into(), Vec::new()]),
        Kind::Ack => args.extend(["A".into(), Vec::new()]),
        Kind::Settle => args.extend(["S".into(), Vec::new()]),
        Kind::Single => {}
    }
    let of_run = run.places.iter().filter_map(|place| commands.get(*place));
    let items: usize = of_run.map(|command| encode_command(args, command)).sum();
    if run.kind != Kind::Single
        && let Some(count) = args.get_mut(head)
    {
        *count = number(items);
    }
}

/// The arguments of one command; how many items of its run that is.
fn encode_command(args: &mut Vec<Vec<u8>>, command: &Command) -> usize {
    match command {
        Command::Push { jobs } => {
            for job in jobs {
                encode_job(args, job);
            }
            return jobs.len();
        }
        Command::Ack { receipts } => {
            args.extend(receipts.iter().map(receipt_bytes));
            return receipts.len();
        }
        Command::Pop { request, max, lease_ms, ack, consumer } => {
            let mut wish = Vec::with_capacity(13);
            put(&mut wish, 4, u64::from(*max));
            put(&mut wish, 8, *lease_ms);
            put(&mut wish, 1, u64::from(*ack));
            args.extend([request_bytes(*request), wish, consumer.as_str().into()]);
        }
        Command::Nack { receipts, delay_ms, error } => {
            encode_settle(args, "n", *delay_ms, error, receipts);
        }
        Command::Reject { receipts, error } => encode_settle(args, "j", None, error, receipts),
        Command::Release { receipts } => encode_settle(args, "r", None, "", receipts),
        Command::Extend { receipts, lease_ms } => {
            encode_settle(args, "e", Some(*lease_ms), "", receipts);
        }
        Command::Pause { reason } => args.extend(["Z".into(), reason.as_str().into()]),
        Command::Resume => args.push("R".into()),
        Command::Purge => args.push("U".into()),
        Command::Delete => args.push("W".into()),
        Command::Limit { limits } => args.extend(["L".into(), limits_bytes(limits)]),
        Command::Redrive { ids, max } => encode_dead(args, "D", ids, *max),
        Command::PurgeDead { ids, max } => encode_dead(args, "X", ids, *max),
        Command::GiveBack { request } => args.extend(["G".into(), request_bytes(*request)]),
    }
    1
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

fn encode_settle(
    args: &mut Vec<Vec<u8>>,
    kind: &str,
    ms: Option<u64>,
    error: &str,
    receipts: &[Receipt],
) {
    args.extend([kind.into(), clock(ms), kept_error(error).into(), number(receipts.len())]);
    args.extend(receipts.iter().map(receipt_bytes));
}

fn encode_dead(args: &mut Vec<Vec<u8>>, letter: &str, ids: &[JobId], max: u32) {
    args.extend([letter.into(), number(max), number(ids.len())]);
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
