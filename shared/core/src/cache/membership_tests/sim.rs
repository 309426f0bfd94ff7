//! Nodes with clocks of their own, a memory, and what can go wrong between them.
//!
//! Time is that of nobody; each node sees it through its own clock. A node that is paused does
//! nothing, and then goes on with all that reached it meanwhile, late answers included.

mod promises;

use std::collections::{BTreeMap, BTreeSet};

use super::super::command::{Command, Done};
use super::super::machine::{Batch, MemoryMachine};
use super::super::membership::{Membership, Todo};
use super::super::view::{Beat, Member, Seen, View};
use crate::lock::At;
use crate::name::Name;

/// How long a node waits for an answer of the memory, in parts of its lease.
const PATIENCE: u64 = 2;
/// Between two questions whether a member acts by the view.
const ASK_AGAIN: u64 = 100;

/// One process.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) standing: Membership,
    rate: u64,
    offset: u64,
    paused_until: u64,
    count: u64,
    /// When the next sign of life is due, by its clock.
    beat_at: u64,
    /// The sign of life that is out: its number, and when it was sent.
    out: Option<(u64, u64)>,
    /// Who has not said yet that it acts by the view, and when they are asked again.
    unready: Vec<Member>,
    ask_at: u64,
    /// The run of the memory that answered last.
    memory: String,
    cut_off: bool,
    pub(super) leaves: bool,
}

#[derive(Debug, Clone)]
enum What {
    Live { count: u64, sent: u64, leaves: bool },
    Seen { count: u64, sent: u64, seen: Seen },
    Do(Command),
    TookOver(u64),
    Replaced,
    Prepare(View),
    Acts(View),
}

#[derive(Debug, Clone)]
struct Message {
    from: Member,
    /// `None`: the memory.
    to: Option<Member>,
    /// The run of the memory that it is for.
    run: Option<String>,
    what: What,
}

/// How messages travel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Net {
    pub(super) lost_percent: u64,
    pub(super) late_percent: u64,
    pub(super) latest: u64,
}

/// What goes wrong. Nodes are named by their place; one that is not there is left alone.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    Pause(usize, u64),
    Crash(usize),
    /// A new run of a node, beside an old one if there is one; at another address, or the same.
    Start {
        node: usize,
        elsewhere: bool,
        lease: u64,
        back: bool,
    },
    Leave(usize),
    CutOff(usize, bool),
    /// Another run of the memory: with all it had, with what it had then, or with nothing.
    Restart(Kept),
    MemoryDown(u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    All,
    Older,
    Nothing,
}

#[derive(Debug)]
pub(super) struct Sim {
    pub(super) now: u64,
    pub(super) runs: Vec<Run>,
    memory: MemoryMachine,
    memory_run: u64,
    older: MemoryMachine,
    down_until: u64,
    beats: BTreeMap<Name, Beat>,
    net: BTreeMap<(u64, u64), Message>,
    sent: u64,
    /// Things done at this very time.
    steps: u32,
    pub(super) travel: Net,
    random: u64,
    incarnations: u64,
    /// Every view that was in force, in that order.
    views: Vec<View>,
    /// Times that a node began to serve.
    pub(super) served: u64,
    pub(super) broken: Option<String>,
    pub(super) trace: Vec<String>,
}

impl Sim {
    pub(super) fn new(seed: u64, travel: Net) -> Self {
        Self {
            now: 1_000,
            runs: Vec::new(),
            memory: MemoryMachine::new(),
            memory_run: 1,
            older: MemoryMachine::new(),
            down_until: 0,
            beats: BTreeMap::new(),
            net: BTreeMap::new(),
            sent: 0,
            steps: 0,
            travel,
            random: seed,
            incarnations: 0,
            views: vec![View::default()],
            served: 0,
            broken: None,
            trace: Vec::new(),
        }
    }

    /// `SplitMix64`: below `most`.
    fn random(&mut self, most: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most.max(1)
    }

    fn say(&mut self, text: &str) {
        self.trace.push(format!("{:>6} {text}", self.now));
    }

