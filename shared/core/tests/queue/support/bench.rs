//! One queue under test, with its clock in the test's hand.

use crate::api::lock::At;
use crate::api::name::Name;
use crate::api::queue::{
    Backoff, Batch, Command, Delivery, JobId, JobView, NewJob, Outcome, Popped, Pushed, Query,
    QueueMachine, Receipt, Request, Seen, Settled, State, Stats,
};

pub(crate) fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

pub(crate) fn id(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

/// A job of no particular kind: its payload is its id.
pub(crate) fn job(text: &str) -> NewJob {
    NewJob {
        id: id(text),
        payload: text.as_bytes().to_vec(),
        priority: 0,
        delay_ms: 0,
        max_attempts: 3,
        backoff: Backoff { base_ms: 1_000, max_ms: 10_000 },
        ttl_ms: 0,
        headers: Vec::new(),
    }
}

/// A machine and its clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bench {
    pub(crate) machine: QueueMachine,
    pub(crate) now: u64,
    index: u64,
    pops: u128,
}

impl Bench {
    pub(crate) fn run_on(&mut self, queue: &str, command: Command) -> Outcome {
        self.index += 1;
        let at = At { index: self.index, term: 1, t_ms: self.now };
        let batch = Batch { requests: vec![Request { queue: name(queue), command }] };
        let mut applied = self.machine.apply(at, &batch);
        applied.outcomes.pop().unwrap()
    }

    pub(crate) fn run(&mut self, command: Command) -> Outcome {
        self.run_on("q", command)
    }

    /// An entry without commands: what ends by itself, ends.
    pub(crate) fn tick(&mut self) {
        self.index += 1;
        self.machine.apply(At { index: self.index, term: 1, t_ms: self.now }, &Batch::default());
    }

    pub(crate) fn push(&mut self, jobs: Vec<NewJob>) -> Vec<Pushed> {
        let Outcome::Pushed(done) = self.run(Command::Push { jobs }) else { panic!("not pushed") };
        done
    }

    pub(crate) fn push_all(&mut self, ids: &[&str]) {
        let done = self.push(ids.iter().map(|text| job(text)).collect());
        assert!(done.iter().all(|one| *one == Pushed::Created), "{done:?}");
    }

    pub(crate) fn pop_request(&mut self, request: u128, max: u32, lease_ms: u64) -> Popped {
        let consumer = name("worker");
        let pop = Command::Pop { request, max, lease_ms, ack: false, consumer };
        let Outcome::Popped(popped) = self.run(pop) else { panic!("not popped") };
        popped
    }

    /// A pop of its own.
    pub(crate) fn pop(&mut self, max: u32) -> Vec<Delivery> {
        self.pops += 1;
        self.pop_request(self.pops, max, 10_000).jobs
    }

    /// The ids that a pop gives.
    pub(crate) fn pop_ids(&mut self, max: u32) -> Vec<String> {
        self.pop(max).iter().map(|job| job.receipt.id.to_string()).collect()
    }

    pub(crate) fn settle(&mut self, command: Command) -> Settled {
        let Outcome::Settled(mut done) = self.run(command) else { panic!("not settled") };
        done.pop().unwrap()
    }

    pub(crate) fn ack(&mut self, receipt: &Receipt) -> Settled {
        self.settle(Command::Ack { receipts: vec![receipt.clone()] })
    }

    pub(crate) fn nack(&mut self, receipt: &Receipt, delay_ms: Option<u64>) -> Settled {
        let error = "it failed".to_owned();
        self.settle(Command::Nack { receipts: vec![receipt.clone()], delay_ms, error })
    }

    pub(crate) fn stats(&self) -> Stats {
        match self.machine.query(self.now, &Query::Stats { queue: name("q") }) {
            Seen::Stats(Some(stats)) => stats,
            other => panic!("{other:?}"),
        }
    }

    /// Ready, delayed, leased, dead.
    pub(crate) fn counts(&self) -> [u64; 4] {
        let stats = self.stats();
        [stats.ready, stats.delayed, stats.leased, stats.dead]
    }

    pub(crate) fn peek(&self, state: State) -> Vec<JobView> {
        let query = Query::Peek { queue: name("q"), state, skip: 0, limit: 100 };
        let Seen::Jobs { items, .. } = self.machine.query(self.now, &query) else {
            panic!("not jobs")
        };
        items
    }

    pub(crate) fn audit(&self) -> Vec<String> {
        match self.machine.query(self.now, &Query::Audit { queue: name("q") }) {
            Seen::Audit(found) => found,
            other => panic!("{other:?}"),
        }
    }
}
