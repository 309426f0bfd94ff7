//! `dsd` as a process: how it stops, what it refuses to start with, and what an idle one costs.

use std::time::Duration;

use dsync_tests::process::node::{Node, http_get};
use dsync_tests::process::ports::Ports;
use dsync_tests::process::stats::Usage;
use dsync_tests::process::{Cluster, Plan, shape};
use rustix::process::Signal;
use tokio::time::sleep;

/// Long enough for a drain of 5 s on a busy machine.
const STOP: Duration = Duration::from_secs(30);

#[tokio::test]
async fn sigterm_and_sigint_end_a_node_cleanly() {
    let mut cluster = Cluster::start(3).await;
    cluster.dsctl(&["lock", "acquire", "a", "--ttl", "1h", "-o", "json"]).await.ok();
    for signal in [Signal::TERM, Signal::INT] {
        let leader = cluster.wait_for_leader().await;
        let node = cluster.node(leader.at);
        node.signal(signal);
        assert_eq!(node.exit_code(STOP).await, 0, "{signal:?}:\n{}", node.tail(20));
        cluster.wait_for_leader().await;
        cluster.node(leader.at).spawn();
        cluster.wait_for_convergence().await;
    }
    let codes = cluster.stop_all().await;
    assert_eq!(codes, [0, 0, 0]);
}

#[tokio::test]
async fn a_second_signal_ends_a_node_at_once_and_loses_nothing() {
    let mut cluster = Cluster::start(1).await;
    let held = cluster.dsctl(&["lock", "acquire", "a", "--ttl", "1h", "-o", "json"]).await.ok();
    // A client that waits keeps a drain busy.
    let mut waiting = dsync_tests::process::dsctl::command(
        &cluster.endpoints(),
        &["lock", "acquire", "a", "--owner", "other", "--wait", "5m"],
    )
    .spawn()
    .unwrap();
    cluster
        .wait_until("the waiter to be queued", async || {
            let show = cluster.dsctl(&["lock", "show", "a", "-o", "json"]).await.ok();
            (show["waiters"].as_array()?.len() == 1).then_some(())
        })
        .await;
    let node = cluster.node(0);
    // Both are there before it can act on the first.
    for signal in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
        node.signal(signal);
    }
    assert_eq!(node.exit_code(STOP).await, 130, "{}", node.tail(20));
    drop(waiting.kill());
    drop(waiting.wait());
    cluster.node(0).spawn();
    cluster.wait_for_leader().await;
    let show = cluster.dsctl(&["lock", "show", "a", "-o", "json"]).await.ok();
    assert_eq!(show["holders"][0]["token"], held["token"]);
}

/// Starts a node that must not start; gives its exit code and what it said.
async fn refused(node: &mut Node) -> (i32, String) {
    node.spawn();
    let code = node.exit_code(STOP).await;
    let said = node.logged();
    node.assert_no_panic();
    (code, said)
}

#[tokio::test]
async fn a_port_in_use_is_named_and_ends_with_69() {
    let mut cluster = Cluster::prepare(Plan { size: 1, ..Plan::default() });
    let address = cluster.node(0).listen.clone();
    let _taken = std::net::TcpListener::bind(&address).unwrap();
    let (code, said) = refused(cluster.node(0)).await;
    assert_eq!(code, 69, "{said}");
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[tokio::test]
async fn the_data_directory_of_another_node_is_refused() {
    let mut cluster = Cluster::start(1).await;
    cluster.kill_all();
    let data = cluster.node(0).data_dir.clone();
    let mut ports = Ports::claim();
    let mut stranger = Node::prepare(
        cluster.folder(),
        "stranger",
        ports.take(),
        ports.take(),
        "PEER_ADDRESSES=\n",
    );
    let lines = std::fs::read_to_string(&stranger.env_file).unwrap();
    let lines = lines.replace(stranger.data_dir.to_str().unwrap(), data.to_str().unwrap());
    std::fs::write(&stranger.env_file, lines).unwrap();
    let (code, said) = refused(&mut stranger).await;
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("node-lock-1") && said.contains("stranger"), "{said}");
    // Its owner still starts with it.
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
}

