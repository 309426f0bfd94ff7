//! The bytes of every message of the cache service, between its nodes and to their memory, as they
//! are for ever: a change of an existing line breaks running clusters; new lines go at the end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use dsync::api::*;
use dsync::peer::{CacheAnswer, CacheCall, CacheFrom, PeerRequest, PeerResponse};
use dsync_core::cache::command::*;
use dsync_core::cache::item::{Gid, Item, Right, Session, Take};
use dsync_core::cache::op::{Action, Condition, Key, Op, Outcome, Value};
use dsync_core::cache::told::Revocation;
use dsync_core::cache::view::{Beat, Member, Seen, View};
use dsync_core::name::Name;
use dsync_core::node::ClusterId;
use dsync_core::{Code, Fault};
use dsync_tests::variants;
use dsync_tests::wire::golden::{golden, hex};

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

fn key() -> Key {
    name("k")
}

fn value() -> Value {
    let tags = [name("s"), name("t")];
    Value { bytes: vec![0, 255].into(), tags: tags.as_slice().into() }
}

fn item() -> Item<Value> {
    Item { version: 300, value: Some(value()) }
}

fn set(condition: Condition) -> Action {
    Action::Set { value: value(), condition, ttl_ms: Some(400) }
}

fn op() -> Op {
    Op { request: u128::MAX, action: Action::Increment { by: -2 } }
}

fn session() -> Session {
    Session { epoch: 3, generation: 400 }
}

fn gid() -> Gid {
    Gid { epoch: 3, seq: 500 }
}

fn fault() -> Fault {
    Fault::new(Code::Conflict, "f")
}

fn member() -> Member {
    Member {
        node: name("n"),
        incarnation: 7,
        address: "a:1".into(),
        lease_ms: 2_000,
        writes_back: true,
    }
}

fn view() -> View {
    View { epoch: 3, run: "r".into(), members: vec![member()], silent: vec![member()] }
}

fn prefix() -> Selector {
    Selector::Prefix("p".into())
}

fn key_view() -> KeyView {
    let tags: Arc<[Name]> = [name("t")].as_slice().into();
    KeyView { key: key(), version: 300, bytes: 2, ttl_ms: Some(400), tags }
}

fn size() -> Size {
    Size { keys: 1, bytes: 300, limit: 400 }
}

#[test]
fn actions_and_outcomes() {
    let conditions =
        [Condition::Always, Condition::Absent, Condition::Present, Condition::Version(300)];
    let always = Condition::Always;
    let actions = [set(always), Action::Delete { condition: always }, op().action];
    let outcomes = [
        Outcome::Set,
        Outcome::Deleted(true),
        Outcome::Number(-2),
        Outcome::Unmet(Some(300)),
        Outcome::NotANumber,
        Outcome::Overflow,
        Outcome::Full { used: 300, limit: 400 },
    ];
    insta::assert_snapshot!(
        [
            golden(&conditions, variants!(Condition: Always Absent Present Version)),
            golden(&actions, variants!(Action: Set Delete Increment)),
            golden(
                &outcomes,
                variants!(Outcome: Set Deleted Number Unmet NotANumber Overflow Full)
            ),
        ]
        .concat()
    );
}

#[test]
fn requests() {
    let requests = [
        CacheRequest::Get { keys: vec![key()], max_stale_ms: Some(300) },
        CacheRequest::Do { changes: vec![(key(), set(Condition::Version(300)))] },
        CacheRequest::Invalidate { of: prefix() },
        CacheRequest::Inspect { key: key() },
        CacheRequest::Line { key: key() },
        CacheRequest::Keys { of: Selector::Tag(name("t")), after: Some(key()), limit: 300 },
        CacheRequest::Stats,
        CacheRequest::Lost,
        CacheRequest::View,
    ];
    insta::assert_snapshot!(golden(
        &requests,
        variants!(CacheRequest: Get Do Invalidate Inspect Line Keys Stats Lost View)
    ));
}

fn got() -> Got {
    Got { value: Some(value()), version: 300, from: Source::Shared, ttl_ms: Some(400) }
}

