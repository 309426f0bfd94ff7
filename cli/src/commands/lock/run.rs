//! `dsctl lock run`.

use std::time::Duration;

use dsync_core::Code;
use dsync_core::lock::{DAY_MS, GROUP_MAX, Grant, Want};
use dsync_core::name::Name;
use rustix::process::Signal;

use crate::args::Run;
use crate::child::{self, Child};
use crate::commands::ctx::random_id;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::lease::deadline::{self, Phase};
use crate::lease::keeper::{Keeper, Kept};
use crate::lease::signals::Signals;
use crate::lease::take::{Ask, Held, close, take};
use crate::output::{human, ids};

use super::Ctx;

/// Time to end by itself for a child whose lock is gone for certain: less than the lock-delay.
const SHORT_GRACE: Duration = Duration::from_millis(500);
/// So long before an older request gets the lock, the child is dead.
const REVOKED_MARGIN: Duration = Duration::from_millis(300);
/// Time between two looks at the clock, which runs on while the machine sleeps.
const LOOK: Duration = Duration::from_millis(500);
/// Longest time that the release at the end may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Holds locks while a command runs, and ends with its code.
pub(super) async fn run(args: Run, ctx: &Ctx) -> Result<Exit> {
    let ask = ask(&args, ctx)?;
    ctx.extend(ask.wait);
    let mut signals = Signals::forwarded()?;
    // Its request has a name that --request-id does not give.
    let held = take(ctx, &ask, &mut signals).await.map_err(Failure::once_only)?;
    let started = child::start(&args.command, &variables(&held, &ask.owner), !args.foreground);
    let result = match started {
        Ok(child) => watch(ctx, &held, child, args.grace, &mut signals).await,
        Err(failure) => Err(failure),
    };
    let limit = if result.is_ok() { FAREWELL } else { FAREWELL / 4 };
    let released = tokio::select! {
        done = close(ctx, held.session, limit) => done,
        _ = signals.next_ending() => false,
    };
    if !released && result.is_ok() {
        ctx.out.note("the release was not confirmed; the lease ends by itself");
    }
    result
}

/// What to take.
fn ask(args: &Run, ctx: &Ctx) -> Result<Ask> {
    let wants: Vec<Want> = args
        .names
        .iter()
        .map(|lock| Want { lock: lock.clone(), mode: args.share.mode() })
        .collect();
    if wants.len() > GROUP_MAX {
        return Err(Failure::usage(format!("{} locks are more than {GROUP_MAX}", wants.len())));
    }
    let mut names: Vec<&Name> = args.names.iter().collect();
    names.sort();
    if let Some(twice) = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b) {
        return Err(Failure::usage(format!("{} is named twice", twice.0)));
    }
    let wait = if args.no_wait {
        Duration::ZERO
    } else {
        args.wait.unwrap_or(Duration::from_millis(DAY_MS))
    };
    let owner = ctx.settings.owner(args.owner.as_ref())?;
    // Never that of --request-id: two commands must not share one grant.
    Ok(Ask { wants, owner, ttl: args.ttl, wait, policy: args.policy.into(), id: random_id() })
}

/// What the command finds in its environment; of several locks one line each.
fn variables(held: &Held, owner: &Name) -> Vec<(&'static str, String)> {
    let lines = |text: fn(&Grant) -> String| -> String {
        held.grants.iter().map(text).collect::<Vec<_>>().join("\n")
    };
    vec![
        ("DSYNC_LOCK_NAME", lines(|grant| grant.lock.to_string())),
        ("DSYNC_LOCK_TOKEN", lines(|grant| grant.token.0.to_string())),
        ("DSYNC_LOCK_MODE", lines(|grant| ids::mode(grant.mode))),
        ("DSYNC_LOCK_SESSION", held.session.0.to_string()),
        ("DSYNC_LOCK_OWNER", owner.to_string()),
        ("DSYNC_LOCK_TTL_MS", human::millis(held.lease.ttl).to_string()),
    ]
}

/// How far the end of a child without a lock has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The lock is held.
    No,
    /// It was asked to end and is killed then.
    Asked(Duration),
    /// It was killed.
    Killed,
}

