//! What every command is given: settings, output, and the way to the cluster.

use std::cell::{Cell, OnceCell};
use std::time::Duration;

use dsync::api::{
    AdminReply, AdminRequest, Answer, LockReply, LockRequest, QueueReply, QueueRequest,
};
use dsync::net::Net;
use dsync::{CallOptions, Client};
use dsync_core::lock::{Command, Outcome, Request, RequestKey};
use dsync_core::{Code, Fault};
use tokio::time::Instant;

use crate::connect;
use crate::error::{Failure, Result};
use crate::output::Output;
use crate::settings::Settings;

/// One run of a command.
#[derive(Debug)]
pub(crate) struct Ctx {
    pub(crate) settings: Settings,
    pub(crate) out: Output,
    /// Names the request of this run.
    pub(crate) request_id: u128,
    until: Cell<Instant>,
    net: OnceCell<Net>,
    client: OnceCell<Client>,
}

impl Ctx {
    /// A run that begins now.
    pub(crate) fn new(settings: Settings, out: Output) -> Self {
        let request_id = settings.request_id.unwrap_or_else(random_id);
        let until = Cell::new(Instant::now() + settings.timeout);
        Self { settings, out, request_id, until, net: OnceCell::new(), client: OnceCell::new() }
    }

    /// The network, and the clock that leases are counted on.
    pub(crate) fn net(&self) -> &Net {
        self.net.get_or_init(connect::network)
    }

    /// The client, made when first needed.
    pub(crate) fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            // Each run begins at another one: no node has all the work, and one that hangs is not
            // the first that every run meets.
            let mut endpoints = self.settings.endpoints.clone();
            let by = rand::random_range(0..endpoints.len().max(1));
            endpoints.rotate_left(by);
            connect::client(self.net(), &endpoints)
        })
    }

    /// Gives the command more time: what the user is willing to wait.
    pub(crate) fn extend(&self, by: Duration) {
        self.until.set(self.until.get() + by);
    }

    /// Starts the time limit anew, for a command that goes on until it is ended.
    pub(crate) fn renew_time(&self) {
        self.until.set(Instant::now() + self.settings.timeout);
    }

    /// Time left for the command.
    pub(crate) fn left(&self) -> Duration {
        self.until.get().saturating_duration_since(Instant::now())
    }

    /// Options of a call that may use `within` of the time left.
    pub(crate) fn options(&self, within: Duration, target: Option<String>) -> CallOptions {
        // Zero would mean the library's own default.
        let timeout = within.min(self.left()).max(Duration::from_millis(1));
        CallOptions { timeout, request_id: self.request_id, target }
    }

    /// Asks the lock service. A wait for a lock leaves no more time for finding a leader.
    pub(crate) async fn lock(&self, request: LockRequest) -> Result<Answer<LockReply>> {
        self.lock_waiting(request, Duration::ZERO).await
    }

    /// Asks the lock service something that it is to answer only after a while.
    pub(crate) async fn lock_waiting(
        &self,
        request: LockRequest,
        wait: Duration,
    ) -> Result<Answer<LockReply>> {
        let options = self.options(self.settings.timeout + wait, None);
        self.outcome(self.client().lock(request, options).await)
    }

    /// Changes something of the lock service, under a name that makes a repetition harmless.
    pub(crate) async fn change(&self, key: RequestKey, command: Command) -> Result<Changed> {
        let first_outstanding = match key {
            RequestKey::Session { seq, .. } => seq,
            RequestKey::Detached(_) => 0,
        };
        let request = LockRequest::Do(Request { key, first_outstanding, command });
        let answer = self.lock(request).await?;
        match answer.result {
            Ok(LockReply::Outcome(outcome)) => Ok(Changed { outcome, served_by: answer.served_by }),
            _ => Err(unexpected(&answer.served_by)),
        }
    }

    /// Asks the queue service something that it may answer only after `wait`. `id` names the request.
    pub(crate) async fn queue(
        &self,
        request: QueueRequest,
        wait: Duration,
        id: u128,
    ) -> Result<Answer<QueueReply>> {
        let options = self.options(self.settings.timeout + wait, None);
        let options = CallOptions { request_id: id, ..options };
        let answer = self.outcome(self.client().queue(request, options).await);
        answer.map_err(|failure| failure.of_request(id))
    }

    /// Asks about nodes; `target` names the one that shall answer.
    pub(crate) async fn admin(
        &self,
        request: AdminRequest,
        target: Option<String>,
    ) -> Result<Answer<AdminReply>> {
        self.admin_by(self.client(), request, target).await
    }

    /// Asks about nodes on another way.
    pub(crate) async fn admin_by(
        &self,
        client: &Client,
        request: AdminRequest,
        target: Option<String>,
    ) -> Result<Answer<AdminReply>> {
        let options = self.options(self.left(), target);
        // Nodes remember no names of such requests.
        let answer = self.outcome(client.admin(request, options).await);
        answer.map_err(Failure::once_only)
    }

    /// Turns a fault, ours or the node's, into a failure that names the request.
    fn outcome<T>(&self, result: std::result::Result<Answer<T>, Fault>) -> Result<Answer<T>> {
        match result {
            Ok(Answer { result: Err(fault), .. }) | Err(fault) => {
                Err(Failure::from(fault).of_request(self.request_id))
            }
            Ok(answer) => Ok(answer),
        }
    }
}

/// What a change came to.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) outcome: Outcome,
    pub(crate) served_by: String,
}

/// A name for a request, never 0.
pub(crate) fn random_id() -> u128 {
    rand::random::<u128>().max(1)
}

/// A reply that does not belong to the request: the node speaks another version.
pub(crate) fn unexpected(served_by: &str) -> Failure {
    Failure::new(Code::Incompatible, format!("{served_by} gave an answer of another kind"))
        .hint("`dsctl cluster status` shows the versions of all nodes")
}
