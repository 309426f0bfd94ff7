//! Every result in every format, from fixed data.

use std::path::Path;

use dsync::api::Probe;
use dsync_core::lock::{
    CycleStep, Delay, Event, EventKind, Grant, Holder, LockView, Mode, SessionId, Token, Waiter,
};
use dsync_core::name::Name;
use dsync_core::node::Role;
use dsync_core::{Code, Effect, Fault};

use super::{bench, cluster, context, lock, misc, node, raft};
use crate::args::{Format, Goal};
use crate::commands::Report;
use crate::commands::survey::raft::Group;
use crate::commands::survey::{Known, Said};
use crate::error::Failure;
use crate::output::{View, text_for_test};
use crate::settings::context::{Context, Contexts};

/// Records a view in all formats.
pub(super) fn record(name: &str, view: &View) {
    use std::fmt::Write as _;
    let formats = [
        ("table", Format::Table),
        ("plain", Format::Plain),
        ("name", Format::Name),
        ("json", Format::Json),
        ("jsonl", Format::Jsonl),
        ("yaml", Format::Yaml),
    ];
    let mut all = String::new();
    for (title, format) in formats {
        write!(all, "--- {title}\n{}", text_for_test(view, format)).unwrap();
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, all);
    });
}

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

fn grant() -> Grant {
    Grant { lock: name("deploy/prod"), mode: Mode::Exclusive, token: Token(4711), count: 1 }
}

fn holder(owner: &str, token: u64, mode: Mode) -> Holder {
    Holder {
        owner: name(owner),
        session: SessionId(9_007_199_254_740_993),
        mode,
        token: Token(token),
        count: 1,
        expires_in_ms: 20_000,
    }
}

fn held() -> LockView {
    LockView {
        name: name("deploy/prod"),
        mode: Some(Mode::Exclusive),
        holders: vec![holder("ci@build7", 4711, Mode::Exclusive)],
        waiters: vec![Waiter {
            owner: name("ci@build8"),
            session: SessionId(12),
            mode: Mode::Shared,
            position: 1,
            waiting_ms: 65_000,
            group: vec![name("deploy/db")],
            upgrade: false,
        }],
        delay: None,
        more_holders: 0,
        more_waiters: 0,
    }
}

fn crowded() -> LockView {
    LockView { more_holders: 3, more_waiters: 40, ..held() }
}

fn delayed() -> LockView {
    LockView {
        name: name("report"),
        mode: None,
        holders: Vec::new(),
        waiters: Vec::new(),
        delay: Some(Delay { remaining_ms: 800, reason: "lease of ci@build7 expired".to_owned() }),
        more_holders: 0,
        more_waiters: 0,
    }
}

fn shared() -> LockView {
    LockView {
        name: name("pool"),
        mode: Some(Mode::Permits { take: 1, of: 5 }),
        holders: vec![
            holder("a@x", 5, Mode::Permits { take: 1, of: 5 }),
            holder("b@x", 6, Mode::Permits { take: 2, of: 5 }),
        ],
        waiters: Vec::new(),
        delay: None,
        more_holders: 0,
        more_waiters: 0,
    }
}

fn steps() -> Vec<CycleStep> {
    let step = |waiter: &str, lock: &str, holder: &str| CycleStep {
        waiter: name(waiter),
        session: SessionId(7),
        lock: name(lock),
        holder: name(holder),
    };
    vec![step("a@x", "two", "b@x"), step("b@x", "one", "a@x")]
}