/// Waits for the command, passes signals on, and sees to it that it does not outlive the lease.
async fn watch(
    ctx: &Ctx,
    held: &Held,
    mut child: Child,
    grace: Option<Duration>,
    signals: &mut Signals,
) -> Result<Exit> {
    let mut keeper = Keeper::start(ctx.client(), ctx.net(), held.session, held.lease, &held.grants);
    let mut ending = Ending::No;
    loop {
        let now = ctx.net().boot_time();
        let kept = keeper.now();
        let (next, pause) = step(ending, &kept, now, grace);
        if next != ending {
            act(ctx, &child, next, &kept);
            ending = next;
        }
        tokio::select! {
            status = child.wait() => {
                let status = status?;
                if ending == Ending::No {
                    return Ok(child::exit_of(status));
                }
                // What the command started may have stayed deaf to TERM, or been told nothing of it.
                child.kill_rest();
                // Stdout was the command's.
                return Err(lost(&kept).on_stderr());
            }
            signal = signals.next() => child.signal(signal),
            () = keeper.changed() => {}
            () = tokio::time::sleep(pause.min(LOOK)) => {}
        }
    }
}

/// What to do at `now`, and when to look again: pure.
fn step(ending: Ending, kept: &Kept, now: Duration, grace: Option<Duration>) -> (Ending, Duration) {
    let deadline = kept.lease.deadline();
    let grace = deadline::grace(kept.lease, grace);
    if let (Ending::No, None, Some(revoked)) = (ending, &kept.lost, &kept.revoked) {
        let until = revoked.until.saturating_sub(REVOKED_MARGIN).min(deadline);
        return (Ending::Asked(until), until.saturating_sub(now));
    }
    match (ending, kept.lost.is_some(), deadline::phase(kept.lease, now, grace)) {
        // The deadline that was set at the first request stands: a renewal that comes later does not
        // bring back a command that was told to end.
        (Ending::Asked(until), ..) if now >= until => (Ending::Killed, LOOK),
        (Ending::Asked(until), false, _) => (ending, until.saturating_sub(now)),
        (Ending::Asked(until), true, _) => {
            let until = until.min(now + SHORT_GRACE);
            (Ending::Asked(until), until.saturating_sub(now))
        }
        (Ending::Killed, ..) | (Ending::No, _, Phase::Kill) => (Ending::Killed, LOOK),
        (Ending::No, true, _) => {
            let until = deadline.min(now + SHORT_GRACE);
            (Ending::Asked(until), until.saturating_sub(now))
        }
        (Ending::No, false, Phase::Term(left)) => (Ending::Asked(now + left), left),
        (Ending::No, false, Phase::Run(left)) => (Ending::No, left),
    }
}

/// Carries the step out and says why.
fn act(ctx: &Ctx, child: &Child, next: Ending, kept: &Kept) {
    match next {
        Ending::No => {}
        Ending::Asked(_) => {
            ctx.out.note(&format!("{}; the command is asked to end", why(kept)));
            child.signal(Signal::TERM);
            // A stopped process would not see it.
            child.signal(Signal::CONT);
        }
        Ending::Killed => {
            ctx.out.note("the lease is over; the command is killed");
            child.signal(Signal::KILL);
        }
    }
}

fn why(kept: &Kept) -> String {
    match (&kept.revoked, &kept.lost, &kept.trouble) {
        (Some(revoked), ..) => {
            format!("{} goes to the older request of {}", revoked.lock, revoked.by)
        }
        (None, Some(why), _) => why.clone(),
        (None, None, Some(trouble)) => format!("the lease could not be renewed: {trouble}"),
        (None, None, None) => "the lease could not be renewed in time".to_owned(),
    }
}

fn lost(kept: &Kept) -> Failure {
    if kept.revoked.is_some() {
        return Failure::new(Code::Wounded, why(kept))
            .hint("the command was ended before the older request was granted; run it again");
    }
    let hint = if kept.lost.is_some() {
        "it was ended within half a second of the news; the next grant follows the loss by LOCK_DELAY_MS"
    } else {
        "the command was ended before the lock could be granted to another"
    };
    Failure::new(Code::SessionExpired, format!("the lock was lost: {}", why(kept)))
        .hint(hint)
        .named("lock_lost")
        .exit(Exit::LockLost)
}

#[cfg(test)]
mod tests {
    use dsync_core::lock::Lease;

    use super::*;
    use crate::lease::keeper::Revoked;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn kept(confirmed: u64, lost: bool) -> Kept {
        let lease = Lease { confirmed: ms(confirmed), ttl: ms(15_000) };
        let lost = lost.then(|| "gone".to_owned());
        Kept { lease, lost, revoked: None, trouble: None }
    }

    #[test]
    fn a_renewed_lease_lets_the_command_run() {
        assert_eq!(step(Ending::No, &kept(0, false), ms(0), None), (Ending::No, ms(9_650)));
        assert_eq!(step(Ending::No, &kept(9_000, false), ms(9_000), None), (Ending::No, ms(9_650)));
    }

