//! The client: one handle over all endpoints, cheap to clone.
//!
//! - Nothing is dialed before the first call; each node used gets one connection, and more only
//!   when that one has as many requests in flight as a node allows. Waits (`Await`, `Events`) have
//!   connections of their own, so that a keep-alive never stands behind them.
//! - A call goes to the node that last answered as the one in charge, where its own address can be
//!   reached from here; otherwise to the last endpoint that worked, which hands it on.
//! - A call is repeated inside its timeout when nothing was executed, and when that is unknown but
//!   a repetition is harmless: it carries the same request id, and the node knows it again.
//! - The cluster of the first node greeted (per role) is the cluster of this client: a node of
//!   another one is refused, so that locks never come from two clusters.

use std::sync::Arc;
use std::time::Duration;

use dsync_core::node::{ClusterId, Role};
use dsync_core::{Code, Fault};

use crate::api::{
    AdminReply, AdminRequest, Answer, CacheReply, CacheRequest, Head, LockReply, LockRequest,
    QueueReply, QueueRequest,
};
use crate::connection::CallError;
use crate::net::Net;
use crate::preamble::{Hail, Plane};

mod ask;
mod link;
mod route;
mod trip;

use ask::{Ask, Failed};
use route::Routes;
use trip::{Trip, Verdict, no_endpoints};

/// Time of a call that names none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach the cluster.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Any nodes of any role, `host:port` each.
    pub endpoints: Vec<String>,
    /// Longest time for one connection attempt and its greeting.
    pub connect_timeout: Duration,
    /// What the client calls itself in the nodes' logs.
    pub name: String,
}

/// Options of one call.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// The whole time given, retries included; zero: [`DEFAULT_TIMEOUT`] and what
    /// the request waits by itself.
    pub timeout: Duration,
    /// Names the request; 0: a random one. A repetition must carry the same.
    pub request_id: u128,
    /// The node that shall answer (NODE_ID or `host:port`).
    pub target: Option<String>,
}

/// A handle on the cluster; clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    routes: Arc<Routes>,
    fail_fast: bool,
}

impl Client {
    /// Makes a client; nothing is dialed before the first call.
    pub fn new(config: ClientConfig, net: Net) -> Self {
        Self { routes: Arc::new(Routes::new(config, net, Plane::Client)), fail_fast: false }
    }

    /// A client for a node that hands requests of its own clients on: `name` is its NODE_ID, and
    /// its connections have the limits of nodes.
    pub fn forwarding(config: ClientConfig, net: Net) -> Self {
        Self { routes: Arc::new(Routes::new(config, net, Plane::Forward)), fail_fast: false }
    }

    /// For a command that a person waits for. Gives up as soon as every endpoint failed once,
    /// instead of trying on until the timeout; and does not wait long for an endpoint that says
    /// nothing, but dials the next one beside it and takes the first that greets.
    #[must_use]
    pub fn fail_fast(mut self) -> Self {
        self.fail_fast = true;
        self
    }

    /// Refuses nodes of that role whose cluster is another.
    #[must_use]
    pub fn expect_cluster(self, role: Role, cluster: ClusterId) -> Self {
        self.routes.pin(role, cluster);
        self
    }

    /// The network that it dials through, and its clock.
    pub fn net(&self) -> &Net {
        &self.routes.net
    }

    /// What it calls itself, and where it looks for nodes.
    pub fn config(&self) -> &ClientConfig {
        &self.routes.config
    }

    /// Its greeting, for [`dial::check`](crate::dial::check).
    pub fn hail(&self) -> &Hail {
        &self.routes.hail
    }

    /// Calls the lock service.
    ///
    /// # Errors
    /// A [`Fault`] of the way there; one of the request itself is in [`Answer::result`].
    /// `Effect::None`: it was not executed. `Effect::Unknown`: it may have been; the message names
    /// its request id. `Incompatible`, `WrongCluster`: what answers at the endpoints is no node of
    /// the cluster. `Unavailable`: each endpoint is listed with its reason.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request; it may have been executed. Repeat it with the same
    /// key to learn what became of it.
    pub async fn lock(
        &self,
        request: LockRequest,
        options: CallOptions,
    ) -> Result<Answer<LockReply>, Fault> {
        self.run(request, head(&options), options.timeout).await
    }

    /// Asks about nodes.
    ///
    /// # Errors
    /// As of [`Self::lock`].
    ///
    /// # Cancel safety
    /// As of [`Self::lock`].
    pub async fn admin(
        &self,
        request: AdminRequest,
        options: CallOptions,
    ) -> Result<Answer<AdminReply>, Fault> {
        self.run(request, head(&options), options.timeout).await
    }

