//! Which job comes next, and when.

use std::time::Duration;

use dsync_core::Code;
use dsync_core::queue::{BATCH_MAX, Command, NewJob, Settled, State};
use dsync_tests::jobs::hand::{ids, job, receipts};
use tokio::time::Instant;

use crate::place::{LONG, NONE, Place, SLACK, SOON};

/// By priority, then by push, wherever it was pushed; what failed goes first within its priority.
pub(crate) async fn priorities_and_then_first_in_first_out(place: &Place) {
    let hands = place.hands();
    let mut wanted = Vec::new();
    for number in 0..30_u8 {
        let (id, priority) = (format!("p{}-{:02}", number * 7 % 10, number), number * 7 % 10);
        hands[usize::from(number % 3)].create([NewJob { priority, ..job(&id, "") }]).await;
        wanted.push((9 - priority, id));
    }
    wanted.sort();
    let wanted: Vec<String> = wanted.into_iter().map(|(_, id)| id).collect();
    assert_eq!(hands[2].ids(State::Ready).await, wanted);
    let mut first = hands[1].pop(4, LONG, NONE).await;
    assert_eq!(ids(&first), wanted[..4]);
    // Of priority 8: back to its head, though others of 8 wait for longer.
    let failed = first.pop().map(|job| job.receipt);
    assert_eq!(hands[0].nack(&failed.unwrap(), Some(0), "").await, Settled::Done);
    hands[0].create([NewJob { priority: 9, ..job("late", "") }]).await;
    let rest = hands[2].pop(100, LONG, NONE).await;
    assert_eq!(ids(&rest)[..2], ["late", wanted[3].as_str()]);
    assert_eq!(ids(&rest)[2..], wanted[4..]);
}

pub(crate) async fn a_thousand_at_once(place: &Place) {
    let [one, two, three] = place.hands();
    let id = |number: usize| format!("job-{number:04}");
    let many = |count: usize| (0..count).map(move |number| job(&id(number), id(number)));
    let fault = one.refused(Command::Push { jobs: many(BATCH_MAX + 1).collect() }).await;
    assert_eq!(fault.code, Code::LimitReached, "{fault:?}");
    assert!(fault.message.contains("1001"), "{fault:?}");
    one.create(many(BATCH_MAX)).await;
    let taken = two.pop(1_000, LONG, NONE).await;
    assert!(taken.len() == BATCH_MAX, "{} at once", taken.len());
    let wanted: Vec<String> = (0..BATCH_MAX).map(id).collect();
    assert_eq!(ids(&taken), wanted);
    assert!(taken.iter().all(|job| job.payload == job.receipt.id.as_str().as_bytes()));
    let settled = three.ack(receipts(&taken)).await;
    assert!(settled.len() == BATCH_MAX && settled.iter().all(|one| *one == Settled::Done));
    assert_eq!(one.counts().await, [0; 4]);
}

pub(crate) async fn delays_are_never_early(place: &Place) {
    let [one, two, _] = place.hands();
    let delays = [1_200, 400, 800, 401];
    let begun = Instant::now();
    one.create(delays.map(|delay_ms| NewJob { delay_ms, ..job(&delay_ms.to_string(), "") })).await;
    assert!(two.pop(4, LONG, NONE).await.is_empty(), "none is due");
    let pushed = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < delays.len() {
        for job in two.pop(4, LONG, SOON).await {
            let delay: u64 = job.receipt.id.as_str().parse().unwrap();
            let due = Duration::from_millis(delay);
            // The clock of the store counts whole milliseconds, from after the push was sent.
            assert!(begun.elapsed() + Duration::from_millis(1) >= due, "{delay} came early");
            assert!(pushed.elapsed() < due + SLACK, "{delay} took {:?}", pushed.elapsed());
            seen.push(delay);
        }
    }
    assert_eq!(seen, [400, 401, 800, 1_200]);
}
