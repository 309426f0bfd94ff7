//! What looking shows, and that it changes nothing.

use dsync_core::name::Name;
use dsync_core::queue::{Command, JobId, NewJob, PEEK_BYTES, Query, Receipt, Seen, Settled, State};
use dsync_tests::jobs::hand::job;

use crate::place::{LONG, NONE, Place};

pub(crate) async fn looks_show_what_is_there(place: &Place) {
    let [one, two, three] = place.hands();
    let delayed = NewJob { delay_ms: 600_000, ..job("later", "12345") };
    let headers = vec![("lang".to_owned(), "en".to_owned())];
    let long = NewJob { priority: 3, headers: headers.clone(), ..job("long", [7; 5_000]) };
    one.create([delayed, long]).await;
    one.create((0..5).map(|number| job(&format!("r{number}"), "ab"))).await;
    assert_eq!(one.counts().await, [6, 1, 0, 0]);
    let (page, more) = two.peek(State::Ready, 2, 3).await;
    let names: Vec<&str> = page.iter().map(|job| job.id.as_str()).collect();
    assert_eq!((names, more), (vec!["r1", "r2", "r3"], true));
    let (page, more) = three.peek(State::Ready, 5, 3).await;
    assert_eq!((page.len(), more), (1, false));
    let shown = two.show("long").await.unwrap();
    assert_eq!((shown.payload.len(), shown.payload_bytes), (PEEK_BYTES, 5_000));
    assert_eq!((shown.state, shown.priority, shown.headers), (State::Ready, 3, headers));
    assert_eq!((shown.attempts, shown.max_attempts, shown.consumer), (0, 5, None));
    let later = three.show("later").await.unwrap();
    assert_eq!(later.state, State::Delayed);
    assert!((500_000..=600_000).contains(&later.time_ms), "{later:?}");
}

pub(crate) async fn counts_follow_a_job(place: &Place) {
    let [one, two, three] = place.hands();
    one.create([job("long", [7; 5_000]), job("short", "12345")]).await;
    let taken = one.take(LONG, NONE).await;
    let leased = two.show("long").await.unwrap();
    assert_eq!((leased.state, leased.attempts), (State::Leased, 1));
    assert_eq!(leased.consumer.as_ref().map(Name::as_str), Some("tester"));
    assert!((500_000..=600_000).contains(&leased.time_ms), "{leased:?}");
    let stats = three.stats().await;
    assert_eq!([stats.ready, stats.delayed, stats.leased, stats.dead], [1, 0, 1, 0]);
    assert_eq!((stats.bytes, stats.totals.pushed, stats.totals.delivered), (5_005, 2, 1));
    assert!(stats.oldest_ms.is_some_and(|age| age < 120_000), "{stats:?}");
    assert_eq!(one.ack(vec![taken.receipt]).await, [Settled::Done]);
    assert_eq!(two.show("long").await, None);
    assert_eq!(two.stats().await.bytes, 5);
}

pub(crate) async fn queues_are_listed_by_name(place: &Place) {
    let [one, _, three] = place.hands();
    for name in ["list/a", "list/b", "list/c"] {
        one.at(name).create([job("x", "")]).await;
    }
    let after = Some(Name::parse("queue", "list/a").unwrap());
    let query = Query::Queues { prefix: "list/".to_owned(), after, limit: 1 };
    let Seen::Queues { items, more } = three.see(query).await else { panic!("not queues") };
    assert_eq!((items.len(), more), (1, true));
    assert_eq!((items[0].queue.as_str(), items[0].ready), ("list/b", 1));
}

pub(crate) async fn an_unknown_queue_is_empty(place: &Place) {
    let [one, two, three] = place.hands();
    let receipt = Receipt { id: JobId::parse("nobody").unwrap(), token: 1 };
    assert_eq!(one.try_stats().await, None);
    assert!(two.pop(1, LONG, NONE).await.is_empty());
    assert_eq!(three.all_five(&receipt).await, [Settled::Stale; 5]);
    assert_eq!(one.show("nobody").await, None);
    assert_eq!(two.peek(State::Ready, 0, 10).await, (Vec::new(), false));
    assert_eq!(three.moved(Command::Purge).await, 0);
    assert_eq!(one.moved(Command::GiveBack { request: 1 }).await, 0);
    let all = Query::Queues { prefix: String::new(), after: None, limit: 10 };
    let Seen::Queues { items, .. } = two.see(all).await else { panic!("not queues") };
    assert!(items.is_empty(), "a queue comes into being with its first job: {items:?}");
}
