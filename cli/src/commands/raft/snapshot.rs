//! `dsctl raft snapshot save|restore`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;

use dsync::api::{AdminReply, AdminRequest};
use dsync_core::Code;

use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::lease::signals::Signals;
use crate::lease::take::interrupted;
use crate::output::{self, human, progress, views};

use super::{Ctx, unexpected};

/// Bytes of one piece.
const PIECE: usize = 256 * 1024;

/// Writes the state to a file. The file is replaced only when all of it is on disk.
pub(super) async fn save(file: &Path, ctx: &Ctx) -> Result<Exit> {
    let draft = file.with_extension(format!("part.{}", std::process::id()));
    let mut signals = Signals::ending()?;
    let result = tokio::select! {
        copied = copy_to(&draft, ctx) => copied,
        signal = signals.next_ending() => Err(interrupted(signal)),
    };
    let renamed = result.and_then(|(total, node)| {
        fs::rename(&draft, file).map_err(|error| cannot("write", file, &error))?;
        Ok((total, node))
    });
    if renamed.is_err() {
        fs::remove_file(&draft).unwrap_or_default();
    }
    let (total, node) = renamed?;
    ctx.out.show(&views::raft::snapshot("RaftSnapshot", file, total, &node))?;
    Ok(Exit::Done)
}

/// Copies piece by piece from the node that took the snapshot.
async fn copy_to(draft: &Path, ctx: &Ctx) -> Result<(u64, String)> {
    let mut to = File::create(draft).map_err(|error| cannot("write", draft, &error))?;
    let (mut id, mut offset, mut node) = (0_u64, 0_u64, None);
    let bar = progress::bytes(&ctx.out, 0, "saving".to_owned());
    loop {
        ctx.renew_time();
        let answer = ctx.admin(AdminRequest::SnapshotRead { id, offset }, node.clone()).await?;
        let served_by = node.get_or_insert(answer.served_by).clone();
        let (total, data) = match answer.result {
            Ok(AdminReply::Snapshot { id: given, total, data }) => {
                id = given;
                (total, data)
            }
            _ => return Err(unexpected(&served_by)),
        };
        if data.is_empty() && offset < total {
            let why = format!("{served_by} ended the snapshot at {offset} of {total} bytes");
            return Err(Failure::new(Code::Internal, why).hint("take it again"));
        }
        to.write_all(&data).map_err(|error| cannot("write", draft, &error))?;
        offset += u64::try_from(data.len()).unwrap_or(u64::MAX);
        bar.set_length(total);
        bar.set_position(offset);
        if offset >= total {
            to.sync_all().map_err(|error| cannot("write", draft, &error))?;
            bar.finish_and_clear();
            return Ok((total, served_by));
        }
    }
}

/// Replaces the state of the cluster by that of a file.
pub(super) async fn restore(file: &Path, ctx: &Ctx) -> Result<Exit> {
    let from = File::open(file).map_err(|error| cannot("read", file, &error))?;
    let total = from.metadata().map_err(|error| cannot("read", file, &error))?.len();
    if total == 0 {
        return Err(Failure::new(Code::InvalidArgument, format!("{} is empty", file.display()))
            .exit(Exit::Data));
    }
    let size = human::bytes(total);
    let question =
        format!("Replace all locks and sessions of the cluster by {} ({size})?", file.display());
    output::confirm(&question, ctx.settings.yes)?;
    let id = rand::random::<u64>().max(1);
    let (mut offset, mut node) = (0_u64, None);
    let bar = progress::bytes(&ctx.out, total, "restoring".to_owned());
    loop {
        let mut data = Vec::with_capacity(PIECE);
        let limit = u64::try_from(PIECE).unwrap_or(u64::MAX);
        (&from).take(limit).read_to_end(&mut data).map_err(|error| cannot("read", file, &error))?;
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let done = offset + length >= total || data.is_empty();
        ctx.renew_time();
        let request = AdminRequest::SnapshotWrite { id, offset, data, done };
        let answer = ctx.admin(request, node.clone()).await.map_err(of_the_file)?;
        let served_by = node.get_or_insert(answer.served_by).clone();
        if !matches!(answer.result, Ok(AdminReply::Done(_))) {
            return Err(unexpected(&served_by));
        }
        offset += length;
        bar.set_position(offset);
        if done {
            bar.finish_and_clear();
            ctx.out.show(&views::raft::snapshot("RaftRestore", file, offset, &served_by))?;
            return Ok(Exit::Done);
        }
    }
}

/// What a node calls a wrong argument is what is in the file.
fn of_the_file(failure: Failure) -> Failure {
    match failure.fault.code {
        Code::InvalidArgument => failure.exit(Exit::Data),
        _ => failure,
    }
}

fn cannot(what: &str, file: &Path, error: &std::io::Error) -> Failure {
    let failure =
        Failure::new(Code::Internal, format!("cannot {what} {}: {error}", file.display()));
    match (what, error.kind()) {
        (_, std::io::ErrorKind::NotFound) => failure.exit(Exit::NotFound),
        ("read", _) => failure.exit(Exit::Data),
        _ => failure,
    }
}
