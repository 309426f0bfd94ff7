//! `dsctl queue dlq list|show|redrive|purge`.

use dsync_core::Code;
use dsync_core::name::Name;
use dsync_core::queue::{BATCH_MAX, Command, JobId, Outcome, State};

use crate::args::{Dlq, DlqIds};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, change, get, peek, refused};

/// Dead letters of one command.
const BATCH: u32 = 1_000;

/// So many are moved one by one, to say which of them are no dead letters.
const BY_HAND: usize = 100;

/// Carries a verb out.
pub(super) async fn run(verb: Dlq, ctx: &Ctx) -> Result<Exit> {
    match verb {
        Dlq::List(args) => {
            get(ctx, &args.queue).await?;
            let jobs = peek::some(ctx, &args.queue, State::Dead, args.max).await?;
            ctx.out.show(&views::queue::dead(&args.queue, &jobs))?;
            Ok(Exit::Done)
        }
        Dlq::Show(args) => {
            let job = peek::one(ctx, &args.queue, &args.id).await?;
            if job.state != State::Dead {
                let (id, queue) = (&args.id, &args.queue);
                let said =
                    format!("{id} is no dead letter of {queue}: it is {}", job.state.as_str());
                let failure = Failure::new(Code::NotFound, said);
                return Err(failure.hint("`dsctl queue peek QUEUE --id ID` shows it"));
            }
            ctx.out.show(&views::queue::job(&args.queue, &job))?;
            Ok(Exit::Done)
        }
        Dlq::Redrive(args) => {
            move_all(ctx, &args, "redriven", |ids, max| Command::Redrive { ids, max }).await
        }
        Dlq::Purge(args) => {
            move_all(ctx, &args, "removed", |ids, max| Command::PurgeDead { ids, max }).await
        }
    }
}

/// Moves those that are named, or all that are there now: what dies meanwhile is left alone.
async fn move_all(
    ctx: &Ctx,
    args: &DlqIds,
    what: &'static str,
    command: impl Fn(Vec<JobId>, u32) -> Command,
) -> Result<Exit> {
    if args.ids.is_empty() && !args.all {
        let failure = Failure::usage("no dead letter is named");
        return Err(failure.hint("name ids as `queue dlq list` shows them, or say --all"));
    }
    let dead = get(ctx, &args.queue).await?.stats.dead;
    let (mut moved, mut missed) = (0, Vec::new());
    if args.all {
        while moved < dead {
            let max = u32::try_from(dead - moved).unwrap_or(u32::MAX).min(BATCH);
            match step(ctx, &args.queue, command(Vec::new(), max)).await? {
                0 => break,
                some => moved += some,
            }
        }
    } else {
        let single = args.ids.len() <= BY_HAND;
        for ids in args.ids.chunks(if single { 1 } else { BATCH_MAX }) {
            let some = step(ctx, &args.queue, command(ids.to_vec(), BATCH)).await?;
            moved += some;
            if single && some == 0 {
                missed.extend(ids.first());
            }
        }
    }
    let wanted = u64::try_from(args.ids.len()).unwrap_or(u64::MAX);
    if moved < wanted {
        return Err(missing(args, what, moved, &missed));
    }
    ctx.out.show(&views::queues::moved(&args.queue, what, moved))?;
    Ok(Exit::Done)
}

async fn step(ctx: &Ctx, queue: &Name, command: Command) -> Result<u64> {
    ctx.renew_time();
    let done = change(ctx, queue, command).await?;
    match done.outcome {
        Outcome::Moved(jobs) => Ok(jobs),
        other => Err(refused(&other, &done.served_by)),
    }
}

/// Not all were dead letters; `missed` are those that were not, if they are known.
fn missing(args: &DlqIds, what: &str, moved: u64, missed: &[&JobId]) -> Failure {
    let queue = &args.queue;
    let names = |ids: &[&JobId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let done: Vec<&JobId> = args.ids.iter().filter(|id| !missed.contains(id)).collect();
    let message = match (args.ids.as_slice(), missed) {
        ([one], _) => format!("{queue} has no dead letter {one}"),
        (several, []) => {
            let all = several.len();
            format!("{queue}: {moved} of {all} were {what}; the others are no dead letters")
        }
        (_, missed) if moved == 0 => format!("{queue} has no dead letters {}", names(missed)),
        (_, missed) => {
            let were = if done.len() == 1 { "was" } else { "were" };
            let no = if missed.len() == 1 { "is no dead letter" } else { "are no dead letters" };
            format!("{queue}: {} {were} {what}; {} {no}", names(&done), names(missed))
        }
    };
    let mut failure = Failure::new(Code::NotFound, message)
        .hint("`dsctl queue dlq list QUEUE` shows those that are there");
    if moved > 0 {
        failure.fault.effect = dsync_core::Effect::Done;
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_were_moved_and_which_were_not_is_said() {
        let id = |text: &str| JobId::parse(text).unwrap();
        let args = |ids: &[&str]| DlqIds {
            queue: Name::parse("queue", "q").unwrap(),
            ids: ids.iter().map(|text| id(text)).collect(),
            all: false,
        };
        let said = |ids: &[&str], missed: &[&str]| {
            let missed: Vec<JobId> = missed.iter().map(|text| id(text)).collect();
            let moved = u64::try_from(ids.len() - missed.len()).unwrap();
            let missed: Vec<&JobId> = missed.iter().collect();
            missing(&args(ids), "redriven", moved, &missed)
        };
        let some = said(&["a", "j1", "zz"], &["j1"]);
        assert_eq!(some.fault.message, "q: a, zz were redriven; j1 is no dead letter");
        assert_eq!(some.fault.effect, dsync_core::Effect::Done);
        let one = said(&["a", "j1", "zz"], &["j1", "zz"]).fault.message;
        assert_eq!(one, "q: a was redriven; j1, zz are no dead letters");
        assert_eq!(said(&["a", "b"], &["a", "b"]).fault.message, "q has no dead letters a, b");
        assert_eq!(said(&["a"], &["a"]).fault.message, "q has no dead letter a");
    }
}
