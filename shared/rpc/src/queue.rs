//! Job queues for programs: a [`Producer`] pushes, a [`Consumer`] works.
//!
//! ```no_run
//! # async fn example(client: dsync::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use dsync::queue::{Consumer, ConsumerOptions, Failure, Job, Producer};
//!
//! let producer = Producer::new(&client, "mails")?;
//! producer.push(Job::new("to: ada").id("welcome-17")?.priority(5)).await?;
//!
//! let options = ConsumerOptions::new("mailer@host7").concurrency(8);
//! let consumer = Consumer::new(&client, "mails", options)?;
//! let stop = consumer.clone();
//! tokio::spawn(async move {
//!     tokio::signal::ctrl_c().await.ok();
//!     stop.shutdown();
//! });
//! consumer
//!     .run(|job| async move {
//!         let text = String::from_utf8(job.payload().to_vec());
//!         let text = text.map_err(|_| Failure::reject("not a text"))?;
//!         send(&text).await.map_err(|error| Failure::retry_in(Duration::from_secs(60), error))
//!     })
//!     .await?;
//! # Ok(()) }
//! # async fn send(_: &str) -> Result<(), String> { Ok(()) }
//! ```
//!
//! # What a queue does and does not promise
//! - A job whose push was acknowledged is delivered **at least once**: until it is acknowledged, or
//!   failed so often that it is in the dead letters. A worker that dies loses nothing.
//! - A job is delivered to one consumer at a time, on a **lease** that a guard keeps up by itself. A
//!   consumer that is paused for longer than its lease goes on without knowing that the job was
//!   given to another. What it then says about the job is refused as stale; what it did meanwhile is
//!   done. So do the work in a way that a second time does no harm, or hand the **token** of the
//!   [receipt](Delivered::receipt) to what you write to and refuse there a smaller one than the
//!   largest seen, as with a lock ([`FencingGuard`](crate::lock::FencingGuard)).
//! - A push that is repeated with the same id is one job, also after it was acknowledged, for the
//!   queue's dedup window (2 minutes unless set otherwise). Ids are made here, before anything is
//!   sent, so that a repetition after a lost answer is no second job.
//!
//! # Source
//! Visibility timeouts: Amazon SQS. Handler results that ack, retry or archive: asynq, River.

mod batch;
mod call;
mod consumer;
mod error;
mod guard;
mod heartbeat;
mod job;
mod producer;
mod worker;

pub use crate::api::Durability;
pub use batch::Batcher;
pub use consumer::{Consumer, ConsumerOptions};
pub use dsync_core::queue::{Backoff, JobId, Receipt, State};
pub use error::{PushAllError, QueueError};
pub use guard::{Delivered, JobGuard};
pub use job::Job;
pub use producer::{Producer, Pushed, Status};
pub use worker::Failure;
