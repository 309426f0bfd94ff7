//! Pushing the jobs of many lines, as they come.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::time::Duration;

use dsync::api::Durability;
use dsync::queue::Batcher;
use dsync_core::Effect;
use dsync_core::name::Name;
use dsync_core::queue::{Command, NewJob, Outcome, Pushed};
use indicatif::ProgressBar;
use tokio::sync::mpsc;

use crate::args::DurabilityArg;
use crate::commands::input::{bad_data, unreadable};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::lease::signals::Signals;
use crate::lease::take::{INTERRUPTED, interrupted};
use crate::output::progress;
use crate::output::views::queue::{Count, pushed_many};

use super::push::{as_safe_as, so_far};
use super::{Ctx, How, change_how, full, jsonl, refused};

/// Longest line: the longest payload with every byte escaped, and the rest of a job.
const LINE_MAX: usize = 4 * 1024 * 1024;
/// Lines that were read and not pushed yet, beside those of one batch.
const AHEAD: usize = 64;
/// Jobs wait so long for others to be pushed with.
const LINGER: Duration = Duration::from_millis(20);

/// Pushes the jobs of all lines, in order, and prints how many. A line that cannot be read ends it,
/// after all before it were pushed.
pub(super) async fn push_lines(
    ctx: &Ctx,
    queue: &Name,
    template: &NewJob,
    durability: Option<DurabilityArg>,
    from: Box<dyn Read + Send>,
) -> Result<Exit> {
    let mut lines = read_in_background(from);
    let mut stream = Stream {
        ctx,
        queue,
        how: How {
            id: ctx.request_id,
            wait: Duration::ZERO,
            durability: durability.map(Into::into),
        },
        batcher: Batcher::new(),
        numbers: VecDeque::new(),
        under_way: false,
        count: Count::default(),
        bar: progress::spinner(&ctx.out, format!("pushing to {queue}")),
    };
    let mut signals = Signals::ending()?;
    let result = tokio::select! {
        result = stream.all(&mut lines, template) => result,
        signal = signals.next_ending() => Err(interrupted(signal)),
    };
    stream.bar.finish_and_clear();
    let count = stream.count;
    if let Err(mut failure) = result {
        if failure.name == Some(INTERRUPTED) {
            failure = stream.interrupted(failure);
        }
        return Err(failure.after_pushing(count.all(), ctx.request_id));
    }
    ctx.out.show(&pushed_many(queue, &count))?;
    if let Some(reached) = count.durability {
        as_safe_as(stream.how.durability, reached, "the jobs are", ctx.request_id)?;
    }
    Ok(Exit::Done)
}

/// A line, or why there are no more.
type Read1 = std::io::Result<Vec<u8>>;

/// Reads lines where it may block: a pipe may be silent for as long as it likes.
fn read_in_background(from: Box<dyn Read + Send>) -> mpsc::Receiver<Read1> {
    let (sender, lines) = mpsc::channel(AHEAD);
    // Ends with its input, or when nobody wants its lines.
    drop(tokio::task::spawn_blocking(move || {
        let mut from = BufReader::new(from);
        loop {
            let mut line = Vec::new();
            let most = u64::try_from(LINE_MAX + 1).unwrap_or(u64::MAX);
            let read = from.by_ref().take(most).read_until(b'\n', &mut line);
            let last = !matches!(read, Ok(some) if some > 0 && line.len() <= LINE_MAX);
            let told = match read {
                Ok(0) => return,
                Ok(_) => sender.blocking_send(Ok(line)),
                Err(error) => sender.blocking_send(Err(error)),
            };
            if last || told.is_err() {
                return;
            }
        }
    }));
    lines
}

/// Jobs on their way from lines to the queue.
struct Stream<'a> {
    ctx: &'a Ctx,
    queue: &'a Name,
    how: How,
    batcher: Batcher,
    /// The lines of the jobs in the batcher.
    numbers: VecDeque<u64>,
    /// A batch was sent and is not answered.
    under_way: bool,
    count: Count,
    bar: ProgressBar,
}

