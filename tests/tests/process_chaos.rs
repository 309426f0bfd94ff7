//! Faults under load: whatever is killed, stopped or cut off, every invariant holds after it.
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what a run checked belongs to its output")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dsync_tests::history::{Report, SharedHistory, Us};
use dsync_tests::load::{Mix, work};
use dsync_tests::process::proxy::Rule;
use dsync_tests::process::{Cluster, Plan};
use rustix::process::Signal;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use dsync_tests::history::Recorder;
use dsync_tests::load::{left, watch};

const CLIENTS: u32 = 8;
/// Beyond the longest lease: when everything of clients that are gone must be gone too.
const ALL_OVER: Duration = Duration::from_secs(4);

/// Clients at work, and what they see.
struct Load {
    recorder: SharedHistory,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    watcher: JoinHandle<()>,
}

impl Load {
    fn start(cluster: &Cluster, seed: u64, mix: Mix, faults: &[&str]) -> Self {
        let recorder = Recorder::on_real_time();
        recorder.lock_delay_ms(1_000);
        for fault in faults {
            recorder.wants(fault);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..CLIENTS)
            .map(|number| {
                let client = cluster.client(&format!("worker-{number}"));
                let (recorder, stop) = (Arc::clone(&recorder), Arc::clone(&stop));
                tokio::spawn(work(client, recorder, number, seed, mix, stop))
            })
            .collect();
        let watcher = watch(cluster.client("watcher"), Arc::clone(&stop));
        let watcher = tokio::spawn(async move {
            let granted = watcher.await;
            println!("the log told of {granted} grants, tokens rising");
        });
        Self { recorder, stop, workers, watcher }
    }

    /// A fault begins.
    fn begin(&self) -> Us {
        self.recorder.now()
    }

    /// The fault that began then is over once there is a leader again.
    async fn recovered(&self, cluster: &Cluster, fault: &str, begin: Us) {
        cluster.wait_for_leader().await;
        self.recorder.fired(fault);
        self.recorder.outage(begin);
    }

