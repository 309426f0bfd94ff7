//! One command to one queue.

use std::time::Duration;

use dsync_core::name::Name;
use dsync_core::queue::{Command, Outcome};
use dsync_core::{Code, Fault};

use super::error::QueueError;
use crate::api::{Durability, QueueReply, QueueRequest};
use crate::client::{CallOptions, Client};
use crate::dial::millis;

/// Time for a command that does not wait.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// How to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// A pop waits so long.
    pub(super) wait: Duration,
    /// Time beside the wait.
    pub(super) timeout: Duration,
    /// Names the request; 0: a random one.
    pub(super) request_id: u128,
    pub(super) durability: Option<Durability>,
}

impl Default for How {
    fn default() -> Self {
        let (wait, timeout) = (Duration::ZERO, COMMAND_TIMEOUT);
        Self { wait, timeout, request_id: 0, durability: None }
    }
}

/// Sends a command, repeated inside its time where that is harmless. What can be refused without
/// the state is refused here.
pub(super) async fn ask(
    client: &Client,
    queue: &Name,
    command: Command,
    how: How,
) -> Result<(Outcome, Durability), QueueError> {
    dsync_core::queue::check(&command)?;
    let wait_ms = millis(how.wait);
    let request =
        QueueRequest::Do { queue: queue.clone(), command, wait_ms, durability: how.durability };
    let timeout = how.timeout + how.wait;
    let options = CallOptions { timeout, request_id: how.request_id, target: None };
    match client.queue(request, options).await?.result? {
        QueueReply::Outcome { outcome, durability } => Ok((outcome, durability)),
        other @ (QueueReply::Seen { .. } | QueueReply::Ring(_)) => {
            let text = format!("a reply out of place: {other:?}");
            Err(Fault::new(Code::Incompatible, text).into())
        }
    }
}
