//! `dsctl raft snapshot save|restore`.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use dsync::api::{AdminReply, AdminRequest};
use dsync::backup;
use dsync_core::Code;
use dsync_core::node::Role;

use crate::commands::way::Way;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::lease::signals::Signals;
use crate::lease::take::interrupted;
use crate::output::{self, human, progress, views};

use super::{Ctx, place, unexpected};

/// Bytes of one piece.
const PIECE: usize = 256 * 1024;

/// Writes the state to a file. The file is replaced only when all of it is on disk.
pub(super) async fn save(file: &Path, role: Option<Role>, ctx: &Ctx) -> Result<Exit> {
    let place = place::of(role, ctx).await?;
    let role = place.role;
    let draft = file.with_extension(format!("part.{}", std::process::id()));
    let mut signals = Signals::ending()?;
    let result = tokio::select! {
        copied = copy_to(&draft, place.way, ctx) => copied,
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
    ctx.out.show(&views::raft::snapshot("RaftSnapshot", file, total, role, &node))?;
    Ok(Exit::Done)
}

/// Copies piece by piece from the node that took the snapshot.
async fn copy_to(draft: &Path, mut way: Way, ctx: &Ctx) -> Result<(u64, String)> {
    let mut to = File::create(draft).map_err(|error| cannot("write", draft, &error))?;
    let (mut id, mut offset) = (0_u64, 0_u64);
    let bar = progress::bytes(&ctx.out, 0, "saving".to_owned());
    loop {
        ctx.renew_time();
        let request = AdminRequest::SnapshotRead { id, offset };
        let (reply, served_by) = way.ask_and_stay(request, ctx).await?;
        let AdminReply::Snapshot { id: given, total, data } = reply else {
            return Err(unexpected(&served_by));
        };
        id = given;
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
pub(super) async fn restore(file: &Path, role: Option<Role>, ctx: &Ctx) -> Result<Exit> {
    let mut from = File::open(file).map_err(|error| cannot("read", file, &error))?;
    let total = from.metadata().map_err(|error| cannot("read", file, &error))?.len();
    if total == 0 {
        return Err(Failure::new(Code::InvalidArgument, format!("{} is empty", file.display()))
            .exit(Exit::Data));
    }
    let its = role_in(&mut from, file)?;
    let role = place::agreed(&format!("{} is", file.display()), Some(its), role)?;
    let size = human::bytes(total);
    let what = match its {
        Role::Lock => "locks and sessions",
        Role::Queue => "queues and jobs",
        Role::Cache => "keys",
    };
    let question = format!("Replace all {what} of the cluster by {} ({size})?", file.display());
    output::confirm(&question, ctx.settings.yes)?;
    let mut way = place::of(role, ctx).await?.way;
    let id = rand::random::<u64>().max(1);
    let mut offset = 0_u64;
    let bar = progress::bytes(&ctx.out, total, "restoring".to_owned());
    loop {
        let mut data = Vec::with_capacity(PIECE);
        let limit = u64::try_from(PIECE).unwrap_or(u64::MAX);
        (&from).take(limit).read_to_end(&mut data).map_err(|error| cannot("read", file, &error))?;
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let done = offset + length >= total || data.is_empty();
        ctx.renew_time();
        let request = AdminRequest::SnapshotWrite { id, offset, data, done };
        let (reply, served_by) = way.ask_and_stay(request, ctx).await.map_err(of_the_file)?;
        if !matches!(reply, AdminReply::Done(_)) {
            return Err(unexpected(&served_by));
        }
        offset += length;
        bar.set_position(offset);
        if done {
            bar.finish_and_clear();
            ctx.out.show(&views::raft::snapshot("RaftRestore", file, offset, its, &served_by))?;
            return Ok(Exit::Done);
        }
    }
}

/// Whose state a file is; the file is where it was afterwards.
fn role_in(from: &mut File, file: &Path) -> Result<Role> {
    let mut head = Vec::new();
    let most = u64::try_from(backup::HEADER_MAX).unwrap_or(u64::MAX);
    let read = (&*from).take(most).read_to_end(&mut head);
    read.and_then(|_| from.rewind()).map_err(|error| cannot("read", file, &error))?;
    match backup::Header::read(&head) {
        Ok((header, _)) => Ok(header.role),
        Err(why) => {
            let why = format!("{} cannot be restored: {why}", file.display());
            let failure = Failure::new(Code::InvalidArgument, why).exit(Exit::Data);
            Err(failure.hint("use a file that `dsctl raft snapshot save` wrote"))
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