    #[test]
    fn a_lease_that_runs_out_asks_and_then_kills() {
        let kept = kept(0, false);
        let (asked, left) = step(Ending::No, &kept, ms(9_650), None);
        assert_eq!((asked, left), (Ending::Asked(ms(14_650)), ms(5_000)));
        assert_eq!(step(asked, &kept, ms(14_649), None), (asked, ms(1)));
        assert_eq!(step(asked, &kept, ms(14_650), None).0, Ending::Killed);
        assert_eq!(step(Ending::Killed, &kept, ms(14_700), None).0, Ending::Killed);
    }

    #[test]
    fn a_late_renewal_does_not_bring_a_command_back() {
        let asked = Ending::Asked(ms(14_650));
        assert_eq!(step(asked, &kept(10_000, false), ms(10_100), None).0, asked);
    }

    #[test]
    fn a_lock_that_is_gone_leaves_half_a_second() {
        let (asked, left) = step(Ending::No, &kept(0, true), ms(1_000), None);
        assert_eq!((asked, left), (Ending::Asked(ms(1_500)), SHORT_GRACE));
        // Also when the longer grace was running already.
        let (asked, _) = step(Ending::Asked(ms(14_650)), &kept(0, true), ms(10_000), None);
        assert_eq!(asked, Ending::Asked(ms(10_500)));
        assert_eq!(step(asked, &kept(0, true), ms(10_600), None).0, Ending::Killed);
    }

    #[test]
    fn a_revoked_lock_ends_the_command_before_the_older_request_has_it() {
        let name = |text| Name::parse("name", text).unwrap();
        let revoked = Revoked { lock: name("a"), by: name("old@x"), until: ms(3_000) };
        let kept = Kept { revoked: Some(revoked), ..kept(0, false) };
        let (asked, left) = step(Ending::No, &kept, ms(1_000), None);
        assert_eq!((asked, left), (Ending::Asked(ms(2_700)), ms(1_700)));
        assert_eq!(step(asked, &kept, ms(2_700), None).0, Ending::Killed);
        let failure = lost(&kept);
        assert_eq!(failure.exit.number(), 81);
        assert_eq!(failure.fault.message, "a goes to the older request of old@x");
    }

    #[test]
    fn a_machine_that_slept_kills_at_once() {
        assert_eq!(step(Ending::No, &kept(0, false), ms(60_000), None).0, Ending::Killed);
    }

    /// The request that these arguments make.
    fn asked(words: &[&str]) -> Result<Ask> {
        use clap::Parser as _;
        let parsed = crate::args::Cli::try_parse_from(words).unwrap();
        let crate::args::Command::Lock(crate::args::Lock::Run(args)) = parsed.command else {
            panic!("not lock run")
        };
        let way = crate::settings::Way::Cluster;
        let settings = crate::settings::Settings::resolve(&parsed.global, &|_| None, way).unwrap();
        let out = crate::output::Output::new(settings.output, settings.style);
        ask(&args, &Ctx::new(settings, out))
    }

    #[test]
    fn all_names_are_one_request_that_waits_a_day_unless_told_otherwise() {
        let one = asked(&["dsctl", "lock", "run", "b", "a", "--", "true"]).unwrap();
        let names: Vec<_> = one.wants.iter().map(|want| want.lock.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(one.wait, ms(DAY_MS));
        let two = asked(&["dsctl", "lock", "run", "a", "--no-wait", "--", "true"]).unwrap();
        assert_eq!(two.wait, ms(0));
    }

    #[test]
    fn a_request_id_never_makes_two_commands_share_a_grant() {
        let words = ["dsctl", "lock", "run", "a", "--request-id", "ff", "--", "true"];
        assert_ne!(asked(&words).unwrap().id, 0xff);
    }

    #[test]
    fn a_name_given_twice_or_too_many_names_are_refused() {
        let twice = asked(&["dsctl", "lock", "run", "a", "b", "a", "--", "true"]).unwrap_err();
        assert_eq!((twice.exit, twice.fault.message.as_str()), (Exit::Usage, "a is named twice"));
        let many: Vec<_> = (0..65).map(|n| n.to_string()).collect();
        let words = ["dsctl", "lock", "run"]
            .into_iter()
            .chain(many.iter().map(String::as_str))
            .chain(["--", "true"]);
        assert_eq!(asked(&words.collect::<Vec<_>>()).unwrap_err().exit, Exit::Usage);
    }
}
