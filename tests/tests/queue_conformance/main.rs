//! One suite for queues, run against both stores with real processes: three nodes on Redis, and three
//! with a log of their own. What a test says of a queue holds whichever node is asked.
//!
//! Each test names the error of the Python prototype that it stands against, where there was one.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod control;
mod failures;
mod ids;
mod leases;
mod limits;
mod order;
mod place;
mod views;
mod waiting;

/// One test of each scenario for each store.
macro_rules! suite {
    ($($file:ident: $($scenario:ident)*;)*) => {
        mod on_redis {
            $($(#[tokio::test]
            async fn $scenario() {
                let place = crate::place::Place::on_redis(stringify!($scenario)).await;
                crate::$file::$scenario(&place).await;
                place.check().await;
            })*)*
        }

        mod on_raft {
            $($(#[tokio::test]
            async fn $scenario() {
                let place = crate::place::Place::on_raft(stringify!($scenario)).await;
                crate::$file::$scenario(&place).await;
                place.check().await;
            })*)*
        }
    };
}

suite! {
    ids: one_id_is_one_job an_id_is_free_after_the_window equal_payloads_are_two_jobs all_bytes_and_sizes;
    order: priorities_and_then_first_in_first_out a_thousand_at_once delays_are_never_early;
    leases: a_dead_consumers_job_comes_back a_repeated_pop_gives_the_same_jobs
        given_back released_is_not_counted extended_in_time acknowledged_as_it_is_taken;
    failures: nacked_with_a_pause deaths_are_counted dead_after_the_last_attempt dead_after_the_last_lease rejected
        expired_in_its_time dead_letters_are_moved dead_letters_are_purged;
    control: paused_and_resumed purged deleted a_node_less limits_are_kept;
    limits: a_full_queue_refuses a_full_queue_drops_the_oldest rate_and_jobs_in_flight a_rate_and_many_who_wait;
    waiting: a_push_at_another_node_wakes first_come_first_served
        who_goes_away_takes_nothing_along;
    views: looks_show_what_is_there counts_follow_a_job queues_are_listed_by_name
        an_unknown_queue_is_empty;
}
