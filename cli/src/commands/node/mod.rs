//! `dsctl node …`: one node, asked directly where an address is given.

mod ping;

use dsync::Client;
use dsync::api::{AdminReply, AdminRequest, NodeInfo};

use crate::args::{self, Node};
use crate::connect;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::View;
use crate::output::views;

use super::Ctx;
use super::ctx::unexpected;

/// Carries a verb out.
pub(super) async fn run(verb: Node, ctx: &Ctx) -> Result<Exit> {
    match verb {
        Node::Info { addr } => show(&addr, views::node::info, ctx).await,
        Node::Config { addr } => show(&addr, views::node::config, ctx).await,
        Node::Version { addr } => show(&addr, views::node::version, ctx).await,
        Node::Ping { addr, count } => ping::run(&addr, count, ctx).await,
    }
}

/// Prints one view of what a node says of itself.
async fn show(addr: &str, view: fn(&NodeInfo) -> View, ctx: &Ctx) -> Result<Exit> {
    let way = Way::to(addr, ctx)?;
    let (reply, served_by) = way.ask(AdminRequest::NodeInfo, ctx).await?;
    match reply {
        AdminReply::Node(info) => {
            ctx.out.show(&view(&info))?;
            Ok(Exit::Done)
        }
        _ => Err(unexpected(&served_by)),
    }
}

/// How a node is reached.
pub(super) struct Way {
    client: Client,
    target: Option<String>,
}

impl Way {
    /// An address is dialed directly, whatever the node calls itself; a name is asked through any node.
    pub(super) fn to(addr: &str, ctx: &Ctx) -> Result<Self> {
        if !addr.contains(':') {
            let name = dsync_core::name::Name::parse("node", addr)?;
            return Ok(Self { client: ctx.client().clone(), target: Some(name.into()) });
        }
        let endpoint = args::endpoint(addr).map_err(Failure::usage)?;
        Ok(Self { client: connect::client(ctx.net(), &[endpoint]), target: None })
    }

    pub(super) async fn ask(
        &self,
        request: AdminRequest,
        ctx: &Ctx,
    ) -> Result<(AdminReply, String)> {
        let options = ctx.options(ctx.left(), self.target.clone());
        let answer = self.client.admin(request, options).await?;
        Ok((answer.result?, answer.served_by))
    }
}