    pub(super) fn start(&mut self, node: usize, elsewhere: bool, lease: u64, back: bool) {
        self.incarnations += 1;
        let incarnation = self.incarnations;
        let name = Name::parse("node", &format!("n{node}")).unwrap();
        let address = if elsewhere { format!("n{node}-{incarnation}") } else { format!("n{node}") };
        let me = Member { node: name, incarnation, address, lease_ms: lease, writes_back: back };
        self.say(&format!("start {me:?}"));
        let (rate, offset) = (96 + self.random(5), self.random(1_000_000));
        let mut run = Run {
            standing: Membership::new(me),
            rate,
            offset,
            paused_until: 0,
            count: 0,
            beat_at: 0,
            out: None,
            unready: Vec::new(),
            ask_at: 0,
            memory: String::new(),
            cut_off: false,
            leaves: false,
        };
        run.beat_at = run.clock(self.now);
        self.runs.push(run);
    }

    fn place(&self, node: usize) -> Option<usize> {
        let name = format!("n{node}");
        self.runs.iter().rposition(|run| run.standing.me().node.as_str() == name)
    }

    pub(super) fn fault(&mut self, fault: &Fault) {
        self.say(&format!("{fault:?}"));
        match *fault {
            Fault::Start { node, elsewhere, lease, back } => {
                // Two processes have no address in common.
                let taken = |run: &Run| run.standing.me().address == format!("n{node}");
                let elsewhere = elsewhere || self.runs.iter().any(taken);
                self.start(node, elsewhere, lease, back);
            }
            Fault::Restart(kept) => {
                self.memory_run += 1;
                match kept {
                    Kept::All => {}
                    Kept::Older => self.memory = self.older.clone(),
                    Kept::Nothing => {
                        self.memory = MemoryMachine::new();
                        self.beats.clear();
                    }
                }
                self.older = self.memory.clone();
            }
            Fault::MemoryDown(ms) => self.down_until = self.now + ms,
            Fault::Pause(node, ms) => {
                if let Some(place) = self.place(node) {
                    self.runs[place].paused_until = self.now + ms;
                }
            }
            Fault::Crash(node) => {
                if let Some(place) = self.place(node) {
                    self.runs.remove(place);
                }
            }
            Fault::Leave(node) => {
                if let Some(place) = self.place(node) {
                    self.leave(place);
                }
            }
            Fault::CutOff(node, is) => {
                if let Some(place) = self.place(node) {
                    self.runs[place].cut_off = is;
                }
            }
        }
    }

    fn leave(&mut self, place: usize) {
        let run = &mut self.runs[place];
        if run.leaves || run.paused_until > self.now {
            return;
        }
        run.leaves = true;
        let next = run.standing.leave(run.clock(self.now));
        let count = u64::MAX;
        if let Some((epoch, view)) = next {
            self.send(place, None, What::Do(Command::Replace { epoch, view }));
        }
        self.send(place, None, What::Live { count, sent: 0, leaves: true });
    }

    /// Nothing goes wrong from now on: who is paused goes on, and of several processes of one name
    /// the last one is left.
    pub(super) fn heal(&mut self) {
        self.say("all is well");
        self.travel = Net { lost_percent: 0, late_percent: 0, latest: 0 };
        self.down_until = 0;
        let mut seen = BTreeSet::new();
        let mut runs: Vec<Run> = std::mem::take(&mut self.runs);
        runs.retain(|run| !run.leaves);
        runs.reverse();
        runs.retain(|run| seen.insert(run.standing.me().node.clone()));
        for run in &mut runs {
            (run.paused_until, run.cut_off) = (self.now, false);
        }
        self.runs = runs;
    }

    fn send(&mut self, place: usize, to: Option<Member>, what: What) {
        let run = &self.runs[place];
        let of_run = matches!(what, What::Do(_)).then(|| run.memory.clone());
        let message = Message { from: run.standing.me().clone(), to, run: of_run, what };
        if !run.cut_off {
            self.post(message);
        }
    }

