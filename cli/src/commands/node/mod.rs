//! `dsctl node …`: one node, asked directly where an address is given.

mod ping;

use dsync::api::{AdminReply, AdminRequest, NodeInfo};

use crate::args::Node;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::View;
use crate::output::views;

use super::Ctx;
use super::ctx::unexpected;
use super::way::Way;

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
