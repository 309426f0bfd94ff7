//! The bytes of every message, as they are for ever: a variant's place is its number on the wire.
//!
//! A change of an existing line of the snapshots breaks running clusters; new lines go at the end
//! of their list.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dsync::api::*;
use dsync::peer::*;
use dsync_core::lock::*;
use dsync_core::name::Name;
use dsync_core::node::{ClusterId, DirectoryEntry, Hello, Role};
use dsync_core::{Code, Effect, Fault};
use dsync_tests::variants;
use dsync_tests::wire::golden::{golden, hex};
use serde::Serialize;

fn encoded<T: Serialize>(value: &T) -> String {
    hex(&postcard::to_stdvec(value).unwrap_or_default())
}

fn answer<T>(result: T) -> Answer<T> {
    Answer { served_by: "n".into(), address: "a:1".into(), result: Ok(result) }
}

fn name(text: &str) -> Name {
    #[expect(clippy::expect_used, reason = "a test fails by panicking")]
    Name::parse("name", text).expect("a name")
}

fn key() -> RequestKey {
    RequestKey::Session { session: SessionId(300), seq: 5 }
}

fn grant() -> Grant {
    Grant { lock: name("l"), mode: Mode::Permits { take: 1, of: 3 }, token: Token(7), count: 1 }
}

fn holder() -> Holder {
    Holder {
        owner: name("o"),
        session: SessionId(3),
        mode: Mode::Shared,
        token: Token(4),
        count: 2,
        expires_in_ms: 99,
    }
}

fn step() -> CycleStep {
    CycleStep { waiter: name("a"), session: SessionId(1), lock: name("l"), holder: name("b") }
}

fn delay() -> Delay {
    Delay { remaining_ms: 9, reason: "why".into() }
}

fn view() -> LockView {
    let waiter = Waiter {
        owner: name("w"),
        session: SessionId(8),
        mode: Mode::Exclusive,
        position: 1,
        waiting_ms: 2,
        group: vec![name("g")],
        upgrade: true,
    };
    LockView {
        name: name("l"),
        mode: Some(Mode::Shared),
        holders: vec![holder()],
        waiters: vec![waiter],
        delay: Some(delay()),
        more_holders: 5,
        more_waiters: 6,
    }
}

fn event(kind: EventKind) -> Event {
    Event { index: 1, at_ms: 2, kind }
}

#[test]
fn lock_requests() {
    let request = Request { key: key(), first_outstanding: 4, command: Command::CloseSession };
    let samples = [
        LockRequest::Do(request),
        LockRequest::KeepAlive { session: SessionId(300) },
        LockRequest::Await { key: RequestKey::Detached(u128::MAX), wait_ms: 5_000 },
        LockRequest::Get { lock: name("l") },
        LockRequest::List { prefix: "p".into(), waiting: true, after: Some(name("a")), limit: 9 },
        LockRequest::Validate { lock: name("l"), token: Token(u64::MAX) },
        LockRequest::WaitGraph,
        LockRequest::Sessions { after: SessionId(1), limit: 2 },
        LockRequest::Events { from_index: 1, wait_ms: 2 },
        LockRequest::Holding {
            lock: name("l"),
            token: Token(7),
            known: Holding::Revoked { by: name("b"), grace_ms: 9 },
            wait_ms: 2,
        },
    ];
    insta::assert_snapshot!(golden(
        &samples,
        variants!(LockRequest: Do KeepAlive Await Get List Validate WaitGraph Sessions Events Holding)
    ));
}

#[test]
fn commands() {
    let (lock, token, wait_ms) = (name("l"), Token(7), 1_000);
    let owner = name("o");
    let wants = vec![Want { lock: lock.clone(), mode: Mode::Exclusive }];
    let samples = [
        Command::OpenSession {
            ttl_ms: 15_000,
            owner: owner.clone(),
            meta: "m".into(),
            ephemeral: true,
        },
        Command::CloseSession,
        Command::Acquire {
            wants,
            owner: owner.clone(),
            wait_ms,
            policy: Policy::WaitDie,
            age: 1,
            max_hold_ms: 2,
        },
        Command::Cancel { target: key() },
        Command::Release { lock: lock.clone(), token: None, owner: Some(owner), all: true },
        Command::Renew { lock: lock.clone(), token, ttl_ms: Some(1) },
        Command::Convert { lock: lock.clone(), token, to: Mode::Shared, wait_ms },
        Command::ForceRelease { lock, token, actor: name("a"), reason: "r".into() },
    ];
    insta::assert_snapshot!(golden(
        &samples,
        variants!(Command: OpenSession CloseSession Acquire Cancel Release Renew Convert ForceRelease)
    ));
}

