//! The memory in Redis as a node uses it: a server that is restarted is another memory.
#![recursion_limit = "256"]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::time::Duration;

use dsd::roles::cache::{Memory, RedisMemory};
use dsd::store::redis::RedisLink;
use dsync_core::cache::command::{Ask, By, Command, Done, Found, Query, Sign, Told, Written};
use dsync_core::cache::op::{Action, Bytes, Condition, Op, Outcome, Value};
use dsync_core::cache::view::{Member, Seen, View};
use dsync_core::config::{Redis as Config, Store};
use dsync_core::name::Name;
use dsync_core::{Code, Effect, Fault};
use dsync_tests::process::{Redis, RedisPlan};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

fn config(port: u16) -> Config {
    Config {
        host: "127.0.0.1".to_owned(),
        port,
        username: None,
        password: None,
        db: 0,
        tls: false,
        sentinels: Vec::new(),
        sentinel_master: String::new(),
        cluster: Vec::new(),
        allow_unsafe: false,
    }
}

async fn memory(server: &Redis) -> (Memory, CancellationToken) {
    let stop = CancellationToken::new();
    let link = RedisLink::open(config(server.port()), 7, stop.clone()).await.unwrap();
    (Memory::Redis(RedisMemory::new(link).unwrap()), stop)
}

async fn ask(memory: &Memory, ask: Ask) -> Result<Told, Fault> {
    memory.ask(&ask, Instant::now() + Duration::from_secs(2)).await
}

fn me() -> Member {
    let (node, address) = (name("n1"), "127.0.0.1:7".to_owned());
    Member { node, incarnation: 3, address, lease_ms: 2_000, writes_back: false }
}

async fn live(memory: &Memory, count: u64) -> Result<Seen, Fault> {
    let told = ask(memory, Ask::Live(Sign { member: me(), count, leaves: false })).await?;
    let Told::Seen(seen) = told else { panic!("{told:?}") };
    Ok(seen)
}

fn set(epoch: u64, id: u128, text: &str) -> Ask {
    let value = Value { bytes: Bytes::from(text.as_bytes()), ..Value::default() };
    let action = Action::Set { value, condition: Condition::Always, ttl_ms: None };
    let write = Written::Apply(Op { request: id, action });
    Ask::Do(Command::Write { key: name("k"), by: By::Home(epoch), id, write })
}

fn get() -> Ask {
    Ask::Look(Query::Get(name("k")))
}

async fn is(memory: &Memory, command: Command) -> bool {
    ask(memory, Ask::Do(command)).await == Ok(Told::Done(Done::Is(true)))
}

/// A view of that run is put in force, after the one of that epoch.
async fn begin(memory: &Memory, after: u64, run: &str) {
    let view =
        View { epoch: after + 1, run: run.to_owned(), members: vec![me()], silent: Vec::new() };
    assert!(is(memory, Command::Replace { epoch: after, view }).await);
    assert!(is(memory, Command::TakeOver { epoch: after + 1 }).await);
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn refused(told: Result<Told, Fault>, why: &str) {
    let fault = told.unwrap_err();
    assert_eq!((fault.code, fault.effect), (Code::Unavailable, Effect::None), "{fault:?}");
    assert!(fault.message.contains(why), "{fault:?}");
}

#[tokio::test]
async fn a_server_that_is_restarted_is_another_memory() {
    let mut server = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let (memory, _stop) = memory(&server).await;
    assert_eq!(memory.store(), Store::Redis);
    refused(ask(&memory, get()).await, "not seen yet");
    let first = live(&memory, 1).await.unwrap();
    assert_eq!((first.view.epoch, first.serving, first.run.len()), (0, 0, 40));
    assert_eq!(first.beats.len(), 1);
    refused(ask(&memory, get()).await, "not begun anew");
    begin(&memory, 0, &first.run).await;
    let told = ask(&memory, set(1, 1, "old")).await.unwrap();
    let Told::Done(Done::Written { outcome: Some(Outcome::Set), item, .. }) = told else {
        panic!("{told:?}")
    };
    assert_eq!(item.version, 1);

    server.restart().await;
    // Whatever this node sends now is of an epoch that this run does not know of.
    until("the new connection", || async {
        let fault = ask(&memory, get()).await.unwrap_err();
        fault.message.contains("restarted").then_some(())
    })
    .await;
    let told = ask(&memory, set(1, 2, "lost")).await;
    refused(told, "restarted");
    refused(ask(&memory, get()).await, "restarted");
    let takes = Ask::Do(Command::TakeOver { epoch: 1 });
    refused(ask(&memory, takes).await, "restarted");

    let second = live(&memory, 2).await.unwrap();
    assert!(second.run != first.run, "{second:?}");
    assert_eq!((second.view.epoch, second.serving), (1, 1), "its file has all of it");
    refused(ask(&memory, set(1, 3, "lost")).await, "not begun anew");
    begin(&memory, 1, &second.run).await;
    assert_eq!(ask(&memory, set(1, 4, "lost")).await, Ok(Told::Done(Done::Fenced)));
    let told = ask(&memory, get()).await.unwrap();
    let Told::Found(Found::Item { item, .. }) = told else { panic!("{told:?}") };
    assert_eq!(item.value.unwrap().bytes.as_slice(), b"old");
}

#[tokio::test]
async fn another_nodes_view_counts_with_the_next_sign_of_life() {
    let server = Redis::start(RedisPlan::default()).await;
    let ((one, _stop), (two, _stop_too)) = (memory(&server).await, memory(&server).await);
    let run = live(&one, 1).await.unwrap().run;
    live(&two, 1).await.unwrap();
    begin(&one, 0, &run).await;
    refused(ask(&two, set(1, 1, "x")).await, "not begun anew");
    live(&two, 2).await.unwrap();
    assert!(matches!(ask(&two, set(1, 1, "x")).await, Ok(Told::Done(Done::Written { .. }))));
}

#[tokio::test]
async fn a_write_without_an_answer_is_done_once() {
    let server = Redis::start(RedisPlan::default()).await;
    let (memory, _stop) = memory(&server).await;
    let run = live(&memory, 1).await.unwrap().run;
    begin(&memory, 0, &run).await;
    let add = || {
        let write = Written::Apply(Op { request: 9, action: Action::Increment { by: 5 } });
        Ask::Do(Command::Write { key: name("n"), by: By::Home(1), id: 9, write })
    };
    server.stop();
    let asked = add();
    let late = memory.ask(&asked, Instant::now() + Duration::from_millis(300)).await;
    assert_eq!(late.unwrap_err().effect, Effect::Unknown);
    server.cont();
    let told = until("an answer", || async {
        live(&memory, 2).await.ok()?;
        ask(&memory, add()).await.ok()
    })
    .await;
    let Told::Done(Done::Written { outcome, item, .. }) = told else { panic!("{told:?}") };
    assert_eq!((outcome, item.version), (Some(Outcome::Number(5)), 1));
}

#[tokio::test]
async fn a_stopped_server_answers_nothing() {
    let mut server = Redis::start(RedisPlan::default()).await;
    let (memory, _stop) = memory(&server).await;
    let run = live(&memory, 1).await.unwrap().run;
    begin(&memory, 0, &run).await;
    server.kill9();
    until("the problem", || async { (!memory.problems().is_empty()).then_some(()) }).await;
    let fault = live(&memory, 2).await.unwrap_err();
    assert_eq!((fault.code, fault.effect), (Code::Unavailable, Effect::None), "{fault:?}");
    assert!(memory.name().contains("127.0.0.1"), "{}", memory.name());
}
