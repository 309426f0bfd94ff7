//! Every result of `dsctl queue` in every format, from fixed data.

use dsync::api::{Durability, Ring, RingMember};
use dsync_core::name::Name;
use dsync_core::queue::{
    Delivery, JobId, JobView, Limits, Overflow, Pushed, Receipt, Settled, State, Stats, Totals,
};

use super::queue::{self, Count};
use super::queues::{self, Seen};
use super::tests::record;
use crate::args::Format;
use crate::output::text_for_test;

fn mails() -> Name {
    Name::parse("queue", "mails").unwrap()
}

fn receipt(id: &str, token: u64) -> Receipt {
    Receipt { id: JobId::parse(id).unwrap(), token }
}

fn delivery(id: &str, payload: &[u8]) -> Delivery {
    Delivery {
        receipt: receipt(id, 9_007_199_254_740_993),
        payload: payload.to_vec(),
        priority: 5,
        attempt: 2,
        max_attempts: 5,
        lease_ms: 30_000,
        age_ms: 61_000,
        headers: vec![("lang".to_owned(), "en".to_owned())],
        last_error: Some("exit code 3".to_owned()),
    }
}

fn job(id: &str, state: State) -> JobView {
    JobView {
        id: JobId::parse(id).unwrap(),
        state,
        priority: 3,
        attempts: 2,
        max_attempts: if state == State::Ready { 0 } else { 5 },
        age_ms: 61_000,
        time_ms: 4_000,
        consumer: (state != State::Ready).then(|| Name::parse("consumer", "ci@build7").unwrap()),
        errors: vec!["timeout".to_owned(), "exit code 3: no such user".to_owned()],
        cause: (state == State::Dead).then(|| "failed 5 times".to_owned()),
        headers: vec![("lang".to_owned(), "en".to_owned())],
        payload: b"to: ada\nhello".to_vec(),
        payload_bytes: 13,
    }
}

fn seen() -> Seen {
    let stats = Stats {
        queue: mails(),
        ready: 12,
        delayed: 3,
        leased: 2,
        dead: 1,
        oldest_ms: Some(4_600),
        bytes: 1_536,
        paused: Some("maintenance".to_owned()),
        limits: Limits {
            max_jobs: 10_000,
            overflow: Overflow::DropOldest,
            rate_per_s: 50,
            burst: 10,
            ..Limits::default()
        },
        totals: Totals { pushed: 40, delivered: 25, acked: 22, failed: 2, ..Totals::default() },
    };
    Seen { stats, owner: Some("node-queue-1".to_owned()), store: "raft".to_owned() }
}

#[test]
fn pushes() {
    let duplicate = Pushed::Duplicate { state: State::Leased };
    record("queue-push", &queue::pushed(&mails(), "a", &Pushed::Created, Durability::Quorum));
    record("queue-push-again", &queue::pushed(&mails(), "a", &duplicate, Durability::Memory));
    let count = Count { created: 998, duplicates: 2, durability: Some(Durability::Quorum) };
    record("queue-push-many", &queue::pushed_many(&mails(), &count));
    record("queue-push-none", &queue::pushed_many(&mails(), &Count::default()));
}

#[test]
fn deliveries_and_what_became_of_them() {
    let jobs = [delivery("order-17", "héllo\nada".as_bytes()), delivery("b", &[0, 255])];
    record("queue-pop", &queue::popped(&mails(), &jobs));
    let (one, two) = (receipt("order-17", 4_711), receipt("b", 4_712));
    let done = [(&one, Settled::Done), (&two, Settled::Dead)];
    record("queue-nack", &queue::settled(&mails(), "nack", &done));
}

#[test]
fn jobs_that_are_looked_at() {
    let states = [State::Ready, State::Delayed, State::Leased, State::Dead];
    let mut jobs: Vec<_> = states.iter().map(|state| job(state.as_str(), *state)).collect();
    // A payload of which only a beginning is known, cut within a character.
    jobs[1].payload = "x".repeat(80).into_bytes();
    jobs[1].payload.extend("é".bytes().take(1));
    jobs[1].payload_bytes = 500_000;
    jobs[2].payload = vec![0xff; 3];
    jobs[2].payload_bytes = 3;
    record("queue-peek", &queue::peeked(&mails(), &jobs));
    record("queue-peek-none", &queue::peeked(&mails(), &[]));
    record("queue-dlq-list", &queue::dead(&mails(), &jobs[3..]));
    record("queue-job", &queue::job(&mails(), &jobs[3]));
    record("queue-job-delayed", &queue::job(&mails(), &jobs[1]));
}

#[test]
fn queues_and_their_limits() {
    let mut open = seen().stats;
    (open.paused, open.oldest_ms) = (None, None);
    record("queue-list", &queues::list(&[seen().stats, open], None));
    record("queue-stats", &queues::stats(&seen(), None));
    let rate = queues::Rate { pushed: 12.34, acked: 0.0 };
    let rates = [(mails(), rate)].into_iter().collect();
    record("queue-stats-watch", &queues::stats(&seen(), Some(&rates)));
    let first = queues::Rates::new();
    record("queue-list-watch", &queues::list(&[seen().stats], Some(&first)));
    record("queue-show", &queues::show(&seen()));
    record("queue-limit", &queues::limits(&mails(), &Limits::default()));
    record("queue-pause", &queues::paused(&mails(), Some("maintenance")));
    record("queue-resume", &queues::paused(&mails(), None));
    record("queue-purge", &queues::moved(&mails(), "purged", 17));
    record("queue-export", &queues::exported(&mails(), "mails.jsonl", 17));
    record("queue-audit", &queues::audit(&mails(), &[]));
    record("queue-audit-findings", &queues::audit(&mails(), &["bytes: 1, not 2".to_owned()]));
}

#[test]
fn rings() {
    let member = |number: u16, partitions: u16, live: bool| RingMember {
        node: format!("node-queue-{number}"),
        address: format!("127.0.0.1:900{number}"),
        partitions,
        live,
    };
    let mut ring = Ring {
        store: "redis".to_owned(),
        members: vec![member(2, 128, true), member(1, 128, true), member(3, 0, false)],
        partition: None,
        owner: None,
    };
    record("queue-ring", &queues::ring(&ring, None));
    (ring.partition, ring.owner) = (Some(85), Some("node-queue-2".to_owned()));
    record("queue-ring-key", &queues::ring(&ring, Some(&mails())));
}

#[test]
fn a_payload_cannot_drive_the_terminal() {
    let text =
        text_for_test(&queue::popped(&mails(), &[delivery("a", b"\x1b[2J\x07")]), Format::Table);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
}