#[test]
fn outcomes() {
    let session = SessionId(3);
    let samples = [
        Outcome::SessionOpened { session, ttl_ms: 1 },
        Outcome::SessionClosed,
        Outcome::Granted(vec![grant()]),
        Outcome::Queued { position: 1, blockers: vec![holder()] },
        Outcome::WouldBlock { holders: vec![], delay: Some(delay()) },
        Outcome::Timeout,
        Outcome::Deadlock(vec![step()]),
        Outcome::Wounded { lock: name("l"), by: name("b") },
        Outcome::Cancelled,
        Outcome::Released { token: Token(7), remaining: 0 },
        Outcome::Renewed { expires_in_ms: 1, session },
        Outcome::Converted(grant()),
        Outcome::SessionExpired,
        Outcome::NotHolder { current: vec![holder()] },
        Outcome::LimitReached("l".into()),
        Outcome::StaleSeq,
        Outcome::Invalid("i".into()),
    ];
    insta::assert_snapshot!(golden(
        &samples,
        variants!(Outcome: SessionOpened SessionClosed Granted Queued WouldBlock Timeout Deadlock
            Wounded Cancelled Released Renewed Converted SessionExpired NotHolder LimitReached
            StaleSeq Invalid)
    ));
}

#[test]
fn events() {
    let (lock, token, session, owner) = (name("l"), Token(7), SessionId(3), name("o"));
    let samples = [
        EventKind::Granted { grant: grant(), owner: owner.clone(), session },
        EventKind::Released { lock: lock.clone(), token, owner: owner.clone(), why: "w".into() },
        EventKind::Revoke { lock, token, session, by: name("b"), grace_ms: 1 },
        EventKind::SessionExpired { session, owner },
        EventKind::Deadlock(vec![step()]),
    ];
    insta::assert_snapshot!(golden(
        &samples,
        variants!(EventKind: Granted Released Revoke SessionExpired Deadlock)
    ));
}

#[test]
fn lock_replies() {
    let session = SessionView {
        session: SessionId(3),
        owner: name("o"),
        meta: "m".into(),
        ttl_ms: 1,
        expires_in_ms: 2,
        grants: 3,
        tickets: 4,
    };
    let gone = event(EventKind::Deadlock(vec![]));
    let samples = [
        LockReply::Outcome(Outcome::Timeout),
        LockReply::KeptAlive { expires_in_ms: 15_000 },
        LockReply::Lookup(Lookup::Pending { position: 2 }),
        LockReply::Lookup(Lookup::Done(Outcome::Timeout)),
        LockReply::Lookup(Lookup::Unknown),
        LockReply::Lock(Some(view())),
        LockReply::Locks { items: vec![view()], more: true },
        LockReply::Valid(Some(holder())),
        LockReply::WaitGraph { steps: vec![step()], more: true },
        LockReply::Sessions { items: vec![session], more: true },
        LockReply::Events { items: vec![gone], next_index: 3, gap: true },
        LockReply::Holding(Holding::Held),
        LockReply::Holding(Holding::Revoked { by: name("b"), grace_ms: 9 }),
        LockReply::Holding(Holding::Gone),
    ];
    insta::assert_snapshot!(golden(
        &samples,
        variants!(LockReply: Outcome KeptAlive Lookup Lock Locks Valid WaitGraph Sessions Events
            Holding)
    ));
}

