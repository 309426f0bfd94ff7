//! `dsctl node ping`.

use std::time::Duration;

use dsync::api::{AdminReply, AdminRequest};
use tokio::time::Instant;

use crate::error::Result;
use crate::exit::Exit;
use crate::output::{human, views};

use super::{Ctx, Way, unexpected};

/// Time between two pings.
const PAUSE: Duration = Duration::from_millis(200);

/// Times some round trips; the first one includes the connection.
pub(super) async fn run(addr: &str, count: u32, ctx: &Ctx) -> Result<Exit> {
    let way = Way::to(addr, ctx)?;
    let mut pings = Vec::new();
    for at in 0..count {
        if at > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        ctx.renew_time();
        let sent = Instant::now();
        let (reply, served_by) = way.ask(AdminRequest::Ping, ctx).await?;
        if reply != AdminReply::Pong {
            return Err(unexpected(&served_by));
        }
        pings.push((served_by, human::micros(sent.elapsed())));
    }
    ctx.out.show(&views::node::pings(addr, &pings))?;
    Ok(Exit::Done)
}
