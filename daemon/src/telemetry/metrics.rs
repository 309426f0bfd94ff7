//! Metrics of a node, with a typed handle for each.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use dsync_core::queue::Happened;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::cache::CacheMetrics;
use super::labels::{ElectionReason, Expired, JobEvent, Outcome, Plane, RaftState, RequestKind};

/// Shortest and longest latency told apart: 50 µs times 2^17 is 6.5 s.
const BUCKETS: (f64, f64, u16) = (0.000_05, 2.0, 18);

/// A gauge that never is negative.
type Level = Gauge<u64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPlane {
    plane: Plane,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: RequestKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    kind: RequestKind,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: RaftState,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: ElectionReason,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByExpired {
    what: Expired,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByJobEvent {
    event: JobEvent,
}

/// Every metric of a node.
///
/// # Limits
/// All labels are closed lists: the number of time series does not depend on what clients send.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    connections: Family<ByPlane, Level>,
    requests: Family<ByOutcome, Counter>,
    latency: Family<ByKind, Histogram>,
    raft_state: Family<ByState, Level>,
    elections: Family<ByReason, Counter>,
    expirations: Family<ByExpired, Counter>,
    fsync: Histogram,
    jobs: Family<ByJobEvent, Counter>,
    /// The cache role.
    pub cache: CacheMetrics,
    /// Connections turned away for a limit or a bad greeting.
    pub refused_connections: Counter,
    /// Raft: the term.
    pub raft_term: Level,
    /// Raft: committed up to this index, as far as the node knows.
    pub raft_committed: Level,
    /// Raft: applied up to this index.
    pub raft_applied: Level,
    /// Raft: times that another leader was seen.
    pub raft_leader_changes: Counter,
    /// Live sessions.
    pub sessions: Level,
    /// Locks that are held or waited for.
    pub locks: Level,
    /// Requests that wait for a lock.
    pub waiters: Level,
    /// Locks granted.
    pub grants: Counter,
    /// Consumers that wait for a job.
    pub consumers: Level,
    /// 1 while Redis can be used.
    pub redis_up: Level,
    /// 1 while it takes writes.
    pub redis_takes_writes: Level,
}

impl Metrics {
    /// All at nothing.
    pub fn new() -> Arc<Self> {
        let mut metrics = Self {
            registry: Registry::with_prefix("dsync"),
            connections: Family::default(),
            requests: Family::default(),
            latency: Family::new_with_constructor(latency_histogram),
            raft_state: Family::default(),
            elections: Family::default(),
            expirations: Family::default(),
            fsync: latency_histogram(),
            jobs: Family::default(),
            cache: CacheMetrics::default(),
            refused_connections: Counter::default(),
            raft_term: Level::default(),
            raft_committed: Level::default(),
            raft_applied: Level::default(),
            raft_leader_changes: Counter::default(),
            sessions: Level::default(),
            locks: Level::default(),
            waiters: Level::default(),
            grants: Counter::default(),
            consumers: Level::default(),
            redis_up: Level::default(),
            redis_takes_writes: Level::default(),
        };
        metrics.register_node();
        metrics.register_raft();
        metrics.register_locks();
        metrics.register_queues();
        metrics.cache.register(&mut metrics.registry);
        metrics.begin_at_zero();
        Arc::new(metrics)
    }

    fn register_node(&mut self) {
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        let registry = &mut self.registry;
        registry.register("build", "Version of the program", build);
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connections_refused",
            "Connections turned away",
            self.refused_connections.clone(),
        );
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register(
            "request_duration_seconds",
            "Time from a request's arrival to its answer",
            self.latency.clone(),
        );
    }

    fn register_raft(&mut self) {
        let registry = self.registry.sub_registry_with_prefix("raft");
        registry.register("state", "1 for the state the node is in", self.raft_state.clone());
        registry.register("term", "Current term", self.raft_term.clone());
        registry.register("committed_index", "Last index committed", self.raft_committed.clone());
        registry.register("applied_index", "Last index applied", self.raft_applied.clone());
        registry.register(
            "leader_changes",
            "Times another leader was seen",
            self.raft_leader_changes.clone(),
        );
        registry.register("elections", "Elections begun by this node", self.elections.clone());
        registry.register(
            "fsync_duration_seconds",
            "Time one flush of the log takes",
            self.fsync.clone(),
        );
    }

    fn register_locks(&mut self) {
        let registry = self.registry.sub_registry_with_prefix("lock");
        registry.register("sessions", "Live sessions", self.sessions.clone());
        registry.register("locks", "Locks held or waited for", self.locks.clone());
        registry.register("waiters", "Requests that wait", self.waiters.clone());
        registry.register("grants", "Locks granted", self.grants.clone());
        registry.register("expirations", "What ended by itself", self.expirations.clone());
    }

    fn register_queues(&mut self) {
        let registry = self.registry.sub_registry_with_prefix("queue");
        registry.register("jobs", "Jobs, by what became of them at this node", self.jobs.clone());
        registry.register("consumers_waiting", "Consumers that wait here", self.consumers.clone());
        let (up, writes) = (self.redis_up.clone(), self.redis_takes_writes.clone());
        registry.register("redis_up", "1 while Redis can be used", up);
        registry.register("redis_takes_writes", "1 while Redis takes writes", writes);
    }

    /// A series that is missing until its first event cannot be told from one that is gone.
    fn begin_at_zero(&self) {
        for plane in Plane::ALL {
            drop(self.connections.get_or_create(&ByPlane { plane: *plane }));
        }
        for reason in ElectionReason::ALL {
            drop(self.elections.get_or_create(&ByReason { reason: *reason }));
        }
        for event in JobEvent::ALL {
            drop(self.jobs.get_or_create(&ByJobEvent { event: *event }));
        }
        for what in Expired::ALL {
            drop(self.expirations.get_or_create(&ByExpired { what: *what }));
        }
        self.raft_state(RaftState::Forming);
    }

    /// So many connections of a plane are open.
    pub fn open_connections(&self, plane: Plane, open: u64) {
        self.connections.get_or_create(&ByPlane { plane }).set(open);
    }

    /// Counts an answered request and the time it took.
    pub fn request(&self, kind: RequestKind, outcome: Outcome, took: Duration) {
        self.requests.get_or_create(&ByOutcome { kind, outcome }).inc();
        self.latency.get_or_create(&ByKind { kind }).observe(took.as_secs_f64());
    }

    /// Counts one flush of the log and the time it took.
    pub fn fsync(&self, took: Duration) {
        self.fsync.observe(took.as_secs_f64());
    }

    /// The state that the node is in from now on.
    pub fn raft_state(&self, now: RaftState) {
        for state in RaftState::ALL {
            self.raft_state.get_or_create(&ByState { state: *state }).set(u64::from(*state == now));
        }
    }

    /// Counts an election that this node began.
    pub fn election(&self, reason: ElectionReason) {
        self.elections.get_or_create(&ByReason { reason }).inc();
    }

    /// Counts what ended by itself.
    pub fn expired(&self, what: Expired, count: u64) {
        self.expirations.get_or_create(&ByExpired { what }).inc_by(count);
    }

    /// Counts jobs by what became of them.
    pub fn jobs(&self, event: JobEvent, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.jobs.get_or_create(&ByJobEvent { event }).inc_by(count);
    }

    /// Counts what a store says became of jobs.
    pub fn happened(&self, happened: &Happened) {
        for (event, count) in [
            (JobEvent::Acked, happened.acked),
            (JobEvent::Expired, happened.expired),
            (JobEvent::Dead, happened.died),
        ] {
            if count > 0 {
                self.jobs.get_or_create(&ByJobEvent { event }).inc_by(count);
            }
        }
    }

    /// Everything, in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// None that is known; the encoder's signature allows one.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

fn latency_histogram() -> Histogram {
    let (start, factor, length) = BUCKETS;
    Histogram::new(exponential_buckets(start, factor, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(page: &'a str, name: &str) -> &'a str {
        page.lines().find(|line| line.starts_with(name)).unwrap_or("missing")
    }

    #[test]
    fn every_metric_is_on_the_page_from_the_start() {
        let page = Metrics::new().encode().unwrap();
        for name in [
            "dsync_build_info{version=",
            "dsync_connections{plane=\"client\"} 0",
            "dsync_connections_refused_total 0",
            "dsync_raft_state{state=\"forming\"} 1",
            "dsync_raft_state{state=\"leader\"} 0",
            "dsync_raft_term 0",
            "dsync_raft_committed_index 0",
            "dsync_raft_applied_index 0",
            "dsync_raft_leader_changes_total 0",
            "dsync_raft_elections_total{reason=\"leader_silent\"} 0",
            "dsync_raft_fsync_duration_seconds_count 0",
            "dsync_lock_sessions 0",
            "dsync_lock_locks 0",
            "dsync_lock_waiters 0",
            "dsync_lock_grants_total 0",
            "dsync_lock_expirations_total{what=\"session\"} 0",
            "dsync_queue_jobs_total{event=\"pushed\"} 0",
            "dsync_queue_consumers_waiting 0",
            "dsync_queue_redis_up 0",
        ] {
            assert!(line(&page, name).starts_with(name), "{name} in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn every_metric_is_in_the_document_and_no_other() {
        let document = include_str!("../../../docs/metrics.md");
        let metrics = Metrics::new();
        metrics.request(RequestKind::Push, Outcome::Ok, Duration::from_millis(1));
        let page = metrics.encode().unwrap();
        let names = page.lines().filter_map(|line| line.strip_prefix("# HELP "));
        let names: Vec<&str> = names.filter_map(|line| line.split(' ').next()).collect();
        assert!(names.len() > 15, "{names:?}");
        let listed: Vec<&str> = document
            .lines()
            .filter_map(|line| line.strip_prefix("| `dsync_"))
            .flat_map(|line| line.split(" | ").next().unwrap_or_default().split(", `dsync_"))
            .map(|name| name.trim_end_matches('`'))
            .map(|name| name.trim_end_matches("_total").trim_end_matches("_info"))
            .collect();
        let known: Vec<&str> =
            names.iter().filter_map(|name| name.strip_prefix("dsync_")).collect();
        for name in &known {
            assert!(listed.contains(name), "dsync_{name} is not in docs/metrics.md");
        }
        for name in &listed {
            assert!(known.contains(name), "docs/metrics.md names dsync_{name}: there is none");
        }
    }

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::new();
        metrics.open_connections(Plane::Client, 7);
        metrics.request(RequestKind::Acquire, Outcome::Ok, Duration::from_millis(3));
        metrics.request(RequestKind::Acquire, Outcome::WouldBlock, Duration::from_secs(60));
        assert_eq!(metrics.connections.get_or_create(&ByPlane { plane: Plane::Client }).get(), 7);
        metrics.fsync(Duration::from_micros(70));
        metrics.raft_state(RaftState::Leader);
        metrics.election(ElectionReason::LeaderSilent);
        metrics.expired(Expired::Session, 7);
        metrics.expired(Expired::Session, 0);
        let page = metrics.encode().unwrap();
        for expected in [
            "dsync_requests_total{kind=\"acquire\",outcome=\"ok\"} 1",
            "dsync_requests_total{kind=\"acquire\",outcome=\"would_block\"} 1",
            "dsync_request_duration_seconds_bucket{le=\"0.0032\",kind=\"acquire\"} 1",
            "dsync_request_duration_seconds_bucket{le=\"+Inf\",kind=\"acquire\"} 2",
            "dsync_raft_fsync_duration_seconds_bucket{le=\"0.0001\"} 1",
            "dsync_raft_state{state=\"forming\"} 0",
            "dsync_raft_state{state=\"leader\"} 1",
            "dsync_raft_elections_total{reason=\"leader_silent\"} 1",
            "dsync_lock_expirations_total{what=\"session\"} 7",
        ] {
            assert_eq!(line(&page, expected), expected, "{page}");
        }
    }

    #[test]
    fn the_number_of_series_has_a_bound() {
        let metrics = Metrics::new();
        for kind in RequestKind::ALL {
            for outcome in Outcome::ALL {
                metrics.request(*kind, *outcome, Duration::ZERO);
            }
        }
        let series = metrics.encode().unwrap().lines().filter(|l| !l.starts_with('#')).count();
        assert!(series < 1_000, "{series}");
    }
}