    fn post(&mut self, message: Message) {
        if self.random(100) < self.travel.lost_percent {
            return;
        }
        let late = self.random(100) < self.travel.late_percent;
        let trip = 1 + if late { self.random(self.travel.latest) } else { self.random(15) };
        self.sent += 1;
        self.net.insert((self.now + trip, self.sent), message);
    }

    /// Goes on until that time, or until a promise is broken.
    pub(super) fn go_on(&mut self, until: u64) {
        while self.broken.is_none() {
            let message = self.net.keys().next().map_or(u64::MAX, |(at, _)| *at);
            let timer = self.runs.iter().map(|run| run.next(self.now)).min().unwrap_or(u64::MAX);
            let next = message.min(timer).max(self.now);
            if next > until {
                self.now = until;
                return;
            }
            self.steps = if self.now == next { self.steps + 1 } else { 0 };
            if self.steps > 10_000 {
                self.broken = Some("something is done over and over".to_owned());
            }
            self.now = next;
            if message <= next {
                let Some((_, message)) = self.net.pop_first() else { return };
                self.deliver(message);
            } else {
                for place in 0..self.runs.len() {
                    self.timers(place);
                }
            }
            self.check();
        }
    }

    fn timers(&mut self, place: usize) {
        let now = self.now;
        let run = &mut self.runs[place];
        let clock = run.clock(now);
        if run.paused_until > now {
            return;
        }
        let lease = run.standing.me().lease_ms;
        if run.out.is_some_and(|(_, sent)| clock >= sent + lease / PATIENCE) {
            // No answer came.
            run.out = None;
        }
        if run.out.is_none() && clock >= run.beat_at && !run.leaves {
            run.count += 1;
            let (count, sent) = (run.count, clock);
            run.out = Some((count, sent));
            run.beat_at = clock + lease / 3;
            self.send(place, None, What::Live { count, sent, leaves: false });
        }
        let run = &mut self.runs[place];
        if clock >= run.ask_at && !run.unready.is_empty() {
            run.ask_at = clock + ASK_AGAIN;
            let (view, members) = (run.standing.view().clone(), run.unready.clone());
            for member in members {
                self.send(place, Some(member), What::Prepare(view.clone()));
            }
        }
        let run = &mut self.runs[place];
        if run.standing.next_tick().is_some_and(|at| clock >= at) {
            let todo = run.standing.tick(clock);
            self.perform(place, todo);
        }
    }

    fn deliver(&mut self, message: Message) {
        let Message { from, to, run, what } = message;
        let Some(to) = to else { return self.at_memory(from, run.as_deref(), what) };
        let Some(place) = self.runs.iter().position(|run| *run.standing.me() == to) else { return };
        let now = self.now;
        let run = &mut self.runs[place];
        if run.paused_until > now {
            // It is handled when the node goes on.
            let at = (run.paused_until, self.sent + 1);
            self.sent += 1;
            self.net.insert(at, Message { from, to: Some(to), run: None, what });
            return;
        }
        if run.cut_off {
            return;
        }
        let clock = run.clock(now);
        let todo = match what {
            What::Seen { count, sent, seen } => {
                if run.out.is_none_or(|(number, _)| number != count) {
                    return;
                }
                run.out = None;
                run.memory.clone_from(&seen.run);
                run.standing.saw(sent, clock, &seen)
            }
            What::TookOver(epoch) => {
                run.standing.took_over(epoch);
                Vec::new()
            }
            What::Replaced => {
                run.beat_at = clock;
                Vec::new()
            }
            What::Prepare(view) => {
                let todo = run.standing.told(clock, &view);
                let acts = What::Acts(run.standing.view().clone());
                self.perform(place, todo);
                return self.send(place, Some(from), acts);
            }
            What::Acts(view) if view.epoch == run.standing.view().epoch => {
                run.unready.retain(|one| *one != from);
                run.standing.ready(clock, &from.node, view.epoch)
            }
            What::Acts(view) => run.standing.told(clock, &view),
            What::Live { .. } | What::Do(_) => Vec::new(),
        };
        self.perform(place, todo);
    }