#[test]
fn admin_requests() {
    let samples = [
        AdminRequest::Ping,
        AdminRequest::NodeInfo,
        AdminRequest::Directory,
        AdminRequest::RaftStatus,
        AdminRequest::RaftProbe,
        AdminRequest::RaftTransfer { to: "n".into() },
        AdminRequest::RaftReplace { node: "n".into() },
        AdminRequest::SnapshotRead { id: 1, offset: 2 },
        AdminRequest::SnapshotWrite { id: 1, offset: 2, data: vec![3], done: true },
        AdminRequest::DialCheck { address: "a:1".into() },
    ];
    insta::assert_snapshot!(golden(
        &samples,
        variants!(AdminRequest: Ping NodeInfo Directory RaftStatus RaftProbe RaftTransfer RaftReplace
            SnapshotRead SnapshotWrite DialCheck)
    ));
}

fn node_info() -> NodeInfo {
    NodeInfo {
        node: "n".into(),
        role: Role::Lock,
        address: "a:1".into(),
        listen: "l:1".into(),
        version: "v".into(),
        cluster: Some(ClusterId(7)),
        incarnation: 1,
        uptime_ms: 2,
        state: "s".into(),
        problems: vec!["p".into()],
        settings: vec![Setting { key: "k".into(), value: "v".into(), source: "s".into() }],
        peers: vec![PeerView {
            address: "a:2".into(),
            node: Some("m".into()),
            last_hello_ms_ago: Some(3),
            last_error: Some("e".into()),
        }],
        warnings: vec!["w".into()],
        connections: 4,
        pid: 5,
    }
}

fn raft_status() -> RaftStatus {
    let replication = Replication {
        id: 1,
        node: "n".into(),
        matched: Some(2),
        lag: 3,
        heartbeat_age_ms: Some(4),
    };
    RaftStatus {
        node: "n".into(),
        address: "a:1".into(),
        id: 1,
        cluster: Some(ClusterId(2)),
        state: "leader".into(),
        term: 3,
        vote: Some((4, true)),
        leader: Some("n".into()),
        last_log_index: 5,
        flushed: 6,
        committed: 7,
        applied: 8,
        snapshot: 9,
        purged: 10,
        voters: vec![("n".into(), "a:1".into(), 11)],
        learners: vec![],
        joint: true,
        quorum_ack_age_ms: Some(12),
        leader_contact_age_ms: Some(13),
        replication: vec![replication],
        fsync_p50_us: 14,
        fsync_p99_us: 15,
        elections_last_minute: 16,
        last_election: Some("e".into()),
        fingerprint: 17,
        state_hash: 18,
        election_timeout_ms: (300, 600),
        problems: vec!["p".into()],
    }
}

fn entry_of_directory() -> DirectoryEntry {
    DirectoryEntry {
        node: name("n"),
        role: Role::Cache,
        address: "a:1".into(),
        incarnation: 1,
        version: "v".into(),
        heard_ms_ago: 2,
    }
}

#[test]
fn admin_replies() {
    let probe = Probe {
        index: 1,
        term: 2,
        flushed_us: 3,
        acked_us: vec![("n".into(), 4)],
        committed_us: 5,
        applied_us: 6,
    };
    let dial = DialReport {
        class: "ok".into(),
        detail: "d".into(),
        node: Some("n".into()),
        elapsed_ms: 1,
    };
    let samples = [
        AdminReply::Pong,
        AdminReply::Node(Box::new(node_info())),
        AdminReply::Directory(vec![entry_of_directory()]),
        AdminReply::Raft(Box::new(raft_status())),
        AdminReply::Probe(probe),
        AdminReply::Done("d".into()),
        AdminReply::Snapshot { id: 1, total: 2, data: vec![3] },
        AdminReply::Dial(dial),
    ];
    insta::assert_snapshot!(golden(
        &samples,
        variants!(AdminReply: Pong Node Directory Raft Probe Done Snapshot Dial)
    ));
}

