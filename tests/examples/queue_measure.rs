//! Figures of the queue service: `queue_measure rate|wake|waiters|ready STORE …`.
//!
//! Run by `tests/bench`, in a release build. Each run has a cluster (and a Redis) of its own, and
//! prints one line per figure.
#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::panic, clippy::expect_used, reason = "a bench fails by panicking")]

#[path = "queue_measure/load.rs"]
mod load;
#[path = "queue_measure/place.rs"]
mod place;
#[path = "queue_measure/rate.rs"]
mod rate;
#[path = "queue_measure/ready.rs"]
mod ready;
#[path = "queue_measure/wait.rs"]
mod wait;

use place::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize| arguments.get(at).map(String::as_str);
    let number = |at: usize, default: usize| {
        word(at).map_or(default, |text| text.parse().expect("a whole number"))
    };
    let store = match word(1) {
        Some("redis") => Store::Redis,
        Some("raft") => Store::Raft,
        _ => usage(),
    };
    match word(0) {
        Some("rate") => {
            let clients = number(2, 64);
            let connections = number(5, clients);
            rate::run(store, (clients, connections), number(3, 5), number(4, 1)).await;
        }
        Some("wake") => wait::wake(store, number(2, 200)).await,
        Some("waiters") => wait::waiters(store, number(2, 1_000), number(3, 1)).await,
        Some("ready") => ready::run(store, number(2, 1_000_000), number(3, 5)).await,
        _ => usage(),
    }
}

fn usage() -> ! {
    println!(
        "usage: queue_measure rate    redis|raft [CLIENTS] [SECONDS] [BATCH] [CONNECTIONS]\n       \
         queue_measure wake    redis|raft [ROUNDS]\n       \
         queue_measure waiters redis|raft [WAITERS] [QUEUES]\n       \
         queue_measure ready   redis|raft [JOBS] [SECONDS]"
    );
    panic!("nothing was measured")
}