    /// Lets the workers end, waits for the nodes to agree, and checks everything.
    async fn finish(self, cluster: &Cluster) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            let ended = timeout(Duration::from_secs(90), worker).await;
            ended
                .unwrap_or_else(|_| panic!("a worker does not end"))
                .unwrap_or_else(|e| panic!("{e}"));
        }
        self.watcher.await.unwrap_or_else(|e| panic!("{e}"));
        let patience = Duration::from_millis(Mix::default().ttl_ms) + ALL_OVER;
        self.recorder.remains(left(&cluster.client("asker"), patience).await);
        cluster.wait_for_convergence().await;
        let report = self.recorder.history().assert();
        println!("{report}");
        report
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed_every_five_seconds_for_a_minute() {
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, 1, Mix::default(), &["kill -9 of the leader"]);
    let begin = Instant::now();
    for round in 1..=11 {
        sleep_until(begin + Duration::from_secs(5 * round)).await;
        let leader = cluster.wait_for_leader().await;
        let fault = load.begin();
        cluster.node(leader.at).kill();
        load.recovered(&cluster, "kill -9 of the leader", fault).await;
        cluster.node(leader.at).spawn();
    }
    sleep_until(begin + Duration::from_secs(60)).await;
    let report = load.finish(&cluster).await;
    assert!(report.grants > 500, "hardly any work was done: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_and_goes_on_misleads_nobody() {
    let cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, 2, Mix::default(), &["SIGSTOP of the leader"]);
    for _ in 0..4 {
        sleep(Duration::from_secs(2)).await;
        let leader = cluster.wait_for_leader().await;
        let Some(node) = cluster.nodes.get(leader.at) else { continue };
        let fault = load.begin();
        node.signal(Signal::STOP);
        // Longer than a lease of the workers' sessions, so that what it believes is out of date.
        sleep(Duration::from_secs(5)).await;
        node.signal(Signal::CONT);
        load.recovered(&cluster, "SIGSTOP of the leader", fault).await;
    }
    load.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_cuts_holds_delays_and_alters_breaks_nothing() {
    let plan = Plan { proxied: true, seed: 3, ..Plan::default() };
    let cluster = Cluster::start_plan(plan).await;
    let kinds = ["isolated leader", "one-way cut", "delay", "resets", "altered bytes"];
    let load = Load::start(&cluster, 3, Mix::default(), &kinds);
    let names: Vec<&str> = cluster.nodes.iter().map(|n| n.name.as_str()).collect();
    for kind in kinds {
        sleep(Duration::from_secs(2)).await;
        let leader = cluster.wait_for_leader().await;
        let leader = names.get(leader.at).copied().unwrap_or_default();
        let fault = load.begin();
        for other in names.iter().filter(|n| **n != leader) {
            let hold = Rule { hold: true, ..Rule::default() };
            match kind {
                "isolated leader" => cluster.faults.set_both(leader, other, hold),
                "one-way cut" => cluster.faults.set(leader, other, hold),
                "delay" => {
                    let delay = Duration::from_millis(60);
                    cluster.faults.set_both(leader, other, Rule { delay, ..Rule::default() });
                }
                "resets" => {
                    cluster.faults.set_both(leader, other, Rule { reset: 0.05, ..Rule::default() });
                }
                _ => {
                    let altered = Rule { corrupt: 0.05, ..Rule::default() };
                    cluster.faults.set_both(leader, other, altered);
                }
            }
        }
        sleep(Duration::from_secs(5)).await;
        cluster.faults.heal();
        load.recovered(&cluster, kind, fault).await;
    }
    let fired = cluster.faults.fired();
    for (what, count) in [
        ("held", &fired.held),
        ("delayed", &fired.delayed),
        ("reset", &fired.reset),
        ("altered", &fired.corrupted),
    ] {
        let count = count.load(Ordering::Relaxed);
        println!("{what}: {count} pieces");
        load.recorder.fired_times(&format!("{what} pieces"), count);
    }
    load.finish(&cluster).await;
}

/// A shift of the wall clock of each node, in a file that libfaketime reads again and again.
fn shift(cluster: &Cluster, at: usize, seconds: i64) {
    let file = cluster.folder().join(format!("clock-{at}"));
    let fresh = cluster.folder().join(format!("clock-{at}.new"));
    let written = std::fs::write(&fresh, format!("{seconds:+}\n"));
    written.and_then(|()| std::fs::rename(fresh, file)).unwrap_or_else(|e| panic!("{e}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wall_clocks_that_jump_by_an_hour_change_nothing() {
    let mut cluster = Cluster::prepare(Plan::default());
    for at in 0..3 {
        shift(&cluster, at, 0);
        let file = cluster.folder().join(format!("clock-{at}"));
        cluster.node(at).environment = dsync_tests::process::clock::environment(&file);
    }
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
    let jumps = AtomicU64::new(0);
    let load = Load::start(&cluster, 4, Mix::default(), &["clock jump", "kill -9 of the leader"]);
    for (at, seconds) in [(0, 3_600), (1, -3_600), (2, 3_600), (0, -3_600), (1, 3_600), (2, 0)] {
        sleep(Duration::from_secs(2)).await;
        shift(&cluster, at, seconds);
        sleep(Duration::from_millis(200)).await;
        let node = cluster.node(at);
        let told = dsync_tests::process::clock::told(&node.environment);
        let off = told - dsync_tests::process::clock::told(&[]);
        assert!((off - seconds).abs() < 60, "the clock is off by {off} s, not by {seconds} s");
        load.recorder.fired("clock jump");
        jumps.fetch_add(1, Ordering::Relaxed);
        if seconds == 0 {
            let leader = cluster.wait_for_leader().await;
            let fault = load.begin();
            cluster.node(leader.at).kill();
            load.recovered(&cluster, "kill -9 of the leader", fault).await;
            cluster.node(leader.at).spawn();
        }
    }
    sleep(Duration::from_secs(2)).await;
    load.finish(&cluster).await;
}