#[test]
fn faults() {
    let codes = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::Unavailable,
        Code::Internal,
        Code::Conflict,
        Code::Timeout,
        Code::Incompatible,
        Code::WrongCluster,
        Code::NotOwner,
        Code::Deadlock,
        Code::Wounded,
        Code::SessionExpired,
        Code::LimitReached,
        Code::WrongRole,
        Code::Denied,
        Code::WouldBlock,
    ];
    let codes = golden(
        &codes,
        variants!(Code: InvalidArgument NotFound Unavailable Internal Conflict Timeout Incompatible
            WrongCluster NotOwner Deadlock Wounded SessionExpired LimitReached WrongRole Denied
            WouldBlock),
    );
    let effects = [Effect::None, Effect::Done, Effect::Unknown];
    let effects = golden(&effects, variants!(Effect: None Done Unknown));
    let fault = Fault::unknown("m").hint("h");
    let bytes = postcard::to_stdvec(&fault).unwrap_or_default();
    insta::assert_snapshot!(format!("{codes}{effects}Fault {bytes:02x?}"));
}

fn vote() -> Vote {
    Vote { term: 300, node: Some(2), committed: true }
}

fn membership() -> Membership {
    let member = Member { node: "n".into(), address: "a:1".into() };
    Membership { configs: vec![BTreeSet::from([1, 2])], nodes: BTreeMap::from([(1, member)]) }
}

#[test]
fn raft_calls() {
    let at = Some(LogId { term: 1, index: 2 });
    let id = LogId { term: 1, index: 3 };
    let normal = Payload::Normal { t_ms: 4, nonce: 5, data: Bytes::from_static(b"d") };
    let payloads = [Payload::Blank, normal, Payload::Membership(membership())];
    let payload_bytes = golden(&payloads, variants!(Payload: Blank Normal Membership));
    let entries = payloads.into_iter().map(|payload| Entry { id, payload }).collect();
    let calls = [
        RaftCall::Append { vote: vote(), prev: at, commit: None, entries, t_ms: 6 },
        RaftCall::Vote { vote: vote(), last: at, pre: true, transfer: false },
        RaftCall::Snapshot {
            vote: vote(),
            id: 7,
            last: at,
            membership_at: at,
            membership: membership(),
            offset: 8,
            data: Bytes::from_static(b"d"),
            done: true,
        },
        RaftCall::Transfer { from: vote(), to: 9, last: at },
    ];
    let replies = [
        RaftReply::Appended,
        RaftReply::AppendedUpTo(at),
        RaftReply::Conflict,
        RaftReply::HigherVote(vote()),
        RaftReply::Voted { vote: vote(), granted: true, last: at },
        RaftReply::Received(vote()),
        RaftReply::Transferring,
    ];
    let calls = golden(&calls, variants!(RaftCall: Append Vote Snapshot Transfer));
    let replies = golden(
        &replies,
        variants!(RaftReply: Appended AppendedUpTo Conflict HigherVote Voted Received Transferring),
    );
    insta::assert_snapshot!(format!("{payload_bytes}{calls}{replies}"));
}

/// The methods themselves, and what goes with every request and reply.
#[test]
fn services() {
    let head = || Head { request_id: 300, hops: 1, target: Some("t".into()) };
    let hello = || Hello {
        node: name("n"),
        role: Role::Queue,
        address: "a:1".into(),
        incarnation: 1,
        version: "v".into(),
        raft_id: 2,
        fingerprint: 3,
        members: vec!["m".into()],
        initialized: true,
        cluster: Some(ClusterId(4)),
        voters: vec![("v".into(), 5)],
        directory: vec![entry_of_directory()],
    };
    let to = Destination { cluster: ClusterId(1), to: 2, from: 3 };
    let call = RaftCall::Vote { vote: vote(), last: None, pre: false, transfer: true };
    let (lock, admin) = (LockRequest::WaitGraph, AdminRequest::Ping);
    let lines = [
        encoded(&NodeRequest::Lock { head: head(), request: lock }),
        encoded(&NodeRequest::Admin { head: head(), request: admin }),
        encoded(&NodeResponse::Lock(answer(LockReply::Lock(None)))),
        encoded(&NodeResponse::Admin(answer(AdminReply::Pong))),
        encoded(&PeerRequest::Hello { from: hello() }),
        encoded(&PeerRequest::Raft { to, call }),
        encoded(&PeerResponse::Hello(Ok(hello()))),
        encoded(&PeerResponse::Raft(Ok(RaftReply::Conflict))),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}
