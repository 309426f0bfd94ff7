//! Asks the node with this configuration whether it lives, or whether it serves.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dsync::api::{AdminReply, AdminRequest, Head, NodeInfo};
use dsync::net::{Net, TcpNetwork};
use dsync::preamble::{Hail, Plane};
use dsync::{CallError, ConnectError, NodeConnection};
use dsync_core::Fault;
use dsync_core::config::{AUTO, NodeConfig};

use crate::args::HealthcheckArgs;
use crate::{config, exit, report};

/// Longest time for the dial and its greeting, and again for the question after it.
const LIMIT: Duration = Duration::from_secs(2);
/// The state in which a node answers requests.
const SERVING: &str = "serving";

/// Why a node is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// No dsd answers there.
    #[error(transparent)]
    Unreachable(#[from] ConnectError),
    /// Another node answers there.
    #[error("{address}: node {found} answers there, not {expected}; one of them has a wrong port")]
    Other {
        /// What was dialed.
        address: String,
        /// `NODE_ID` that was configured.
        expected: String,
        /// `NODE_ID` that answered.
        found: String,
    },
    /// It greets but does not answer.
    #[error("the node greets but does not answer: {0}")]
    Silent(#[from] CallError),
    /// It answers that it cannot tell.
    #[error("the node cannot tell how it is: {0}")]
    Refuses(#[from] Fault),
    /// It answers something else.
    #[error("the node gave another answer than was asked for; is it of another version?")]
    Odd,
    /// It lives but does not serve.
    #[error("not ready: {state}{problems}")]
    NotReady {
        /// What it says of itself.
        state: String,
        /// What it says is wrong, after a colon.
        problems: String,
    },
}

/// Asks, says on stderr what is wrong, and gives the process's exit code: 0 healthy, 1 not,
/// 78 when the configuration does not tell whom to ask.
pub fn run(args: &HealthcheckArgs) -> ExitCode {
    let loaded = match config::check_address(&args.env_file, args.flags()) {
        Ok(loaded) => loaded,
        Err(refused) => {
            report::failure(refused);
            return exit::CONFIG.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report::failure(format_args!("cannot start the runtime: {error}"));
            return exit::INTERNAL.into();
        }
    };
    let net: Net = Arc::new(TcpNetwork);
    match runtime.block_on(ask(&net, &loaded.config, args.ready)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(unhealthy) => {
            report::failure(unhealthy);
            exit::UNHEALTHY.into()
        }
    }
}

/// Greets the node of that configuration and, with `ready`, asks whether it serves. Takes 4 s at
/// most.
///
/// # Errors
/// [`Unhealthy`].
///
/// # Cancel safety
/// Cancel safe: nothing stays open.
pub async fn ask(net: &Net, config: &NodeConfig, ready: bool) -> Result<(), Unhealthy> {
    let address = config.dial_self();
    let hail = Hail {
        plane: Plane::Client,
        id: "healthcheck".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        auth: None,
    };
    let connection = NodeConnection::open(net, &address, &hail, LIMIT).await?;
    let found = connection.greeting().id.clone();
    if config.node_id != AUTO && found != config.node_id {
        return Err(Unhealthy::Other { address, expected: config.node_id.clone(), found });
    }
    if !ready {
        return Ok(());
    }
    let head = Head { target: Some(found), ..Head::default() };
    let answer = connection.admin(head, AdminRequest::NodeInfo, LIMIT).await?;
    let AdminReply::Node(info) = answer.result? else { return Err(Unhealthy::Odd) };
    if info.state == SERVING { Ok(()) } else { Err(not_ready(&info)) }
}

fn not_ready(info: &NodeInfo) -> Unhealthy {
    let separator = if info.problems.is_empty() { "" } else { ": " };
    let problems = format!("{separator}{}", info.problems.join("; "));
    Unhealthy::NotReady { state: info.state.clone(), problems }
}