impl Stream<'_> {
    async fn all(&mut self, lines: &mut mpsc::Receiver<Read1>, template: &NewJob) -> Result<()> {
        let mut number = 0_u64;
        loop {
            let line = if self.batcher.is_empty() {
                lines.recv().await
            } else if let Ok(line) = tokio::time::timeout(LINGER, lines.recv()).await {
                line
            } else {
                self.flush().await?;
                continue;
            };
            number += 1;
            let Some(line) = line else { return self.flush().await };
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    self.flush().await?;
                    return Err(self.stopped(unreadable(&format!("line {number}"), &error)));
                }
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.job(&line, template, number) {
                Ok(job) => self.add(job, number).await?,
                Err(why) => {
                    self.flush().await?;
                    return Err(self.stopped(bad_data(format!("line {number}: {why}"))));
                }
            }
        }
    }

    fn job(
        &self,
        line: &[u8],
        template: &NewJob,
        number: u64,
    ) -> std::result::Result<NewJob, String> {
        if line.len() > LINE_MAX {
            return Err(format!("it is longer than {LINE_MAX} bytes"));
        }
        // Ids are named after the request and the line: the same again is no second job.
        let bits = self.ctx.request_id.wrapping_add(u128::from(number) << 64);
        jsonl::read(line, template, bits)
    }

    async fn add(&mut self, job: NewJob, number: u64) -> Result<()> {
        let full = self.batcher.add(job);
        self.numbers.push_back(number);
        match full {
            Some(batch) => self.push(batch).await,
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        let batch = self.batcher.take();
        if batch.is_empty() { Ok(()) } else { self.push(batch).await }
    }

    async fn push(&mut self, jobs: Vec<NewJob>) -> Result<()> {
        self.ctx.renew_time();
        let numbers: Vec<_> = self.numbers.drain(..jobs.len().min(self.numbers.len())).collect();
        self.under_way = true;
        let pushed = change_how(self.ctx, self.queue, Command::Push { jobs }, self.how).await;
        self.under_way = false;
        let done = pushed.map_err(|failure| self.stopped_at(&numbers, failure))?;
        let Outcome::Pushed(states) = &done.outcome else {
            let failure = refused(&done.outcome, &done.served_by);
            return Err(self.stopped_at(&numbers, failure));
        };
        self.count.durability = Some(weaker(self.count.durability, done.durability));
        let mut no_room = None;
        for (state, number) in states.iter().zip(&numbers) {
            match state {
                Pushed::Created => self.count.created += 1,
                Pushed::Duplicate { .. } => self.count.duplicates += 1,
                Pushed::Refused(limit) => {
                    no_room.get_or_insert_with(|| (*number, limit.clone(), 0_u64)).2 += 1;
                }
            }
        }
        self.bar.set_message(format!("{} pushed to {}", self.count.all(), self.queue));
        match no_room {
            None => Ok(()),
            Some((number, limit, lines)) => {
                let mut failure = full(self.queue, &limit);
                let (message, pushed) = (&failure.fault.message, self.count.all());
                let pushed = match pushed {
                    1 => "1 job was pushed".to_owned(),
                    some => format!("{some} jobs were pushed"),
                };
                failure.fault.message = match lines {
                    1 => format!("{message}: line {number} was refused; {pushed}"),
                    some => format!(
                        "{message}: {some} lines from line {number} on were refused; {pushed}"
                    ),
                };
                Err(failure)
            }
        }
    }

    /// A failure of a batch, with the lines it was made of.
    fn stopped_at(&self, numbers: &[u64], mut failure: Failure) -> Failure {
        let message = &failure.fault.message;
        failure.fault.message = match numbers {
            [] => message.clone(),
            [one] => format!("line {one}: {message}"),
            [first, .., last] => format!("lines {first} to {last}: {message}"),
        };
        self.stopped(failure)
    }

    /// The end that a signal brought: what is under way may be pushed or not.
    fn interrupted(&self, mut failure: Failure) -> Failure {
        if self.under_way {
            failure.fault.effect = Effect::Unknown;
        }
        let so_far = so_far(self.queue, self.count.all());
        failure.fault.message = format!("{}; {so_far}", failure.fault.message);
        failure
    }

    /// A failure, with how much was pushed before.
    fn stopped(&self, mut failure: Failure) -> Failure {
        let so_far = so_far(self.queue, self.count.all());
        failure.fault.message = format!("{}; {so_far}", failure.fault.message);
        failure
    }
}

/// What both promise.
fn weaker(known: Option<Durability>, new: Durability) -> Durability {
    let is = |one: &Durability| Some(*one) == known || *one == new;
    Durability::ALL.into_iter().find(is).unwrap_or(new)
}
