//! Locks for programs: a [`Session`] that keeps itself alive, and guards that release themselves.
//!
//! ```no_run
//! # async fn example() -> Result<(), dsync::lock::LockError> {
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use dsync::lock::{Acquire, Session, SessionOptions};
//! use dsync::net::TcpNetwork;
//! use dsync::{Client, ClientConfig};
//!
//! let config = ClientConfig {
//!     endpoints: vec!["127.0.0.1:8001".into(), "127.0.0.1:8002".into()],
//!     connect_timeout: Duration::from_secs(1),
//!     name: "billing@host7".into(),
//! };
//! let client = Client::new(config, Arc::new(TcpNetwork));
//! let session = Session::open(&client, SessionOptions::new("billing@host7")).await?;
//! let guard = session.acquire("invoices/2026", &Acquire::exclusive()).await?;
//! tokio::select! {
//!     () = work(guard.token().0) => guard.release().await?,
//!     loss = guard.lost() => eprintln!("stop at once: {loss:?}"),
//! }
//! session.close().await?;
//! # Ok(()) }
//! # async fn work(_: u64) {}
//! ```
//!
//! # What a lock does and does not promise
//! While [`Session::is_valid`] is true no one else is granted an incompatible hold: the session
//! counts its lease from the moment it *sent* the last keep-alive that was acknowledged, on a clock
//! that runs through suspends, and gives up a margin earlier than the cluster may.
//!
//! That is all a lock alone can promise. A program that is paused *after* it looked, by the
//! scheduler, a garbage collector or a virtual machine, goes on later and writes without a lock. So
//! hand the **fencing token** to the resource that the lock protects, and let it refuse a smaller
//! token than the largest it has seen. [`FencingGuard`] does that in memory; in Redis this script
//! does it in one step, with the data (`KEYS[1]`) and the largest token beside it (`KEYS[2]`):
//!
//! ```lua
//! -- EVAL script 2 data-key token-key value token
//! local seen = redis.call('GET', KEYS[2])
//! -- Tokens are 64-bit: compare as text of equal length, a Lua number would lose digits.
//! local function pad(t) return string.rep('0', 20 - #t) .. t end
//! if seen and pad(ARGV[2]) < pad(seen) then return redis.error_reply('STALE token') end
//! redis.call('SET', KEYS[2], ARGV[2])
//! redis.call('SET', KEYS[1], ARGV[1])
//! return 'OK'
//! ```
//!
//! # Source
//! Leases counted from the send time: C. Gray, D. Cheriton, "Leases" (SOSP 1989). Fencing tokens:
//! M. Burrows, "The Chubby lock service" (OSDI 2006), there called sequencers.

mod error;
mod fencing;
mod guard;
mod inner;
mod keepalive;
mod pending;
mod seqs;
mod session;

pub use dsync_core::lock::{CycleStep, Delay, Grant, Holder, Mode, Policy, SessionId, Token};
pub use error::LockError;
pub use fencing::{FencingGuard, StaleToken};
pub use guard::{LockGuard, Loss};
pub use session::{Acquire, Session, SessionOptions};