#[tokio::test]
async fn one_data_directory_is_used_by_one_process_at_a_time() {
    let mut cluster = Cluster::start(1).await;
    let (name, data) = (cluster.node(0).name.clone(), cluster.node(0).data_dir.clone());
    let mut ports = Ports::claim();
    let other = tempfile::TempDir::new().unwrap();
    let mut twin =
        Node::prepare(other.path(), &name, ports.take(), ports.take(), "PEER_ADDRESSES=\n");
    let lines = std::fs::read_to_string(&twin.env_file).unwrap();
    let lines = lines.replace(twin.data_dir.to_str().unwrap(), data.to_str().unwrap());
    std::fs::write(&twin.env_file, lines).unwrap();
    let (code, said) = refused(&mut twin).await;
    assert_eq!(code, 69, "{said}");
    assert!(said.contains(data.to_str().unwrap()), "{said}");
    cluster.dsctl(&["lock", "acquire", "a", "-o", "json"]).await.ok();
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_named() {
    let mut cluster = Cluster::prepare(Plan { size: 1, ..Plan::default() });
    let file = cluster.folder().join("a-file");
    std::fs::write(&file, "not a folder").unwrap();
    let env = cluster.node(0).env_file.clone();
    let before = cluster.node(0).data_dir.display().to_string();
    let lines = std::fs::read_to_string(&env).unwrap();
    // Root may write anywhere that is not below a plain file or in the kernel's own file system.
    for bad in [format!("{}/below", file.display()), "/sys/dsync-data".to_owned()] {
        std::fs::write(&env, lines.replace(&before, &bad)).unwrap();
        let (code, said) = refused(cluster.node(0)).await;
        assert_eq!(code, 78, "{bad}: {said}");
        assert!(said.contains(&bad), "{said}");
    }
}

/// A small disk, for as long as this lives.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// Mounts one; `None` where the system does not let this process.
    fn mount(at: &std::path::Path, size: &str) -> Option<Self> {
        assert!(std::fs::create_dir_all(at).is_ok(), "the test's folder is writable");
        let options = format!("size={size}");
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at)
            .output();
        mount.is_ok_and(|done| done.status.success()).then(|| Self(at.to_owned()))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let grown =
            std::process::Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(grown.is_ok_and(|done| done.success()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[tokio::test]
async fn a_full_disk_ends_a_node_with_70_and_space_brings_it_back() {
    let mut cluster = Cluster::prepare(Plan { size: 1, ..Plan::default() });
    let data = cluster.node(0).data_dir.clone();
    let Some(disk) = SmallDisk::mount(&data, "128k") else {
        println!("a file system cannot be mounted here: only simulated disks fill up");
        return;
    };
    // It fills up with the first record, by the space that the log takes ahead.
    let (code, said) = refused(cluster.node(0)).await;
    assert_eq!(code, 70, "{said}");
    assert!(said.contains("this node cannot go on: the Raft log has stopped: cannot "), "{said}");
    assert!(said.contains("free space on that disk"), "{said}");
    assert!(!said.contains("openraft"), "{said}");
    assert!(said.lines().count() < 30, "{said}");
    let before = said.len();
    let (code, said) = refused(cluster.node(0)).await;
    assert_eq!(code, 70, "{said}");
    let said = &said[before..];
    assert!(said.contains("cannot write ") && said.contains("free space on that disk"), "{said}");
    for folder in [data.clone(), data.join("log")] {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.contains(".tmp"), "{name} was left behind");
        }
    }
    disk.grow("64m");
    cluster.node(0).spawn();
    cluster.wait_for_leader().await;
    cluster.kill_all();
}

#[tokio::test]
async fn bad_configuration_ends_with_78_and_names_every_problem_at_once() {
    let mut cluster = Cluster::prepare(Plan { size: 1, ..Plan::default() });
    let env = cluster.node(0).env_file.clone();
    let bad = "NODE_ID=a\nNODE_HOST=127.0.0.1\nNODE_PORT=65536\nPEER_ADDRESSES=b:0,,c\nRAFT_HEARTBEAT_MS=soon\n";
    std::fs::write(&env, bad).unwrap();
    let (code, said) = refused(cluster.node(0)).await;
    assert_eq!(code, 78, "{said}");
    for word in ["65536", "b:0", "soon"] {
        assert!(said.contains(word), "{word} in {said}");
    }
}

#[tokio::test]
async fn an_idle_cluster_writes_nothing_to_disk() {
    let cluster = Cluster::start(3).await;
    cluster.dsctl(&["lock", "acquire", "a", "--ttl", "1h", "-o", "json"]).await.ok();
    cluster.wait_for_convergence().await;
    // What was still in flight when the last node had applied.
    sleep(Duration::from_secs(2)).await;
    let pids: Vec<u32> = cluster.nodes.iter().filter_map(Node::pid).collect();
    let before: Vec<Usage> = pids.iter().map(|pid| Usage::of(*pid)).collect();
    sleep(Duration::from_secs(10)).await;
    for (pid, before) in pids.iter().zip(before) {
        let after = Usage::of(*pid);
        let cpu = after.cpu_ticks - before.cpu_ticks;
        println!("idle for 10 s: {} ms of CPU, {} KiB resident", cpu * 10, after.resident_kib);
        assert_eq!(after.write_bytes, before.write_bytes, "an idle node writes to disk");
    }
}

#[tokio::test]
async fn metrics_and_health_are_served_over_http() {
    let mut cluster = Cluster::start(3).await;
    let metrics = cluster.node(0).metrics.clone();
    let get = async |path: &str| http_get(&metrics, path).await;
    assert!(get("/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get("/readyz").await.starts_with("HTTP/1.1 200"));
    let figures = get("/metrics").await;
    assert!(figures.starts_with("HTTP/1.1 200") && figures.contains("dsync_"), "{figures}");
    assert!(get("/nothing").await.starts_with("HTTP/1.1 404"));
    // Alive, but of no use alone: a load balancer must see the difference.
    for at in [1, 2] {
        cluster.node(at).kill();
    }
    cluster
        .wait_until("readyz to fail", async || {
            get("/readyz").await.starts_with("HTTP/1.1 503").then_some(())
        })
        .await;
    assert!(get("/livez").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn different_member_lists_form_no_cluster_and_the_logs_say_why() {
    let mut cluster = Cluster::prepare(Plan::default());
    let extra = format!("127.0.0.1:{}", cluster.spare_port());
    let env = cluster.node(2).env_file.clone();
    let good = std::fs::read_to_string(&env).unwrap();
    let first = cluster.node(0).listen.clone();
    std::fs::write(&env, good.replace(&format!("={first}"), &format!("={extra},{first}"))).unwrap();
    cluster.spawn_all().await;
    cluster
        .wait_until("a log to name the address that only one list has", async || {
            cluster.nodes.iter().take(2).any(|n| n.logged().contains(&extra)).then_some(())
        })
        .await;
    sleep(Duration::from_secs(3)).await;
    for view in cluster.raft().await.into_iter().flatten() {
        assert_eq!((view.cluster, view.voters.len()), (None, 0), "{} formed a cluster", view.node);
    }
    let run = cluster.dsctl(&["raft", "leader", "--timeout", "2s", "-o", "json"]).await;
    shape::error(&run.expect(69).json(), 69);
    // Mended and started again, they form one.
    std::fs::write(&env, good).unwrap();
    cluster.node(2).kill();
    cluster.node(2).spawn();
    cluster.wait_for_leader().await;
    let clusters: Vec<_> = cluster.raft().await.into_iter().flatten().map(|v| v.cluster).collect();
    assert!(clusters.iter().all(|c| c.is_some() && *c == clusters[0]), "{clusters:?}");
}
