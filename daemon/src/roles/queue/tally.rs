//! Counts what became of jobs, from what commands answered. What the store counts itself, since
//! it happens without a command too, is not counted here: `Metrics::happened`.

use dsync_core::queue::{Command, Outcome, Pushed, Settled};

use crate::telemetry::{JobEvent, Metrics};

/// Counts one command that was carried out.
pub(super) fn tally(metrics: &Metrics, command: &Command, outcome: &Outcome) {
    match outcome {
        Outcome::Pushed(pushed) => {
            let count = |is: fn(&Pushed) -> bool| pushed.iter().filter(|one| is(one)).count();
            let duplicates = count(|one| matches!(one, Pushed::Duplicate { .. }));
            let refused = count(|one| matches!(one, Pushed::Refused(_)));
            metrics.jobs(JobEvent::Pushed, pushed.len() - duplicates - refused);
            metrics.jobs(JobEvent::Duplicate, duplicates);
            metrics.jobs(JobEvent::Refused, refused);
        }
        Outcome::Popped(popped) => metrics.jobs(JobEvent::Delivered, popped.jobs.len()),
        Outcome::Settled(settled) => {
            let count = |what| settled.iter().filter(|one| **one == what).count();
            if !matches!(command, Command::Ack { .. } | Command::Extend { .. }) {
                metrics.jobs(JobEvent::Returned, count(Settled::Done));
            }
            metrics.jobs(JobEvent::Stale, count(Settled::Stale));
        }
        Outcome::Set | Outcome::Moved(_) | Outcome::Invalid(_) | Outcome::LimitReached(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use dsync_core::queue::{Popped, State};

    use super::*;

    #[test]
    fn jobs_are_counted_by_what_became_of_them() {
        let metrics = Metrics::new();
        let push = Command::Push { jobs: Vec::new() };
        let pushed = vec![
            Pushed::Created,
            Pushed::Created,
            Pushed::Duplicate { state: State::Ready },
            Pushed::Refused(String::new()),
        ];
        tally(&metrics, &push, &Outcome::Pushed(pushed));
        tally(&metrics, &push, &Outcome::Popped(Popped::default()));
        let ack = Command::Ack { receipts: Vec::new() };
        tally(&metrics, &ack, &Outcome::Settled(vec![Settled::Done, Settled::Stale]));
        let release = Command::Release { receipts: Vec::new() };
        tally(&metrics, &release, &Outcome::Settled(vec![Settled::Done, Settled::Dead]));
        let page = metrics.encode().unwrap();
        for (event, count) in [
            ("pushed", 2),
            ("duplicate", 1),
            ("refused", 1),
            ("delivered", 0),
            ("acked", 0),
            ("returned", 1),
            ("dead", 0),
            ("stale", 1),
        ] {
            let line = format!("dsync_queue_jobs_total{{event=\"{event}\"}} {count}\n");
            assert!(page.contains(&line), "{line}{page}");
        }
    }
}