fn line() -> LineView {
    LineView { state: "S".into(), version: Some(300), lease_ms: Some(400), lapsed: true }
}

fn inspected() -> Inspected {
    Inspected {
        partition: 1_023,
        epoch: 3,
        home: Some("n".into()),
        directory: "shared".into(),
        holders: vec!["n".into()],
        waiting: 1,
        memory: Some((300, 2)),
        ttl_ms: Some(400),
        tags: vec!["t".into()],
        lines: vec![("n".into(), Ok(line())), ("m".into(), Err("down".into()))],
    }
}

fn stats() -> CacheStats {
    CacheStats {
        node: "n".into(),
        states: vec![("S".into(), 1)],
        entries: 2,
        bytes: 3,
        bytes_max: 4,
        entries_max: 5,
        policy: "lru".into(),
        hits: 6,
        misses: 7,
        stale: 8,
        writes: 9,
        executed: 10,
        evictions: 11,
        rejections: 12,
        revoked: 13,
        directory: 14,
        partitions: 15,
        dirty: 16,
        lost: 17,
        memory: Some(size()),
        store: "raft".into(),
    }
}

fn report() -> ViewReport {
    let member = ViewMember {
        node: "n".into(),
        address: "a:1".into(),
        incarnation: 7,
        partitions: 512,
        live: true,
    };
    ViewReport {
        epoch: 3,
        members: vec![member],
        silent: vec!["m".into()],
        store: "redis".into(),
        serving: true,
        lease_ms: Some(400),
    }
}

#[test]
fn replies() {
    let sources = [
        Source::Shared,
        Source::Exclusive,
        Source::Modified,
        Source::Fetched,
        Source::Memory,
        Source::Stale(300),
    ];
    let changed = Changed { outcome: Outcome::Set, version: 300 };
    let lost = LostKey { key: key(), version: 300, at_ms: 400, node: "n".into() };
    let replies = [
        CacheReply::Read(vec![got()]),
        CacheReply::Done(vec![Ok(changed), Err(fault())]),
        CacheReply::Invalidated(300),
        CacheReply::Inspected(inspected()),
        CacheReply::Line(line()),
        CacheReply::Keys { items: vec![key_view()], more: true },
        CacheReply::Stats(Box::new(stats())),
        CacheReply::Lost(vec![lost]),
        CacheReply::View(report()),
    ];
    let text = [
        golden(&sources, variants!(Source: Shared Exclusive Modified Fetched Memory Stale)),
        golden(
            &replies,
            variants!(CacheReply: Read Done Invalidated Inspected Line Keys Stats Lost View),
        ),
    ];
    insta::assert_snapshot!(text.concat());
}

#[test]
fn what_the_memory_is_asked() {
    let by = [By::Holder(name("n"), session()), By::Home(300)];
    let written = [Written::Apply(op()), Written::Put { value: value(), version: 300 }];
    let holder = By::Holder(name("n"), session());
    let write = Written::Apply(Op { request: 300, action: set(Condition::Absent) });
    let commands = [
        Command::Write { key: key(), by: holder, id: u128::MAX, write },
        Command::Fence { partition: 1_023, node: name("n"), session: session() },
        Command::Replace { epoch: 3, view: view() },
        Command::TakeOver { epoch: 3 },
    ];
    let queries = [
        Query::Get(key()),
        Query::Keys { of: prefix(), after: Some(key()), limit: 300 },
        Query::Size,
    ];
    let asks = [
        Ask::Do(Command::TakeOver { epoch: 3 }),
        Ask::Look(Query::Size),
        Ask::Live(Sign { member: member(), count: 300, leaves: true }),
    ];
    let text = [
        golden(&by, variants!(By: Holder Home)),
        golden(&written, variants!(Written: Apply Put)),
        golden(&commands, variants!(Command: Write Fence Replace TakeOver)),
        golden(&queries, variants!(Query: Get Keys Size)),
        golden(&asks, variants!(Ask: Do Look Live)),
    ];
    insta::assert_snapshot!(text.concat());
}

