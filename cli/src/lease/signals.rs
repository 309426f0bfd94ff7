//! Signals that end a wait or are passed on to a child.

use std::fs;

use dsync_core::Code;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Failure, Result};
use crate::exit::Exit;

/// What `lock run` passes on.
const FORWARDED: [Signal; 7] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];

/// Signals that came in, one after the other.
#[derive(Debug)]
pub(crate) struct Signals {
    streams: Vec<(Signal, tokio::signal::unix::Signal)>,
}

impl Signals {
    /// Listens for those that end a program.
    pub(crate) fn ending() -> Result<Self> {
        Self::of(&[Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT])
    }

    /// Listens for all that are passed on.
    pub(crate) fn forwarded() -> Result<Self> {
        Self::of(&FORWARDED)
    }

    /// Listens for these, except what the parent had ignored (nohup, a job in the background).
    fn of(signals: &[Signal]) -> Result<Self> {
        let ignored = ignored_mask(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        let mut streams = Vec::new();
        for one in signals {
            let number = one.as_raw();
            let bit = u32::try_from(number - 1).ok().and_then(|shift| 1_u64.checked_shl(shift));
            if bit.is_some_and(|bit| ignored & bit != 0) {
                continue;
            }
            let stream = signal(SignalKind::from_raw(number)).map_err(|error| {
                Failure::new(Code::Internal, format!("cannot listen for signal {number}: {error}"))
            })?;
            streams.push((*one, stream));
        }
        Ok(Self { streams })
    }

    /// The next signal.
    ///
    /// # Cancel safety
    /// Cancel safe: a signal is not lost.
    pub(crate) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            for (which, stream) in &mut self.streams {
                if let std::task::Poll::Ready(Some(())) = stream.poll_recv(cx) {
                    return std::task::Poll::Ready(*which);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// The next one that means "end".
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn next_ending(&mut self) -> Signal {
        loop {
            let one = self.next().await;
            if [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&one) {
                return one;
            }
        }
    }
}

/// How a process ends that a signal ended.
pub(crate) fn exit_of(signal: Signal) -> Exit {
    Exit::Signal(u8::try_from(signal.as_raw()).unwrap_or(127))
}

/// Which signals are ignored, from the text of `/proc/self/status`.
fn ignored_mask(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status = "Name:\tdsctl\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000003\n";
        assert_eq!(ignored_mask(status), 3);
        assert_eq!(ignored_mask(""), 0);
    }

    #[test]
    fn a_signal_ends_with_128_and_its_number() {
        assert_eq!(exit_of(Signal::INT).number(), 130);
        assert_eq!(exit_of(Signal::TERM).number(), 143);
    }
}
