//! Metrics of the cache role.

use std::sync::atomic::AtomicU64;

use dsync::api::CacheStats;
use dsync_core::cache::told::LineState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{CacheRead, CallTo, State};

type Level = Gauge<u64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStates {
    from: State,
    to: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRead {
    from: CacheRead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTo {
    to: CallTo,
}

/// Metrics of the cache role: what the role counts by itself, copied once a second.
#[derive(Debug, Default)]
pub struct CacheMetrics {
    lines: Family<ByState, Level>,
    transitions: Family<ByStates, Counter>,
    reads: Family<ByRead, Counter>,
    bytes: Level,
    entries: Level,
    dirty: Level,
    directory: Level,
    epoch: Level,
    serving: Level,
    writes: Counter,
    executed: Counter,
    evictions: Counter,
    rejections: Counter,
    revoked: Counter,
    lost: Counter,
    calls: Family<ByTo, Counter>,
}

/// What the role counts by itself.
#[derive(Debug)]
pub struct CacheNow {
    /// Figures that people ask for too.
    pub stats: CacheStats,
    /// Lines by state.
    pub states: Vec<(LineState, u64)>,
    /// Steps of lines from one state to another.
    pub transitions: Vec<(LineState, LineState, u64)>,
    /// Epoch of the view.
    pub epoch: u64,
    /// The node serves as a home.
    pub serving: bool,
    /// Reads of the memory past all lines.
    pub past: u64,
    /// Questions to the memory.
    pub asked: u64,
    /// Calls of other nodes, those that hold the memory included.
    pub calls: u64,
}

impl CacheMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("cache");
        registry.register("lines", "Lines by state", self.lines.clone());
        registry.register("transitions", "Lines that changed state", self.transitions.clone());
        registry.register("reads", "Reads by what answered them", self.reads.clone());
        registry.register("bytes", "Bytes of the local store", self.bytes.clone());
        registry.register("entries", "Entries of the local store", self.entries.clone());
        registry.register("dirty", "Lines that the memory does not have", self.dirty.clone());
        registry.register("directory", "Keys that nodes have of this home", self.directory.clone());
        registry.register("epoch", "Epoch of the view", self.epoch.clone());
        registry.register("serving", "1 while this node serves", self.serving.clone());
        registry.register("writes", "Changes written by lines of this node", self.writes.clone());
        let executed = self.executed.clone();
        registry.register("executed", "Changes carried out by this home", executed);
        registry.register("evictions", "Lines that gave way to others", self.evictions.clone());
        registry.register("rejections", "Lines that were not admitted", self.rejections.clone());
        registry.register("revoked", "Lines taken back by homes", self.revoked.clone());
        registry.register("lost", "Acknowledged changes that were lost", self.lost.clone());
        registry.register("calls", "Calls by whom they are for", self.calls.clone());
        for state in State::ALL {
            drop(self.lines.get_or_create(&ByState { state: *state }));
        }
        let idle = ByStates { from: State::I, to: State::I };
        drop(self.transitions.get_or_create(&idle));
        for to in CallTo::ALL {
            drop(self.calls.get_or_create(&ByTo { to: *to }));
        }
        for from in CacheRead::ALL {
            drop(self.reads.get_or_create(&ByRead { from: *from }));
        }
    }

    /// What the role counts now.
    pub fn show(&self, now: &CacheNow) {
        let stats = &now.stats;
        for (state, count) in &now.states {
            self.lines.get_or_create(&ByState { state: State::from(*state) }).set(*count);
        }
        for (from, to, count) in &now.transitions {
            let by = ByStates { from: State::from(*from), to: State::from(*to) };
            raise(&self.transitions.get_or_create(&by), *count);
        }
        raise(&self.calls.get_or_create(&ByTo { to: CallTo::Memory }), now.asked);
        raise(&self.calls.get_or_create(&ByTo { to: CallTo::Node }), now.calls);
        for (from, count) in [
            (CacheRead::Line, stats.hits),
            (CacheRead::Home, stats.misses),
            (CacheRead::Memory, now.past),
            (CacheRead::Stale, stats.stale),
        ] {
            raise(&self.reads.get_or_create(&ByRead { from }), count);
        }
        for (level, value) in [
            (&self.bytes, stats.bytes),
            (&self.entries, stats.entries),
            (&self.dirty, stats.dirty),
            (&self.directory, stats.directory),
            (&self.epoch, now.epoch),
            (&self.serving, u64::from(now.serving)),
        ] {
            level.set(value);
        }
        for (counter, value) in [
            (&self.writes, stats.writes),
            (&self.executed, stats.executed),
            (&self.evictions, stats.evictions),
            (&self.rejections, stats.rejections),
            (&self.revoked, stats.revoked),
            (&self.lost, stats.lost),
        ] {
            raise(counter, value);
        }
    }
}

/// Brings a counter to what was counted elsewhere.
fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}
