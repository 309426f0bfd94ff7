//! The script's answer as outcomes.

use super::PARTITION_QUEUES_MAX;
use super::record::{Marks, Record};
use super::runs::{Kind, Run, runs};
use crate::queue::push::full_text;
use crate::queue::{
    Command, Delivery, Happened, Outcome, Popped, Pushed, Receipt, Settled, State, check,
};
use crate::redis::reply::{Read, Reply};

/// What a call of the script of commands did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// One per command, in order.
    pub outcomes: Vec<Outcome>,
    /// Jobs that are ready now.
    pub ready: u64,
    /// When the next thing happens by itself, a lease ends or a job is due: in milliseconds from
    /// `now_ms`; 0: at once, there was more to do than one call does. `None`: nothing will.
    pub next_due_ms: Option<u64>,
    /// A pop may get more than before.
    pub woken: bool,
    /// The time of the call.
    pub now_ms: u64,
    /// What became of jobs.
    pub happened: Happened,
}

/// Reads the answer to the call that [`encode`](super::encode) made of `commands`.
///
/// # Errors
/// An answer that the script does not give: words for the log. What the call did is not known.
pub fn decode(commands: &[Command], reply: Reply) -> Result<Done, String> {
    let [now, woken, ready, due, answers, happened] = reply.array()?;
    let [acked, expired, died] = happened.array()?;
    let now_ms = now.count()?;
    let mut outcomes: Vec<Outcome> = commands.iter().map(refused).collect();
    let mut set = |place: usize, outcome: Outcome| {
        if let Some(old) = outcomes.get_mut(place) {
            *old = outcome;
        }
    };
    let runs = runs(commands);
    if answers == Reply::Bytes(b"full".to_vec()) {
        let text = format!("the partition has {PARTITION_QUEUES_MAX} queues already");
        for place in runs.iter().flat_map(|run| &run.places) {
            set(*place, Outcome::LimitReached(text.clone()));
        }
    } else {
        let answers = answers.list()?;
        if answers.len() != runs.len() {
            return Err(format!("{} answers to {} runs", answers.len(), runs.len()));
        }
        for (run, answer) in runs.iter().zip(answers) {
            let of_run = outcomes_of(run, commands, answer, now_ms)?;
            run.places.iter().zip(of_run).for_each(|(place, outcome)| set(*place, outcome));
        }
    }
    Ok(Done {
        outcomes,
        ready: ready.count()?,
        next_due_ms: due.count_or_none()?,
        woken: woken.count()? > 0,
        now_ms,
        happened: Happened {
            acked: acked.count()?,
            expired: expired.count()?,
            died: died.count()?,
        },
    })
}

/// The outcome of a command that was not sent; those that were get another.
fn refused(command: &Command) -> Outcome {
    Outcome::Invalid(check(command).err().map(|fault| fault.message).unwrap_or_default())
}

fn outcomes_of(run: &Run, commands: &[Command], answer: Reply, now: u64) -> Read<Vec<Outcome>> {
    let in_run = run.places.iter().filter_map(|place| commands.get(*place));
    match run.kind {
        Kind::Push => {
            let [letters, limit] = answer.array()?;
            let (letters, limit) = (letters.bytes()?, limit.text()?);
            let mut letters = letters.iter();
            in_run
                .map(|command| {
                    let jobs = letters.by_ref().take(command.items());
                    jobs.map(|letter| pushed(*letter, &limit)).collect::<Read<_>>()
                })
                .map(|list| list.map(Outcome::Pushed))
                .collect()
        }
        Kind::Ack | Kind::Settle => {
            let letters = answer.bytes()?;
            let mut letters = letters.iter();
            in_run
                .map(|command| {
                    letters
                        .by_ref()
                        .take(command.items())
                        .copied()
                        .map(settled)
                        .collect::<Read<_>>()
                })
                .map(|list| list.map(Outcome::Settled))
                .collect()
        }
        Kind::Pop => {
            let answers = answer.list()?.into_iter();
            in_run.zip(answers).map(|(command, one)| popped(command, one, now)).collect()
        }
        Kind::Single => {
            let count = answer.count()?;
            Ok(in_run.map(|command| single(command, count)).collect())
        }
    }
}

fn single(command: &Command, count: u64) -> Outcome {
    let moves = matches!(
        command,
        Command::Purge
            | Command::Delete
            | Command::Redrive { .. }
            | Command::PurgeDead { .. }
            | Command::GiveBack { .. }
    );
    if moves { Outcome::Moved(count) } else { Outcome::Set }
}

fn pushed(letter: u8, limit: &str) -> Read<Pushed> {
    Ok(match letter {
        b'c' => Pushed::Created,
        b'f' => Pushed::Refused(full_text(limit)),
        other => Pushed::Duplicate { state: state(other)? },
    })
}

pub(super) fn state(letter: u8) -> Read<State> {
    Ok(match letter {
        b'r' => State::Ready,
        b'z' => State::Delayed,
        b'l' => State::Leased,
        b'x' => State::Dead,
        b'o' => State::Done,
        other => return Err(format!("the script answered {other} for a state")),
    })
}

fn settled(letter: u8) -> Read<Settled> {
    Ok(match letter {
        b'd' => Settled::Done,
        b'x' => Settled::Dead,
        b's' => Settled::Stale,
        other => return Err(format!("the script answered {other} to a receipt")),
    })
}

fn popped(command: &Command, answer: Reply, now: u64) -> Read<Outcome> {
    let Command::Pop { lease_ms, ack, .. } = command else {
        return Err("the script answered a pop that was none".to_owned());
    };
    let mut parts = answer.list()?.into_iter();
    let mut next = || parts.next().unwrap_or(Reply::Nil);
    let mut popped = Popped::default();
    match next().text()?.as_str() {
        "paused" => popped.paused = Some(next().text()?),
        "none" => popped.next_ms = next().count_or_none()?,
        "jobs" => {
            let (first, ids) = (next().count()?, next().bytes()?);
            let (records, marks) = (next().list()?, next().list()?);
            let lease_ms = if *ack { 0 } else { *lease_ms };
            let jobs = ids.chunks(16).zip(records).zip(marks).zip(first..);
            for (((id, record), marks), token) in jobs {
                popped.jobs.push(delivery(id, record, marks, (token, lease_ms, now))?);
            }
        }
        "again" => {
            let mut rest: Vec<Reply> = parts.collect();
            while !rest.is_empty() {
                let tail = rest.split_off(rest.len().min(5));
                let [token, id, lease, record, marks] = Reply::List(rest).array()?;
                rest = tail;
                let token = crate::redis::bytes::Bytes(&token.bytes()?).number(8)?;
                popped.jobs.push(delivery(
                    &id.bytes()?,
                    record,
                    marks,
                    (token, lease.count()?, now),
                )?);
            }
        }
        other => return Err(format!("the script answered {other:?} to a pop")),
    }
    Ok(Outcome::Popped(popped))
}

fn delivery(
    id: &[u8],
    record: Reply,
    marks: Reply,
    (token, lease_ms, now): (u64, u64, u64),
) -> Read<Delivery> {
    let record = Record::read(id, record.bytes()?)?;
    let mut marks = Marks::read(marks.option().map(Reply::bytes).transpose()?)?;
    Ok(Delivery {
        receipt: Receipt { id: record.id, token },
        payload: record.payload,
        priority: record.priority,
        attempt: marks.attempts.saturating_add(1),
        max_attempts: record.max_attempts,
        lease_ms,
        age_ms: now.saturating_sub(record.pushed_ms),
        headers: record.headers,
        last_error: marks.errors.pop(),
    })
}
