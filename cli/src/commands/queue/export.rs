//! `dsctl queue export`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dsync_core::Code;
use dsync_core::queue::{JobId, JobView, State};

use crate::args::Export;
use crate::commands::input::bad_data;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views::queue::is_cut;
use crate::output::views::queues::exported;

use super::peek::page;
use super::{Ctx, get, jsonl};

/// Jobs that could not be exported and are named.
const NAMED: usize = 3;

/// Where the lines go.
enum Sink {
    Stdout,
    /// The file, its draft, and its name.
    File(File, PathBuf, PathBuf),
}

/// Writes all jobs that nobody works on, without taking them.
pub(super) async fn run(args: Export, ctx: &Ctx) -> Result<Exit> {
    get(ctx, &args.queue).await?;
    let mut sink = Sink::open(args.file.as_deref())?;
    let copied = copy(&args, ctx, &mut sink).await;
    let (jobs, cut) = match copied {
        Ok(copied) => copied,
        Err(failure) => {
            sink.remove();
            return Err(failure);
        }
    };
    if let Some(file) = sink.close()? {
        ctx.out.show(&exported(&args.queue, &file.display().to_string(), jobs))?;
    }
    if cut.is_empty() {
        return Ok(Exit::Done);
    }
    let names: Vec<_> = cut.iter().take(NAMED).map(JobId::to_string).collect();
    let more = if cut.len() > NAMED { ", …" } else { "" };
    let names = names.join(", ");
    let why = match cut.len() {
        1 => format!("{names} is left out, for its payload is too long to be looked at"),
        some => format!(
            "{some} jobs are left out, for their payloads are too long to be looked at: {names}{more}"
        ),
    };
    let failure = bad_data(why).hint("take them with `dsctl queue pop`").on_stderr();
    Err(failure)
}

/// Writes one state after the other. Gives how many, and those that are not whole.
async fn copy(args: &Export, ctx: &Ctx, sink: &mut Sink) -> Result<(u64, Vec<JobId>)> {
    let states = [State::Ready, State::Delayed, State::Dead];
    let (mut seen, mut cut, mut jobs) = (BTreeSet::new(), Vec::new(), 0_u64);
    for state in states.into_iter().take(if args.dead { 3 } else { 2 }) {
        let mut skip = 0;
        loop {
            ctx.renew_time();
            let (items, more) = page(ctx, &args.queue, state, skip, 100).await?;
            skip += u32::try_from(items.len()).unwrap_or(0);
            let done = !more || items.is_empty();
            // A job that moved between two pages is written once.
            for job in items.iter().filter(|job| seen.insert(job.id.clone())) {
                if is_cut(job) {
                    cut.push(job.id.clone());
                } else {
                    sink.write(ctx, job)?;
                    jobs += 1;
                }
            }
            if done {
                break;
            }
        }
    }
    Ok((jobs, cut))
}

impl Sink {
    fn open(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file.filter(|file| *file != Path::new("-")) else {
            return Ok(Self::Stdout);
        };
        // The file is replaced only when all of it is there.
        let draft = file.with_extension(format!("part.{}", std::process::id()));
        let open = File::create(&draft).map_err(|error| cannot(&draft, &error))?;
        Ok(Self::File(open, draft, file.to_owned()))
    }

    fn write(&mut self, ctx: &Ctx, job: &JobView) -> Result<()> {
        let line = jsonl::write(job);
        match self {
            Self::Stdout => ctx.out.raw(&line),
            Self::File(open, draft, _) => {
                open.write_all(line.as_bytes()).map_err(|error| cannot(draft, &error))
            }
        }
    }

    /// Puts the file in its place; its name.
    fn close(self) -> Result<Option<PathBuf>> {
        let Self::File(open, draft, file) = self else { return Ok(None) };
        let placed = open.sync_all().and_then(|()| fs::rename(&draft, &file));
        if let Err(error) = placed {
            fs::remove_file(&draft).unwrap_or_default();
            return Err(cannot(&file, &error));
        }
        Ok(Some(file))
    }

    fn remove(self) {
        if let Self::File(_, draft, _) = self {
            fs::remove_file(draft).unwrap_or_default();
        }
    }
}

fn cannot(file: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", file.display());
    let failure = Failure::new(Code::Internal, message);
    match error.kind() {
        std::io::ErrorKind::NotFound => failure.exit(Exit::NotFound),
        _ => failure,
    }
}
