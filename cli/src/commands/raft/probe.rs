//! `dsctl raft probe`.

use dsync::api::{AdminReply, AdminRequest};
use dsync_core::node::Role;
use tokio::time::Instant;

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views::raft::Probed;
use crate::output::{human, progress, views};

use super::{Ctx, place, unexpected};

/// Times the stages of some writes that change nothing.
pub(super) async fn run(count: u32, role: Option<Role>, ctx: &Ctx) -> Result<Exit> {
    let place = place::of(role, ctx).await?;
    let bar = progress::steps(&ctx.out, u64::from(count), "probing".to_owned());
    let mut probes = Vec::new();
    for _ in 0..count {
        // Each probe has the whole time limit: a hundred of them are no reason to fail.
        ctx.renew_time();
        let sent = Instant::now();
        let (reply, served_by) = place.way.ask(AdminRequest::RaftProbe, ctx).await?;
        let replied_us = human::micros(sent.elapsed());
        match reply {
            AdminReply::Probe(probe) => probes.push(Probed { probe, replied_us, served_by }),
            _ => return Err(unexpected(&served_by)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    ctx.out.show(&views::raft::probes(place.role, &probes))?;
    Ok(Exit::Done)
}
