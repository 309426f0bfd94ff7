//! Random commands: few ids, few requests, so that everything meets everything.

use dsync_core::name::Name;
use dsync_core::queue::{Backoff, Command, JobId, Limits, NewJob, Overflow, Receipt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Ids there are.
const IDS: u32 = 14;

/// A source of commands; one seed, one sequence.
#[derive(Debug)]
pub struct Random {
    rng: StdRng,
    /// Of deliveries, in the order in which they were made.
    pub receipts: Vec<Receipt>,
    serial: u64,
    /// Of the last pop.
    request: u128,
}

impl Random {
    /// The commands of a seed.
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), receipts: Vec::new(), serial: 0, request: 0 }
    }

    /// True so many times of a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.rng.random_range(0..end)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        let at = self.rng.random_range(0..of.len());
        *of.get(at).expect("below the length")
    }

    /// How long nothing happens: often not at all.
    pub fn pause(&mut self) -> u64 {
        match self.below(20) {
            0..=7 => 0,
            8..=14 => self.below(300),
            15..=18 => 300 + self.below(3_000),
            _ => self.below(200_000),
        }
    }

    /// Commands of one call: often one, at times many of one kind.
    pub fn commands(&mut self) -> Vec<Command> {
        let count = self.one(&[1, 1, 1, 2, 3, 6]);
        if !self.chance(30) {
            return (0..count).map(|_| self.command()).collect();
        }
        let kind = self.below(100);
        (0..count).map(|_| self.command_of(kind)).collect()
    }

    fn command(&mut self) -> Command {
        let kind = self.below(100);
        self.command_of(kind)
    }

    fn command_of(&mut self, kind: u64) -> Command {
        match kind {
            0..=27 => {
                let count = self.one(&[0, 1, 1, 1, 2, 4, 8]);
                Command::Push { jobs: (0..count).map(|_| self.job()).collect() }
            }
            28..=52 => self.pop(),
            53..=64 => Command::Ack { receipts: self.some_receipts() },
            65..=72 => Command::Nack {
                receipts: self.some_receipts(),
                delay_ms: self.one(&[None, None, Some(0), Some(1), Some(700)]),
                error: self.error(),
            },
            73..=75 => Command::Reject { receipts: self.some_receipts(), error: self.error() },
            76..=79 => Command::Release { receipts: self.some_receipts() },
            80..=84 => Command::Extend {
                receipts: self.some_receipts(),
                lease_ms: self.one(&[100, 500, 5_000]),
            },
            85 => Command::Pause { reason: "a test, é".to_owned() },
            86..=88 => Command::Resume,
            89 => Command::Purge,
            90..=93 => {
                let ids = self.some_ids();
                Command::Redrive { ids, max: self.one(&[1, 2, 5, 1_000]) }
            }
            94..=95 => {
                let ids = self.some_ids();
                Command::PurgeDead { ids, max: self.one(&[1, 2, 1_000]) }
            }
            96 => Command::Limit { limits: self.limits() },
            97..=98 => Command::GiveBack { request: self.some_request(70) },
            _ => self.broken(),
        }
    }

    /// One of the ids: some are hexadecimal digits, some are not.
    pub fn id(&mut self) -> JobId {
        let number = self.rng.random_range(0..IDS);
        match number % 3 {
            0 => JobId::random((u128::from(number) << 64) | (0x1_0001 * u128::from(number))),
            1 => JobId::parse(&format!("job-{number}")).expect("an id"),
            _ => JobId::parse(&format!("größe:{number}")).expect("an id"),
        }
    }

    fn some_ids(&mut self) -> Vec<JobId> {
        let count = self.one(&[0, 0, 1, 3]);
        (0..count).map(|_| self.id()).collect()
    }

    fn job(&mut self) -> NewJob {
        self.serial += 1;
        let length = self.one(&[0, 1, 20, 100]);
        let headers = self.one(&[0, 0, 1, 2]);
        NewJob {
            id: self.id(),
            payload: (0..length).map(|_| self.rng.random()).collect(),
            priority: self.one(&[0, 0, 0, 1, 5, 9]),
            delay_ms: self.one(&[0, 0, 0, 0, 1, 500, 2_000]),
            max_attempts: self.rng.random_range(0..4),
            backoff: Backoff {
                base_ms: self.one(&[0, 7, 200, 1_000]),
                max_ms: self.one(&[0, 1_000, 60_000]),
            },
            ttl_ms: self.one(&[0, 0, 0, 0, 1, 300, 3_000]),
            headers: (0..headers).map(|n| (format!("h{n}"), self.serial.to_string())).collect(),
        }
    }

    fn pop(&mut self) -> Command {
        self.request = self.some_request(20);
        Command::Pop {
            request: self.request,
            max: self.one(&[1, 1, 2, 3, 10]),
            lease_ms: self.one(&[100, 100, 800, 5_000]),
            ack: self.chance(10),
            consumer: Name::parse("consumer", self.one(&["w", "worker 2", "ü"])).expect("a name"),
        }
    }

    /// The last one, so many times of a hundred, or any.
    fn some_request(&mut self, percent: u32) -> u128 {
        if self.chance(percent) { self.request } else { u128::from(self.below(40)) }
    }

    /// Late ones, the same one twice, and such as never were.
    fn some_receipts(&mut self) -> Vec<Receipt> {
        let count = self.one(&[0, 1, 1, 1, 2, 5]);
        (0..count).map(|_| self.receipt()).collect()
    }

    fn receipt(&mut self) -> Receipt {
        let back = self.rng.random_range(0..12);
        let known = self.receipts.iter().rev().nth(back).cloned();
        let Some(mut receipt) = known else {
            return Receipt { id: self.id(), token: 0 };
        };
        match self.below(20) {
            0 => receipt.token = self.one(&[0, u64::MAX]),
            1 => receipt.id = self.id(),
            _ => {}
        }
        receipt
    }

    fn error(&mut self) -> String {
        let length = self.one(&[0, 3, 3, 600]);
        // Longer than what is kept, and cut within a character.
        format!("e{}", "ä".repeat(length))
    }

    fn limits(&mut self) -> Limits {
        if self.chance(25) {
            return Limits::default();
        }
        Limits {
            max_jobs: self.one(&[0, 0, 2, 5, u64::MAX]),
            overflow: self.one(&[Overflow::Reject, Overflow::DropOldest]),
            max_in_flight: self.one(&[0, 0, 1, 3]),
            rate_per_s: self.one(&[0, 0, 1, 5, 1_000_000]),
            burst: self.one(&[0, 1, 3]),
            dedup_ms: self.one(&[0, 1, 500, 5_000, 120_000]),
        }
    }

    fn broken(&mut self) -> Command {
        if self.chance(50) {
            return Command::Push { jobs: vec![NewJob { priority: 10, ..self.job() }] };
        }
        Command::Redrive { ids: Vec::new(), max: 0 }
    }
}
