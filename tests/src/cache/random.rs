//! Random questions to the memory: few keys, few nodes, few epochs, so that everything meets
//! everything.

use dsync_core::cache::command::{Ask, By, Command, Query, Selector, Sign, WriteId, Written};
use dsync_core::cache::item::Session;
use dsync_core::cache::op::{Action, Bytes, Condition, Key, Op, Value, tags_of};
use dsync_core::cache::view::{Member, View, partition_of};
use dsync_core::name::Name;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Keys there are, none in the order of names.
const KEYS: [&str; 7] = ["b", "a", "a:1", "ü", "a:2", "a:10", "\u{10ffff} {x}"];
const NODES: [&str; 2] = ["n1", "n 2"];
const TAGS: [&str; 3] = ["red", "blå", "red:1"];
/// What is a number and what is none.
const TEXTS: [&str; 14] = [
    "",
    "x",
    "0",
    "7",
    "-12",
    "03",
    "+3",
    "-0",
    " 1",
    "1.0",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "9007199254740993",
];
const ADDED: [i64; 9] =
    [0, 1, -1, 5, i64::MAX, i64::MIN, i64::MIN + 1, 9_007_199_254_740_992, -9_007_199_254_740_992];

/// What the memory has, for commands that mean something to it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Epoch of the view.
    pub epoch: u64,
    /// The epoch that writes are taken of.
    pub serving: u64,
}

/// A source of questions; one seed, one sequence.
#[derive(Debug)]
pub struct Random {
    rng: StdRng,
    ids: u128,
    sent: Vec<Command>,
}

fn name(text: &str) -> Name {
    Name::parse("name", text).expect("a good name")
}

impl Random {
    /// The questions of a seed.
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), ids: u128::from(seed) << 90, sent: Vec::new() }
    }

    /// True so many times of a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn below(&mut self, end: u64) -> u64 {
        self.rng.random_range(0..end)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        let at = self.rng.random_range(0..of.len());
        *of.get(at).expect("below the length")
    }

    /// One of the keys.
    pub fn key(&mut self) -> Key {
        name(self.one(&KEYS))
    }

    /// A question. `version` is that of a key that is asked about.
    pub fn ask(&mut self, now: Now, version: impl Fn(&Key) -> u64) -> Ask {
        match self.below(100) {
            0..=11 => Ask::Look(self.query()),
            12..=14 => Ask::Live(self.sign()),
            _ => Ask::Do(self.command(now, version)),
        }
    }

    fn near(&mut self, epoch: u64) -> u64 {
        match self.below(20) {
            0 => epoch + 1,
            1 => epoch.saturating_sub(1),
            _ => epoch,
        }
    }

    fn command(&mut self, now: Now, version: impl Fn(&Key) -> u64) -> Command {
        let told_again = self.sent.len().min(6);
        if told_again > 0 && self.chance(15) {
            let back = self.rng.random_range(0..told_again);
            return self.sent.get(self.sent.len() - 1 - back).expect("one of them").clone();
        }
        let command = match self.below(30) {
            0 => {
                let epoch = self.near(now.epoch);
                let next = now.epoch + self.below(3);
                Command::Replace { epoch, view: self.view(next) }
            }
            1 | 2 => Command::TakeOver { epoch: self.near(now.epoch) },
            3 => Command::Fence {
                partition: partition_of(&self.key()),
                node: name(self.one(&NODES)),
                session: self.session(now.serving),
            },
            _ => {
                let key = self.key();
                let (by, id) = (self.by(now.serving), self.id());
                let version = version(&key);
                Command::Write { key, by, id, write: self.write(version) }
            }
        };
        self.sent.push(command.clone());
        command
    }

    fn id(&mut self) -> WriteId {
        self.ids += 1;
        self.ids
    }

    fn session(&mut self, serving: u64) -> Session {
        Session { epoch: self.near(serving), generation: 1 + self.below(4) }
    }

    fn by(&mut self, serving: u64) -> By {
        if self.chance(50) {
            return By::Home(self.near(serving));
        }
        By::Holder(name(self.one(&NODES)), self.session(serving))
    }

    fn write(&mut self, version: u64) -> Written {
        let condition = match self.below(10) {
            0 => Condition::Absent,
            1 => Condition::Present,
            2 => Condition::Version(version),
            3 => Condition::Version(version + 1),
            _ => Condition::Always,
        };
        let ttl_ms = self.chance(30).then(|| 3_600_000 * (1 + self.below(3)));
        let action = match self.below(20) {
            0..=8 => Action::Set { value: self.value(), condition, ttl_ms },
            9..=13 => Action::Delete { condition },
            14..=18 => Action::Increment { by: self.one(&ADDED) },
            _ => return Written::Put { value: self.value(), version: version + self.below(4) },
        };
        Written::Apply(Op { request: self.ids, action })
    }

    fn value(&mut self) -> Value {
        let bytes = match self.below(10) {
            0 => vec![0, 255, 10, 13, 0],
            1 => vec![b'1'; 200],
            _ => self.one(&TEXTS).as_bytes().to_vec(),
        };
        let count = self.below(3);
        let tags = (0..count).map(|_| name(self.one(&TAGS))).collect();
        Value { bytes: Bytes::from(bytes), tags: tags_of(tags) }
    }

    fn member(&mut self) -> Member {
        Member {
            node: name(self.one(&NODES)),
            incarnation: u64::MAX - self.below(3),
            address: "127.0.0.1:7".to_owned(),
            lease_ms: self.below(5_000),
            writes_back: self.chance(50),
        }
    }

    fn view(&mut self, epoch: u64) -> View {
        let members = (0..self.below(3)).map(|_| self.member()).collect();
        let silent = (0..self.below(2)).map(|_| self.member()).collect();
        View { epoch, run: "r".to_owned(), members, silent }
    }

    fn sign(&mut self) -> Sign {
        Sign { member: self.member(), count: self.below(100), leaves: self.chance(20) }
    }

    fn query(&mut self) -> Query {
        let of = match self.below(5) {
            0 | 1 => Selector::Tag(name(self.one(&TAGS))),
            _ => Selector::Prefix(self.one(&["", "a", "a:", "ü", "z"]).to_owned()),
        };
        match self.below(5) {
            0 => Query::Size,
            1 => Query::Get(self.key()),
            _ => {
                let after = self.chance(40).then(|| self.key());
                Query::Keys { of, after, limit: u32::try_from(self.below(5)).unwrap_or(1) }
            }
        }
    }
}
