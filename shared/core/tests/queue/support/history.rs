//! Random histories: few ids, few requests, so that everything meets everything.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::api::queue::{Backoff, Command, JobId, Limits, NewJob, Overflow, Receipt};
use crate::support::bench::{id, name};

/// A step of a history; receipts are those that the machine gave before.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Wait(u64),
    Push {
        id: u8,
        priority: u8,
        delay_ms: u64,
        max_attempts: u32,
        ttl_ms: u64,
    },
    Pop {
        request: u8,
        max: u32,
        lease_ms: u64,
        ack: bool,
    },
    /// On one of the receipts seen so far, the latest first.
    Settle {
        which: usize,
        how: How,
    },
    Pause,
    Resume,
    Purge,
    Redrive {
        id: Option<u8>,
        max: u32,
    },
    PurgeDead {
        max: u32,
    },
    GiveBack {
        request: u8,
    },
    Limit {
        max_jobs: u64,
        drop: bool,
        in_flight: u32,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    Ack,
    Nack(Option<u64>),
    Reject,
    Release,
    Extend(u64),
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        4 => Just(How::Ack),
        3 => prop_oneof![Just(None), (0_u64..3_000).prop_map(Some)].prop_map(How::Nack),
        1 => Just(How::Reject),
        1 => Just(How::Release),
        2 => (100_u64..3_000).prop_map(How::Extend),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let push = (0_u8..12, 0_u8..3, prop_oneof![3 => Just(0), 1 => 1_u64..2_000], 0_u32..4)
        .prop_flat_map(|(id, priority, delay_ms, max_attempts)| {
            prop_oneof![5 => Just(0), 1 => 100_u64..3_000].prop_map(move |ttl_ms| Act::Push {
                id,
                priority,
                delay_ms,
                max_attempts,
                ttl_ms,
            })
        });
    let pop = (0_u8..10, 1_u32..4, 100_u64..2_000, prop::bool::weighted(0.1))
        .prop_map(|(request, max, lease_ms, ack)| Act::Pop { request, max, lease_ms, ack });
    let limit = (0_u64..6, any::<bool>(), 0_u32..4)
        .prop_map(|(max_jobs, drop, in_flight)| Act::Limit { max_jobs, drop, in_flight });
    prop_oneof![
        10 => prop_oneof![3 => 0_u64..300, 1 => 300_u64..4_000].prop_map(Act::Wait),
        12 => push,
        14 => pop,
        14 => (0_usize..6, how()).prop_map(|(which, how)| Act::Settle { which, how }),
        1 => Just(Act::Pause),
        2 => Just(Act::Resume),
        1 => Just(Act::Purge),
        2 => (prop::option::of(0_u8..12), 1_u32..4).prop_map(|(id, max)| Act::Redrive { id, max }),
        1 => (1_u32..3).prop_map(|max| Act::PurgeDead { max }),
        2 => (0_u8..10).prop_map(|request| Act::GiveBack { request }),
        1 => limit,
    ]
}

/// Histories of up to `length` steps.
pub(crate) fn history(length: usize) -> impl Strategy<Value = Vec<Act>> {
    vec(act(), 1..length)
}

fn job_id(number: u8) -> JobId {
    id(&format!("job-{number}"))
}

impl Act {
    /// The command; `None`: time passes, or there is no such receipt.
    pub(crate) fn command(&self, serial: u64, receipts: &[Receipt]) -> Option<Command> {
        Some(match self {
            Self::Wait(_) => return None,
            Self::Push { id, priority, delay_ms, max_attempts, ttl_ms } => Command::Push {
                jobs: vec![NewJob {
                    id: job_id(*id),
                    payload: format!("payload {serial}").into_bytes(),
                    priority: *priority,
                    delay_ms: *delay_ms,
                    max_attempts: *max_attempts,
                    backoff: Backoff { base_ms: 200, max_ms: 1_000 },
                    ttl_ms: *ttl_ms,
                    headers: vec![("n".to_owned(), serial.to_string())],
                }],
            },
            Self::Pop { request, max, lease_ms, ack } => Command::Pop {
                request: u128::from(*request),
                max: *max,
                lease_ms: *lease_ms,
                ack: *ack,
                consumer: name("worker"),
            },
            Self::Settle { which, how } => {
                let receipt = receipts.iter().rev().nth(*which)?.clone();
                how.command(vec![receipt])
            }
            Self::Pause => Command::Pause { reason: "a test".to_owned() },
            Self::Resume => Command::Resume,
            Self::Purge => Command::Purge,
            Self::Redrive { id, max } => {
                Command::Redrive { ids: id.iter().map(|n| job_id(*n)).collect(), max: *max }
            }
            Self::PurgeDead { max } => Command::PurgeDead { ids: Vec::new(), max: *max },
            Self::GiveBack { request } => Command::GiveBack { request: u128::from(*request) },
            Self::Limit { max_jobs, drop, in_flight } => Command::Limit {
                limits: Limits {
                    max_jobs: *max_jobs,
                    overflow: if *drop { Overflow::DropOldest } else { Overflow::Reject },
                    max_in_flight: *in_flight,
                    dedup_ms: 2_000,
                    ..Limits::default()
                },
            },
        })
    }
}

impl How {
    fn command(self, receipts: Vec<Receipt>) -> Command {
        let error = "a reason".to_owned();
        match self {
            Self::Ack => Command::Ack { receipts },
            Self::Nack(delay_ms) => Command::Nack { receipts, delay_ms, error },
            Self::Reject => Command::Reject { receipts, error },
            Self::Release => Command::Release { receipts },
            Self::Extend(lease_ms) => Command::Extend { receipts, lease_ms },
        }
    }
}
