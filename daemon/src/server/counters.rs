//! What the server counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counts of one server; shared with whoever shows them.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(pub(super) $name: AtomicU64,)+
        }

        /// The counts at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Reading {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// The counts now.
            pub fn read(&self) -> Reading {
                Reading { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Accepts that failed.
    accept_errors,
    /// Connections that have not greeted yet.
    ungreeted,
    /// Open connections of clients, nodes that hand on included.
    clients,
    /// Open connections of nodes.
    peers,
    /// Connections that made place for others before they greeted.
    evicted,
    /// Connections that did not greet in time.
    silent,
    /// Connections that greeted as something else.
    foreign,
    /// Connections refused because of a limit.
    refused,
    /// Requests begun.
    requests,
    /// Requests in flight.
    in_flight,
    /// Requests whose handler was dropped: cancelled, out of time, or the connection ended.
    dropped,
    /// Handlers that panicked.
    panics,
    /// Connections ended by a frame that could not be read.
    bad_frames,
    /// Connections ended because the peer stalled or was idle.
    stalled,
}

/// Adds one and takes it back when dropped.
#[derive(Debug)]
pub(super) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(super) fn up(of: &'a AtomicU64) -> Self {
        of.fetch_add(1, Ordering::Relaxed);
        Self(of)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn count(of: &AtomicU64) {
    of.fetch_add(1, Ordering::Relaxed);
}
