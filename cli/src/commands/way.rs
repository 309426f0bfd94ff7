//! How one node is reached.

use dsync::Client;
use dsync::api::{AdminReply, AdminRequest};

use crate::args;
use crate::connect;
use crate::error::{Failure, Result};

use super::Ctx;
use super::survey::Known;

/// The way to one node.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    /// Whom to ask.
    pub(crate) client: Client,
    /// Who shall answer; `None`: whoever is asked.
    pub(crate) target: Option<String>,
}

impl Way {
    /// An address is dialed directly, whatever the node calls itself; a name is asked through any node.
    pub(crate) fn to(addr: &str, ctx: &Ctx) -> Result<Self> {
        if !addr.contains(':') {
            let name = dsync_core::name::Name::parse("node", addr)?;
            return Ok(Self { client: ctx.client().clone(), target: Some(name.into()) });
        }
        let endpoint = args::endpoint(addr).map_err(Failure::usage)?;
        Ok(Self { client: connect::client(ctx.net(), &[endpoint]), target: None })
    }

    /// An address that the user named is dialed from here, so that the reason for a failure is the
    /// one that counts here; any other may only be known inside, and is asked through a node.
    pub(crate) fn of(known: &Known, ctx: &Ctx) -> Self {
        let named = ctx.settings.endpoints.contains(&known.address)
            || ctx.settings.expected.iter().any(|one| one.address == known.address);
        if named {
            let client = connect::client(ctx.net(), std::slice::from_ref(&known.address));
            return Self { client, target: None };
        }
        Self { client: ctx.client().clone(), target: Some(known.label().to_owned()) }
    }

    /// Asks. Gives the reply, and the node that gave it.
    pub(crate) async fn ask(
        &self,
        request: AdminRequest,
        ctx: &Ctx,
    ) -> Result<(AdminReply, String)> {
        let answer = ctx.admin_by(&self.client, request, self.target.clone()).await?;
        Ok((answer.result?, answer.served_by))
    }

    /// Asks, and goes on with the node that answered: what it began is with it.
    pub(crate) async fn ask_and_stay(
        &mut self,
        request: AdminRequest,
        ctx: &Ctx,
    ) -> Result<(AdminReply, String)> {
        let (reply, served_by) = self.ask(request, ctx).await?;
        self.target = Some(served_by.clone());
        Ok((reply, served_by))
    }
}