#[test]
fn lock_results() {
    let grant = grant();
    record(
        "lock-acquire",
        &lock::taken(&lock::Taken {
            grant: &grant,
            owner: "ci@build7",
            session: SessionId(9_007_199_254_740_993),
            ttl_ms: 30_000,
            expires_in_ms: 29_996,
            served_by: "node-lock-2",
        }),
    );
    record("lock-release", &lock::released("deploy/prod", Token(4711), 0));
    record("lock-renew", &lock::renewed("deploy/prod", Token(4711), SessionId(12), 30_000));
    record("lock-convert", &lock::converted(&grant));
    record("lock-validate", &lock::valid("pool", &holder("a@x", 5, Mode::Shared)));
    record("lock-force-release", &lock::forced("deploy/prod", Token(4711), "host is gone"));
    record("lock-show", &lock::show(&held()));
    record("lock-show-more", &lock::show(&crowded()));
    record("lock-list-more", &lock::list(&[crowded()]));
    record("lock-deadlocks-more", &lock::waits(&steps(), true));
    record("lock-show-delayed", &lock::show(&delayed()));
    record("lock-list", &lock::list(&[held(), shared(), delayed()]));
    record("lock-list-empty", &lock::list(&[]));
    record("lock-deadlocks", &lock::waits(&steps(), false));
    record("lock-deadlocks-empty", &lock::waits(&[], false));
}

#[test]
fn lock_events() {
    let kinds = [
        EventKind::Granted { grant: grant(), owner: name("ci@build7"), session: SessionId(12) },
        EventKind::Released {
            lock: name("deploy/prod"),
            token: Token(4711),
            owner: name("ci@build7"),
            why: "lease expired".to_owned(),
        },
        EventKind::Revoke {
            lock: name("deploy/prod"),
            token: Token(4711),
            session: SessionId(12),
            by: name("old@x"),
            grace_ms: 2_000,
        },
        EventKind::SessionExpired { session: SessionId(12), owner: name("ci@build7") },
        EventKind::Deadlock(steps()),
    ];
    for (at, kind) in kinds.into_iter().enumerate() {
        let event = Event { index: 10_423, at_ms: 5_000, kind };
        record(&format!("lock-event-{at}"), &lock::event(&event));
    }
}

fn raft_group() -> Group {
    let known = |n: u16| Known {
        node: Some(format!("node-lock-{n}")),
        role: Some(Role::Lock),
        address: format!("127.0.0.1:800{n}"),
    };
    let leader = dsync::api::RaftStatus {
        state: "leader".to_owned(),
        quorum_ack_age_ms: Some(12),
        leader_contact_age_ms: None,
        ..raft::sample::status("node-lock-1")
    };
    let follower = dsync::api::RaftStatus {
        address: "127.0.0.1:8002".to_owned(),
        id: 2 << 32 | 1,
        ..raft::sample::status("node-lock-2")
    };
    let refused = Fault::unavailable("127.0.0.1:8003: connection refused");
    let said = vec![
        Said { known: known(1), answer: Ok(leader) },
        Said { known: known(2), answer: Ok(follower) },
        Said { known: known(3), answer: Err(refused) },
    ];
    Group { role: Role::Lock, said, elsewhere: false }
}

fn in_redis() -> Group {
    Group { role: Role::Queue, said: Vec::new(), elsewhere: true }
}

#[test]
fn raft_results() {
    let group = raft_group();
    let leader = group.said[0].answer.as_ref().unwrap();
    record("raft-leader", &raft::leader(Role::Lock, leader, &[(Role::Lock, Ok(leader))]));
    let redis = in_redis();
    let queue = (Role::Queue, crate::commands::raft_led(&redis));
    let both = [(Role::Lock, Ok(leader)), queue];
    record("raft-leader-both", &raft::leader(Role::Lock, leader, &both));
    let summary = crate::commands::raft_summary(3, 1, true);
    record("raft-peers", &raft::peers(&raft::rows(&group), &[summary]));
    let troubled = dsync::api::RaftStatus {
        problems: vec!["node-lock-3 does not answer".to_owned()],
        ..leader.clone()
    };
    record("raft-status", &raft::status(&troubled));
    let probe = |index: u64, replied_us: u64| raft::Probed {
        probe: Probe {
            index,
            term: 3,
            flushed_us: 180,
            acked_us: vec![("node-lock-2".to_owned(), 410)],
            committed_us: 420,
            applied_us: 450,
        },
        replied_us,
        served_by: "node-lock-1".to_owned(),
    };
    record("raft-probe", &raft::probes(Role::Lock, &[probe(10_424, 900), probe(10_425, 1_250)]));
    record(
        "raft-transfer",
        &raft::done("RaftTransfer", "node-lock-2", "it leads now", Role::Lock, "node-lock-1"),
    );
    record(
        "raft-snapshot",
        &raft::snapshot(
            "RaftSnapshot",
            Path::new("locks.snap"),
            1_572_864,
            Role::Lock,
            "node-lock-1",
        ),
    );
}

