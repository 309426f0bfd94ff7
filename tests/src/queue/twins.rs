//! One queue in the machine and in Redis, at one time, told the same: they must answer the same.

use std::collections::BTreeMap;

use dsync_core::lock::At;
use dsync_core::name::Name;
use dsync_core::queue::redis::Done;
use dsync_core::queue::{
    Applied, Batch, Command, JobId, Outcome, Popped, Query, QueueMachine, Receipt, Request, State,
};

use super::scripts::Scripts;

/// The states of a job that a peek shows.
pub const STATES: [State; 5] =
    [State::Ready, State::Delayed, State::Leased, State::Dead, State::Done];

/// The machine and Redis. Receipts outside are those of the machine.
#[derive(Debug)]
pub struct Twins<'a> {
    /// The queue.
    pub queue: Name,
    /// The time of both.
    pub now: u64,
    machine: QueueMachine,
    scripts: &'a mut Scripts,
    index: u64,
    /// Tokens of Redis by those of the machine. Both rise.
    tokens: BTreeMap<u64, u64>,
    last_of_redis: u64,
}

/// Equal, or what each says.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, machine: &T, redis: &T) -> Result<(), String> {
    if machine == redis {
        return Ok(());
    }
    Err(format!("{what}: the machine says\n  {machine:?}\nRedis says\n  {redis:?}"))
}

impl<'a> Twins<'a> {
    /// A queue that is in neither yet.
    pub fn new(queue: &str, now: u64, scripts: &'a mut Scripts) -> Self {
        Self {
            queue: Name::parse("queue", queue).expect("a name"),
            now,
            machine: QueueMachine::new(),
            scripts,
            index: 0,
            tokens: BTreeMap::new(),
            last_of_redis: 0,
        }
    }

    /// Both carry the commands out as one step.
    ///
    /// # Errors
    /// What they do not agree on.
    pub fn run(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, String> {
        self.index += 1;
        let at = At { index: self.index, term: 1, t_ms: self.now };
        let requests = commands
            .iter()
            .map(|command| Request { queue: self.queue.clone(), command: command.clone() })
            .collect();
        let applied = self.machine.apply(at, &Batch { requests });
        let translated: Vec<Command> = commands.iter().map(|one| self.translated(one)).collect();
        let mut done = self.scripts.run(&self.queue, &translated, Some(self.now))?;
        self.compare(commands, &applied, &mut done)?;
        Ok(applied.outcomes)
    }

    fn compare(
        &mut self,
        commands: &[Command],
        applied: &Applied,
        done: &mut Done,
    ) -> Result<(), String> {
        let pairs = applied.outcomes.iter().zip(&mut done.outcomes);
        for ((machine, redis), command) in pairs.zip(commands) {
            if let (Outcome::Popped(machine), Outcome::Popped(redis)) = (machine, &mut *redis) {
                self.translate(machine, redis)?;
            }
            same(&format!("{command:?}"), machine, redis)?;
        }
        same("outcomes", &applied.outcomes.len(), &done.outcomes.len())?;
        let due = self.machine.next_deadline().map(|at| at.saturating_sub(self.now));
        same("next due", &due, &done.next_due_ms)?;
        same("ready", &self.machine.ready(&self.queue), &usize::try_from(done.ready).unwrap_or(0))?;
        same("woken", &applied.woken.contains(&self.queue), &done.woken)?;
        same("time", &self.now, &done.now_ms)
    }

    /// Puts the machine's tokens in place of those of Redis, one for one.
    fn translate(&mut self, machine: &Popped, redis: &mut Popped) -> Result<(), String> {
        for (one, other) in machine.jobs.iter().zip(&mut redis.jobs) {
            let (wanted, given) = (one.receipt.token, &mut other.receipt.token);
            let known = *self.tokens.entry(wanted).or_insert(*given);
            if known != *given {
                return Err(format!("token {wanted} is {known} and {given} in Redis"));
            }
            if *given > self.last_of_redis {
                self.last_of_redis = *given;
            } else if self.tokens.values().filter(|token| **token == *given).count() > 1 {
                return Err(format!("Redis gave the token {given} twice"));
            }
            *given = wanted;
        }
        Ok(())
    }

    fn translated(&self, command: &Command) -> Command {
        let mut command = command.clone();
        if let Command::Ack { receipts }
        | Command::Nack { receipts, .. }
        | Command::Reject { receipts, .. }
        | Command::Release { receipts }
        | Command::Extend { receipts, .. } = &mut command
        {
            for Receipt { token, .. } in receipts {
                *token = self.tokens.get(token).copied().unwrap_or(*token);
            }
        }
        command
    }

    /// Both answer the reads.
    ///
    /// # Errors
    /// What they do not agree on.
    pub fn ask(&mut self, queries: &[Query]) -> Result<(), String> {
        let seen = self.scripts.ask(queries, Some(self.now))?;
        for (query, redis) in queries.iter().zip(&seen) {
            same(&format!("{query:?}"), &self.machine.query(self.now, query), redis)?;
        }
        Ok(())
    }

    /// The counts of the queue and their audit.
    pub fn counts(&self) -> Vec<Query> {
        let queue = || self.queue.clone();
        vec![Query::Stats { queue: queue() }, Query::Audit { queue: queue() }]
    }

    /// A page of jobs.
    pub fn page(&self, state: State, skip: u32, limit: u32) -> Query {
        Query::Peek { queue: self.queue.clone(), state, skip, limit }
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Query {
        Query::Job { queue: self.queue.clone(), id }
    }

    /// Everything there is to see of the queue.
    ///
    /// # Errors
    /// What they do not agree on.
    pub fn compare_all(&mut self) -> Result<(), String> {
        let mut queries = self.counts();
        queries.extend(STATES.map(|state| self.page(state, 0, 100)));
        self.ask(&queries)
    }
}