    fn perform(&mut self, place: usize, todo: Vec<Todo>) {
        for one in todo {
            match one {
                Todo::Adopt(_) => self.runs[place].unready.clear(),
                Todo::Prepare(others) => {
                    let run = &mut self.runs[place];
                    (run.unready, run.ask_at) = (others, 0);
                }
                Todo::TakeOver(epoch) => {
                    self.send(place, None, What::Do(Command::TakeOver { epoch }));
                }
                Todo::Replace(epoch, view) => {
                    self.send(place, None, What::Do(Command::Replace { epoch, view }));
                }
            }
        }
    }

    fn at_memory(&mut self, from: Member, of_run: Option<&str>, what: What) {
        let run = format!("r{}", self.memory_run);
        if self.now < self.down_until || of_run.is_some_and(|of| of != run) {
            return;
        }
        let answer = match what {
            What::Live { count, leaves, sent } => {
                let before = self.beats.get(&from.node).cloned();
                if !leaves {
                    let beat = Beat { member: from.clone(), count };
                    self.beats.insert(from.node.clone(), beat);
                } else if before.as_ref().is_some_and(|beat| beat.member == from) {
                    self.beats.remove(&from.node);
                }
                let view = self.memory.view().clone();
                // What the sign of life took the place of is shown, not itself.
                let others = self.beats.values().filter(|beat| beat.member.node != from.node);
                let beats = others.cloned().chain(before).collect();
                let seen = Seen { view, serving: self.memory.serving(), run, beats };
                What::Seen { count, sent, seen }
            }
            What::Do(command) => match self.carry_out(&command) {
                Some(answer) => answer,
                None => return,
            },
            What::Seen { .. }
            | What::TookOver(_)
            | What::Replaced
            | What::Prepare(_)
            | What::Acts(_) => return,
        };
        self.post(Message { from: from.clone(), to: Some(from), run: None, what: answer });
    }

    fn carry_out(&mut self, command: &Command) -> Option<What> {
        let before = self.memory.serving();
        if self.random(4) == 0 {
            self.older = self.memory.clone();
        }
        let at = At { index: self.memory.index() + 1, term: 1, t_ms: self.now };
        let batch = Batch { commands: vec![command.clone()], limit: 0 };
        let done = self.memory.apply(at, &batch).into_iter().next();
        match *command {
            Command::Replace { .. } if done == Some(Done::Is(true)) => {
                let view = self.memory.view().clone();
                self.say(&format!("in force: {}", promises::brief(&view)));
                self.views.push(view);
                Some(What::Replaced)
            }
            Command::Replace { .. } => Some(What::Replaced),
            Command::TakeOver { epoch } if done == Some(Done::Is(true)) => {
                if epoch > before {
                    self.say(&format!("take over {epoch}"));
                    let view = self.memory.view().clone();
                    self.no_lease_before(&view, "the memory fenced");
                }
                Some(What::TookOver(epoch))
            }
            Command::TakeOver { .. } | Command::Write { .. } | Command::Fence { .. } => None,
        }
    }
}

impl Run {
    pub(super) fn clock(&self, now: u64) -> u64 {
        self.offset + now * self.rate / 100
    }

    /// The first time at which its clock shows that.
    fn when(&self, clock: u64) -> u64 {
        (clock.saturating_sub(self.offset) * 100).div_ceil(self.rate)
    }

    /// When it has something to do by itself.
    fn next(&self, now: u64) -> u64 {
        let lease = self.standing.me().lease_ms;
        let answer = self.out.map(|(_, sent)| sent + lease / PATIENCE);
        let beat = answer.unwrap_or(self.beat_at);
        let beat = (!self.leaves).then(|| self.when(beat));
        let ask = (!self.unready.is_empty()).then(|| self.when(self.ask_at));
        let tick = self.standing.next_tick().map(|at| self.when(at));
        let due = [beat, ask, tick].into_iter().flatten().min().unwrap_or(u64::MAX);
        // One that is over is done now, or when the node goes on.
        due.max(now.max(self.paused_until))
    }
}