#[test]
fn what_the_memory_tells() {
    let done = [
        Done::Written { item: item(), outcome: Some(Outcome::Set), ttl_ms: Some(400) },
        Done::Fenced,
        Done::Full { used: 300, limit: 400 },
        Done::Is(true),
    ];
    let found = [
        Found::Item { item: Item { version: 300, value: None }, ttl_ms: None },
        Found::Keys { keys: vec![key_view()], more: true },
        Found::Size(size()),
    ];
    let seen = Seen {
        view: view(),
        serving: 3,
        run: "r".into(),
        beats: vec![Beat { member: member(), count: 300 }],
    };
    let told = [Told::Done(Done::Fenced), Told::Found(Found::Size(size())), Told::Seen(seen)];
    let text = [
        golden(&done, variants!(Done: Written Fenced Full Is)),
        golden(&found, variants!(Found: Item Keys Size)),
        golden(&told, variants!(Told: Done Found Seen)),
    ];
    insta::assert_snapshot!(text.concat());
}

#[test]
fn calls_between_nodes() {
    let revocation = |take| Revocation { id: 300, session: session(), upto: gid(), take };
    let calls = [
        CacheCall::Memory(Ask::Look(Query::Size)),
        CacheCall::Prepare(view()),
        CacheCall::Open { epoch: 3, number: 5 },
        CacheCall::Renew { session: session(), evicted: vec![(key(), gid())] },
        CacheCall::Line { session: session(), key: key(), right: Right::Shared },
        CacheCall::Line { session: session(), key: key(), right: Right::Exclusive },
        CacheCall::Execute { epoch: 3, key: key(), op: op() },
        CacheCall::Revoke { key: key(), revocation: revocation(Take::Downgrade) },
        CacheCall::Revoke { key: key(), revocation: revocation(Take::Invalidate) },
        CacheCall::Directory { key: key() },
    ];
    let answers = [
        CacheAnswer::Memory(Told::Done(Done::Fenced)),
        CacheAnswer::View(view()),
        CacheAnswer::Opened(session()),
        CacheAnswer::Wait(300),
        CacheAnswer::Renewed,
        CacheAnswer::Over,
        CacheAnswer::NotNow("w".into()),
        CacheAnswer::Granted { right: Right::Shared, item: item(), gid: gid(), ttl_ms: Some(400) },
        CacheAnswer::Executed { outcome: Outcome::Number(-2), version: 300 },
        CacheAnswer::Full(300, 400),
        CacheAnswer::Unknown,
        CacheAnswer::Acknowledged { kept: true },
        CacheAnswer::Directory("shared".into(), vec![name("n")], 1),
    ];
    let text = [
        golden(
            &calls,
            variants!(CacheCall: Memory Prepare Open Renew Line Execute Revoke Directory),
        ),
        golden(
            &answers,
            variants!(CacheAnswer: Memory View Opened Wait Renewed Over NotNow Granted Executed Full Unknown Acknowledged Directory),
        ),
    ];
    insta::assert_snapshot!(text.concat());
}

#[test]
fn services() {
    let head = Head { request_id: 300, hops: 1, target: Some("t".into()) };
    let request = NodeRequest::Cache { head, request: CacheRequest::Stats };
    let result = Ok(CacheReply::Invalidated(300));
    let answer = Answer { served_by: "n".into(), address: "a:1".into(), result };
    let from = CacheFrom { node: name("n"), incarnation: 7, store: ClusterId(9), to: 300 };
    let call = PeerRequest::Cache { from, call: CacheCall::Open { epoch: 3, number: 5 } };
    let lines = [
        hex(&postcard::to_stdvec(&request).unwrap()),
        hex(&postcard::to_stdvec(&NodeResponse::Cache(answer)).unwrap()),
        hex(&postcard::to_stdvec(&call).unwrap()),
        hex(&postcard::to_stdvec(&PeerResponse::Cache(Ok(CacheAnswer::Renewed))).unwrap()),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}
