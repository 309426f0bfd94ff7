//! `dsctl queue …`.

mod admin;
mod jobs;
mod work;

pub(crate) use admin::{
    Dlq, DlqIds, Export, Import, LimitArgs, Pause, Peek, Purge, QueueList, QueueName, QueueStats,
    Ring,
};
pub(crate) use jobs::{DurabilityArg, Extend, JobFields, Nack, Pop, Push, Receipts, Reject};
pub(crate) use work::Work;

use clap::Subcommand;

/// Verbs of `queue`.
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Push a job, or one per line of stdin
    ///
    /// A queue comes into being with its first job. The payload is the argument, stdin (-) or a file
    /// (@FILE). The answer says created or duplicate: an id that is in the queue, or was acknowledged
    /// within the dedup window, is no second job. With --jsonl each line of the payload is a job:
    /// {"payload": TEXT | "payload_base64": TEXT, "id", "priority", "delay_ms", "max_attempts",
    /// "backoff_ms", "ttl_ms", "headers": {}}; the flags stand for what a line leaves out. A line that
    /// cannot be read ends it with exit code 65, after all lines before were pushed.
    #[command(
        before_help = "Example:\n  dsctl queue push mails hello --priority 5 --delay 10m\n  dsctl queue push mails - --jsonl"
    )]
    Push(Box<Push>),
    /// Take jobs on a lease
    ///
    /// Each job comes with a receipt, ID:TOKEN. Say what became of it with ack, nack, reject or release
    /// before the lease ends, or it is delivered again. Exit code 66 when there is no job. `queue work`
    /// does all of that by itself.
    #[command(before_help = "Example:\n  dsctl queue pop mails --wait 10s --lease 1m")]
    Pop(Pop),
    /// Say that jobs are done
    #[command(before_help = "Example:\n  dsctl queue ack mails order-17:4711")]
    Ack(Receipts),
    /// Say that jobs failed: they come back later, or go to the dead letters
    #[command(
        before_help = "Example:\n  dsctl queue nack mails order-17:4711 --delay 1m --error timeout"
    )]
    Nack(Nack),
    /// Send jobs to the dead letters at once
    #[command(before_help = "Example:\n  dsctl queue reject mails order-17:4711 --error malformed")]
    Reject(Reject),
    /// Give jobs back, not counted as a delivery
    #[command(before_help = "Example:\n  dsctl queue release mails order-17:4711")]
    Release(Receipts),
    /// Keep jobs for longer
    #[command(before_help = "Example:\n  dsctl queue extend mails order-17:4711 --lease 5m")]
    Extend(Extend),
    /// Run a command for each job
    ///
    /// The payload is the command's stdin. Exit code 0 acknowledges the job, 75 makes it come back
    /// after its backoff, any other code or a signal as well, with the end of stderr as the error. The
    /// lease is kept up while the command runs; when it is lost, the command is asked to end (TERM) and
    /// killed, with all that it started, for another may have the job. The first Ctrl-C or TERM takes no
    /// more jobs and lets the running ones end; a second one ends the commands and gives their jobs
    /// back. The command finds DSYNC_QUEUE, DSYNC_JOB_ID, DSYNC_RECEIPT, DSYNC_TOKEN, DSYNC_ATTEMPT,
    /// DSYNC_MAX_ATTEMPTS, DSYNC_PRIORITY, DSYNC_LEASE_MS and DSYNC_HEADERS (JSON) in its environment.
    #[command(before_help = "Example:\n  dsctl queue work mails --concurrency 4 -- ./send-mail.sh")]
    Work(Work),
    /// List the queues
    #[command(before_help = "Example:\n  dsctl queue list --prefix mail")]
    List(QueueList),
    /// Count the jobs of a queue, or of all
    #[command(before_help = "Example:\n  dsctl queue stats mails --watch")]
    Stats(QueueStats),
    /// Show a queue: jobs, limits, pause, totals, and which node is in charge
    #[command(before_help = "Example:\n  dsctl queue show mails")]
    Show(QueueName),
    /// Look at jobs without taking them
    #[command(before_help = "Example:\n  dsctl queue peek mails --state delayed -n 5")]
    Peek(Peek),
    /// Deliver nothing until resumed; pushes go on
    #[command(before_help = "Example:\n  dsctl queue pause mails --reason maintenance")]
    Pause(Pause),
    /// Deliver again
    #[command(before_help = "Example:\n  dsctl queue resume mails")]
    Resume(QueueName),
    /// Remove all jobs but the dead letters
    #[command(before_help = "Example:\n  dsctl queue purge mails --confirm mails")]
    Purge(Purge),
    /// Remove a queue with all that is known of it: jobs, dead letters, limits, counters
    #[command(before_help = "Example:\n  dsctl queue delete mails --confirm mails")]
    Delete(Purge),
    /// Show the limits of a queue, or set some of them
    ///
    /// What is not given stays as it is; 0 takes a limit away.
    #[command(
        before_help = "Example:\n  dsctl queue limit mails --max-jobs 10000 --overflow reject --rate 50"
    )]
    Limit(LimitArgs),
    /// Look at dead letters, put them back, remove them
    #[command(subcommand, before_help = "Example:\n  dsctl queue dlq list mails")]
    Dlq(Dlq),
    /// Write jobs as JSON lines, without taking them
    ///
    /// Jobs that are leased are left out, for someone works on them. The lines are those of `queue push
    /// --jsonl`. What nobody can look at is not in them: backoff, ttl, and attempts so far. A payload of
    /// more than 4 KiB cannot be looked at whole: such jobs are left out and the command ends with exit
    /// code 65. Pause the queue first if it is worked on.
    #[command(before_help = "Example:\n  dsctl queue export mails mails.jsonl")]
    Export(Export),
    /// Push the jobs of a file, or of stdin, as `queue export` wrote them
    #[command(before_help = "Example:\n  dsctl queue import mails mails.jsonl")]
    Import(Box<Import>),
    /// Check that the counts agree with the jobs; exit code 1 if not
    #[command(before_help = "Example:\n  dsctl queue audit mails")]
    Audit(QueueName),
    /// Show which node is in charge of what
    #[command(before_help = "Example:\n  dsctl queue ring --key mails")]
    Ring(Ring),
}
