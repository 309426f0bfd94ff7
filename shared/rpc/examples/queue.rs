//! Pushes a few jobs and works on them until Ctrl-C:
//!
//! ```text
//! cargo run -p dsync --example queue -- 127.0.0.1:9001,127.0.0.1:9002 mails
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::sync::Arc;
use std::time::Duration;

use dsync::net::TcpNetwork;
use dsync::queue::{Consumer, ConsumerOptions, Delivered, Failure, Job, Producer, QueueError};
use dsync::{Client, ClientConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), QueueError> {
    let mut args = std::env::args().skip(1);
    let endpoints = args.next().unwrap_or_else(|| "127.0.0.1:9001,127.0.0.1:9002".to_owned());
    let queue = args.next().unwrap_or_else(|| "mails".to_owned());
    let config = ClientConfig {
        endpoints: endpoints.split(',').map(str::to_owned).collect(),
        connect_timeout: Duration::from_secs(1),
        name: "example".to_owned(),
    };
    let client = Client::new(config, Arc::new(TcpNetwork));

    // The id is that of the thing that the job is about: whoever pushes it twice gets one job.
    let producer = Producer::new(&client, &queue)?;
    for number in 1..=3 {
        let job = Job::new(format!("hello {number}")).id(&format!("greeting-{number}"))?;
        let pushed = producer.push(job.max_attempts(3)).await?;
        println!("{}: {:?}", pushed.id, pushed.status);
    }

    let options = ConsumerOptions::new("example").concurrency(2).lease(Duration::from_secs(10));
    let consumer = Consumer::new(&client, &queue, options)?;
    let stop = consumer.clone();
    let waiting = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            println!("no more jobs are taken; those at work are ended");
            stop.shutdown();
        }
    });
    println!("working on {queue} until Ctrl-C");
    let worked = consumer.run(work).await;
    waiting.abort();
    worked
}

/// Any error with `?` is tried again later; what can never work is rejected.
async fn work(job: Delivered) -> Result<(), Failure> {
    let text = std::str::from_utf8(job.payload()).map_err(Failure::reject)?;
    println!("{} (delivery {}): {text}", job.id(), job.attempt());
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(())
}
