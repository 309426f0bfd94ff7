//! The coherent cache for programs: a [`CacheClient`] reads and changes keys at any node.
//!
//! ```no_run
//! # async fn example(client: dsync::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use dsync::cache::{CacheClient, CacheError, Set};
//!
//! let cache = CacheClient::new(&client);
//! cache.set("user/17", Set::new("ada").ttl(Duration::from_secs(60)).tag("users")?).await?;
//! let read = cache.get("user/17").await?;
//! assert_eq!(read.as_bytes(), Some(&b"ada"[..]));
//!
//! // Nobody else's change is overwritten: the version is that of what was read.
//! match cache.set("user/17", Set::new("bob").if_version(read.version)).await {
//!     Ok(changed) => println!("version {}", changed.version),
//!     Err(CacheError::Unmet { version, .. }) => println!("it is at {version:?} by now"),
//!     Err(other) => return Err(other.into()),
//! }
//! # Ok(()) }
//! ```
//!
//! # What the cache does and does not promise
//! - **Each key is linearizable** with write-through, which is the default: a read gives what the
//!   last change before it left, at every node, also when it is answered from a node's own memory.
//!   That holds through crashes, pauses and partitions, as long as the rates of the nodes' clocks
//!   differ by no more than a lease's margin (5 %), the memory behind the nodes keeps what it
//!   acknowledged, and nobody writes to it past dsync. A node that cannot know answers an error, not
//!   an old value, unless [`CacheClient::get_stale`] allowed one; then [`Source::Stale`] says so.
//! - **Several keys are several keys.** [`get_many`](CacheClient::get_many),
//!   [`set_many`](CacheClient::set_many) and the invalidations save round trips; each key is read or
//!   changed by itself, and others see the keys in between.
//! - With write-back a change is acknowledged before the memory has it: if its node dies, what was
//!   written in the last moments (200 ms unless set otherwise) is lost, and is listed
//!   ([`CacheClient::lost`]).
//! - **A change whose answer was lost is not repeated by the client**, for another one may have come
//!   between: it ends with [`CacheError::Unknown`], which has the request id. The same change
//!   [under](CacheClient::under) that id has no second effect as long as nobody else has changed the
//!   key since. Where somebody might have, use a condition ([`Set::if_version`],
//!   [`Set::if_absent`]), or look first.
//!
//! # Source
//! Directory-based MESI with a home per key; leases as in Gray and Cheriton, *Leases* (1989).

mod answer;
mod batch;
mod client;
mod error;
mod look;
mod set;

pub use crate::api::{CacheStats, Inspected, LineView, LostKey, Source, ViewMember, ViewReport};
pub use answer::{Changed, Deleted, Page, Read, Sum};
pub use client::CacheClient;
pub use dsync_core::cache::command::{KeyView, Selector};
pub use dsync_core::cache::op::{Bytes, Key, TAGS_MAX, TTL_MAX_MS, Tag, VALUE_MAX};
pub use error::CacheError;
pub use set::Set;
