//! An id names a job, a receipt one delivery of it.

use std::time::Duration;

use dsync_core::Code;
use dsync_core::queue::{Command, JobId, Limits, NewJob, PAYLOAD_MAX, Pushed, Settled, State};
use dsync_tests::jobs::hand::{ids, job, receipts};
use futures::future::join_all;

use crate::place::{LONG, NONE, Place};

const fn duplicate(state: State) -> Pushed {
    Pushed::Duplicate { state }
}

/// Prototype: a push retried by its client was a second job.
pub(crate) async fn one_id_is_one_job(place: &Place) {
    let hands = place.hands();
    let at_once = join_all(hands.iter().map(|hand| hand.push([job("a", "first")]))).await;
    let created = at_once.concat().iter().filter(|one| **one == Pushed::Created).count();
    assert_eq!(created, 1, "{at_once:?}");
    assert_eq!(hands[1].push([job("a", "other")]).await, [duplicate(State::Ready)]);
    let taken = hands[2].take(LONG, NONE).await;
    assert_eq!((taken.payload.as_slice(), taken.attempt), (&b"first"[..], 1));
    assert_eq!(hands[0].push([job("a", "first")]).await, [duplicate(State::Leased)]);
    assert!(hands[1].pop(1, LONG, NONE).await.is_empty(), "there is one job");
    assert_eq!(hands[0].ack(vec![taken.receipt.clone()]).await, [Settled::Done]);
    let again = hands[2].push([job("a", "first"), job("b", ""), job("b", "")]).await;
    assert_eq!(again, [duplicate(State::Done), Pushed::Created, duplicate(State::Ready)]);
    assert_eq!(hands[1].ack(vec![taken.receipt]).await, [Settled::Done], "as before");
    let stats = hands[0].stats().await;
    assert_eq!((stats.totals.pushed, stats.totals.duplicates, stats.totals.acked), (2, 6, 1));
}

pub(crate) async fn an_id_is_free_after_the_window(place: &Place) {
    let [one, two, _] = place.hands();
    one.limit(Limits { dedup_ms: 400, ..Limits::default() }).await;
    one.create([job("a", "")]).await;
    let taken = one.take(LONG, NONE).await;
    assert_eq!(one.ack(vec![taken.receipt]).await, [Settled::Done]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(two.push([job("a", "")]).await, [Pushed::Created]);
}

/// Prototype: two equal messages could not be told apart, and an ack took whatever was at the head.
pub(crate) async fn equal_payloads_are_two_jobs(place: &Place) {
    let [one, two, three] = place.hands();
    one.create(["a", "b", "c"].map(|id| job(id, "the same"))).await;
    let taken = two.pop(3, LONG, NONE).await;
    assert_eq!(ids(&taken), ["a", "b", "c"]);
    let receipts = receipts(&taken);
    assert_eq!(three.ack(vec![receipts[1].clone()]).await, [Settled::Done]);
    assert_eq!(one.ids(State::Leased).await, ["a", "c"], "b was acknowledged, and nothing else");
    assert_eq!(two.nack(&receipts[0], Some(0), "again").await, Settled::Done);
    let again = three.take(LONG, NONE).await;
    assert_eq!((again.receipt.id.as_str(), again.attempt), ("a", 2));
    let all = vec![receipts[0].clone(), receipts[2].clone(), again.receipt];
    let settled = one.ack(all).await;
    assert_eq!(settled, [Settled::Stale, Settled::Done, Settled::Done]);
    assert_eq!(one.counts().await, [0; 4]);
}

/// Bytes of any kind and number come back as they were; too many are refused by name.
pub(crate) async fn all_bytes_and_sizes(place: &Place) {
    let [one, two, three] = place.hands();
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let largest: Vec<u8> = every.iter().copied().cycle().take(PAYLOAD_MAX).collect();
    let payloads = [Vec::new(), b"\0".to_vec(), b"\r\n$5\r\n".to_vec(), every, largest];
    for (number, payload) in payloads.iter().enumerate() {
        let headers = vec![("name".to_owned(), "wert: ü".to_owned())];
        let new = NewJob { headers, ..job(&number.to_string(), payload.clone()) };
        one.create([new]).await;
    }
    for payload in &payloads {
        let taken = two.take(LONG, NONE).await;
        assert!(taken.payload == *payload, "{} bytes", taken.payload.len());
        assert_eq!(taken.headers, [("name".to_owned(), "wert: ü".to_owned())]);
        assert_eq!(two.ack(vec![taken.receipt]).await, [Settled::Done]);
    }
    let push = |jobs| Command::Push { jobs };
    let fault = three.refused(push(vec![job("fine", ""), job("huge", [0; PAYLOAD_MAX + 1])])).await;
    assert_eq!(fault.code, Code::LimitReached, "{fault:?}");
    assert!(fault.message.contains("job huge") && fault.message.contains("524289"), "{fault:?}");
    assert_eq!(three.show("fine").await, None, "all or nothing");
    let ten = NewJob { priority: 10, ..job("ten", "") };
    let fault = three.refused(push(vec![ten])).await;
    assert_eq!(fault.code, Code::InvalidArgument, "{fault:?}");
    assert!(fault.message.contains("job ten: priority 10"), "{fault:?}");
    assert!(JobId::parse("with space").is_err());
    assert_eq!(one.counts().await, [0; 4]);
}
