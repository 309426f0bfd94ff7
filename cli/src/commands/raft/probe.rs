//! `dsctl raft probe`.

use dsync::api::{AdminReply, AdminRequest};
use tokio::time::Instant;

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views::raft::Probed;
use crate::output::{human, progress, views};

use super::{Ctx, unexpected};

/// Times the stages of some writes that change nothing.
pub(super) async fn run(count: u32, ctx: &Ctx) -> Result<Exit> {
    let bar = progress::steps(&ctx.out, u64::from(count), "probing".to_owned());
    let mut probes = Vec::new();
    for _ in 0..count {
        // Each probe has the whole time limit: a hundred of them are no reason to fail.
        ctx.renew_time();
        let sent = Instant::now();
        let answer = ctx.admin(AdminRequest::RaftProbe, None).await?;
        let replied_us = human::micros(sent.elapsed());
        match answer.result {
            Ok(AdminReply::Probe(probe)) => {
                probes.push(Probed { probe, replied_us, served_by: answer.served_by });
            }
            _ => return Err(unexpected(&answer.served_by)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    ctx.out.show(&views::raft::probes(&probes))?;
    Ok(Exit::Done)
}