    /// Calls the queue service. A pop whose wait is longer than [`POP_WAIT_MAX_MS`] is refused.
    ///
    /// [`POP_WAIT_MAX_MS`]: crate::api::POP_WAIT_MAX_MS
    ///
    /// # Errors
    /// As of [`Self::lock`].
    ///
    /// # Cancel safety
    /// As of [`Self::lock`]: jobs that a dropped pop was given come back when their lease ends, or
    /// at once when the node noticed in time.
    pub async fn queue(
        &self,
        request: QueueRequest,
        options: CallOptions,
    ) -> Result<Answer<QueueReply>, Fault> {
        self.run(request, head(&options), options.timeout).await
    }

    /// Calls the cache service.
    ///
    /// # Errors
    /// As of [`Self::lock`]. After effect `Unknown` a change may be repeated under its request id
    /// as long as nobody else has changed the key.
    ///
    /// # Cancel safety
    /// As of [`Self::lock`].
    pub async fn cache(
        &self,
        request: CacheRequest,
        options: CallOptions,
    ) -> Result<Answer<CacheReply>, Fault> {
        self.run(request, head(&options), options.timeout).await
    }

    /// Hands a request of the lock service on as it came: its head names it and counts the hops.
    ///
    /// # Errors
    /// As of [`Self::lock`].
    ///
    /// # Cancel safety
    /// As of [`Self::lock`].
    pub async fn hand_on_lock(
        &self,
        head: Head,
        request: LockRequest,
        timeout: Duration,
    ) -> Result<Answer<LockReply>, Fault> {
        self.run(request, head, timeout).await
    }

    /// Hands a request about nodes on as it came.
    ///
    /// # Errors
    /// As of [`Self::lock`].
    ///
    /// # Cancel safety
    /// As of [`Self::lock`].
    pub async fn hand_on_admin(
        &self,
        head: Head,
        request: AdminRequest,
        timeout: Duration,
    ) -> Result<Answer<AdminReply>, Fault> {
        self.run(request, head, timeout).await
    }

    /// Hands a request of the queue service on as it came.
    ///
    /// # Errors
    /// As of [`Self::lock`].
    ///
    /// # Cancel safety
    /// As of [`Self::lock`].
    pub async fn hand_on_queue(
        &self,
        head: Head,
        request: QueueRequest,
        timeout: Duration,
    ) -> Result<Answer<QueueReply>, Fault> {
        self.run(request, head, timeout).await
    }

    async fn run<A: Ask>(
        &self,
        ask: A,
        head: Head,
        timeout: Duration,
    ) -> Result<Answer<A::Told>, Fault> {
        let mut trip = Trip::new(self, &ask, head, timeout);
        loop {
            if self.fail_fast
                && let Err(errors) = trip.meet(ask.place()).await
            {
                for error in errors {
                    trip.note(error);
                }
                if trip.is_over(&ask) || !trip.pause().await {
                    return Err(trip.give_up());
                }
                continue;
            }
            let Some(link) = self.routes.pick(ask.place(), trip.turn) else {
                return Err(no_endpoints());
            };
            let failed = match trip.attempt(&link, &ask).await {
                Ok(answer) => match trip.judge(answer, ask.may_repeat()) {
                    Verdict::Final(answer) => return Ok(answer),
                    Verdict::Again(answer) => {
                        self.routes.disappointed(&link);
                        if !trip.pause().await {
                            return Ok(trip.own_up(answer));
                        }
                        continue;
                    }
                },
                Err(failed) => failed,
            };
            self.routes.disappointed(&link);
            match failed {
                Failed::Connect(error) => trip.note(error),
                Failed::Call(CallError::NotSent) => {}
                Failed::Call(CallError::TooLarge(why)) => {
                    return Err(Fault::new(Code::LimitReached, why)
                        .hint("send less at once: a shorter text, a smaller piece"));
                }
                Failed::Call(CallError::Unreadable(why)) => {
                    return Err(Fault::new(
                        Code::Incompatible,
                        format!("{}: {why}", link.address()),
                    )
                    .hint("the node runs another version: upgrade the older side"));
                }
                Failed::Call(error @ (CallError::Lost(_) | CallError::TimedOut(_))) => {
                    trip.no_reply(&link, &error, ask.is_read());
                }
            }
            if trip.is_over(&ask) || !trip.pause().await {
                return Err(trip.give_up());
            }
        }
    }
}

fn head(options: &CallOptions) -> Head {
    let request_id = if options.request_id == 0 { rand::random() } else { options.request_id };
    Head { request_id, hops: 0, target: options.target.clone() }
}