#[test]
fn cluster_results() {
    record("cluster-status", &cluster::status(&cluster::sample::said()));
    let group = raft_group();
    let mut known: Vec<_> = group.said.iter().map(|one| one.known.clone()).collect();
    known.push(Known { node: None, role: None, address: "127.0.0.1:9001".to_owned() });
    let expected = crate::settings::env_file::Expected {
        node: Some("node-lock-1".to_owned()),
        role: Some(Role::Lock),
        address: "127.0.0.1:8001".to_owned(),
    };
    let groups = [group, in_redis()];
    record("cluster-topology", &cluster::topology(&known, &groups[..1], &[expected]));
    record("cluster-topology-both", &cluster::topology(&known, &groups, &[]));
    record("cluster-wait", &cluster::waited(Goal::Nodes(3), "3 of 3 nodes serve", 1_250));
}

#[test]
fn node_results() {
    let mut info = cluster::sample::info(1);
    info.problems = vec!["disk 95 % full".to_owned()];
    record("node-info", &node::info(&info));
    record("node-config", &node::config(&info));
    record("node-version", &node::version(&info));
    record("node-ping", &node::pings("127.0.0.1:8001", &[("node-lock-1".to_owned(), 850)]));
}

#[test]
fn other_results() {
    record("version", &misc::version("0.1.0"));
    record("exit-codes", &misc::exit_codes(crate::exit::TABLE));
    let prod = Context {
        endpoints: vec!["10.0.0.1:8001".to_owned(), "10.0.0.2:8001".to_owned()],
        node_files: vec!["/etc/dsync/lock_node1.env".to_owned()],
        timeout_ms: Some(10_000),
    };
    record("context-show", &context::one("prod", &prod, true));
    let mut contexts = Contexts { current: Some("prod".to_owned()), ..Contexts::default() };
    contexts.contexts.insert("prod".to_owned(), prod);
    contexts.contexts.insert("test".to_owned(), Context::default());
    record("context-list", &context::list(&contexts));
    let report = Report {
        what: "lock",
        clients: 64,
        connections: 4,
        rate: 18_234.56,
        operations: 182_345,
        elapsed_ms: 10_000,
        p50_ms: 3.2124,
        p90_ms: 4.5,
        p99_ms: 7.8901,
        p999_ms: 11.0,
        max_ms: 20.5,
        errors: 1,
        error: Some("connection reset".to_owned()),
    };
    let missed = ["the rate is 18234.6/s, at least 20000.0/s wanted".to_owned()];
    record("bench-lock", &bench::report(&report, &missed));
}

#[test]
fn errors_for_people_and_for_machines() {
    let mut lost = Failure::from(Fault::unknown("no answer from 127.0.0.1:8001 within 5s"))
        .hint("repeat it")
        .of_request(0xabc);
    let refused = Failure::new(Code::NotOwner, "deploy/prod is held by a@x");
    let mut texts = Vec::new();
    for failure in [&lost, &refused] {
        texts.push(failure.lines().join("\n"));
        let view = View::document("Error", failure.document());
        texts.push(text_for_test(&view, Format::Json));
        texts.push(text_for_test(&view, Format::Jsonl));
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("errors", texts.join("\n"));
    });
    lost.fault.effect = Effect::Done;
    assert!(lost.lines().contains(&"outcome: it was carried out".to_owned()));
}

#[test]
fn a_hostile_answer_cannot_drive_the_terminal() {
    let mut info = cluster::sample::info(1);
    info.state = "\u{1b}[2Jgone\nnode-lock-9  leader".to_owned();
    info.problems = vec!["\u{7}bell".to_owned()];
    let said = vec![Said {
        known: Known {
            node: Some("a".to_owned()),
            role: Some(Role::Lock),
            address: "h:1".to_owned(),
        },
        answer: Ok(info),
    }];
    let text = text_for_test(&cluster::status(&said), Format::Table);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    assert_eq!(text.lines().count(), 3, "{text}");
}
