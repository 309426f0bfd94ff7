//! Ports that no other test, and no outgoing connection, takes while a test holds them.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;

use rustix::fs::{FlockOperation, flock};

/// Below the range from which Linux gives ports to outgoing connections (32768 and up).
const FIRST: u16 = 20_000;
/// Ports per block.
pub const BLOCK: u16 = 20;
const BLOCKS: u16 = 500;

/// [`BLOCK`] ports, held until dropped.
///
/// The claim is a lock on a file, so it ends with the process however the process ends.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    next: u16,
    _claim: File,
}

impl Ports {
    /// Claims a block that nobody listens on.
    pub fn claim() -> Self {
        let folder = std::env::temp_dir().join("dsync-test-ports");
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        // Tests of one run begin at different places, so that they rarely try the same block.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("below BLOCKS");
        for offset in 0..BLOCKS {
            let block = (start + offset) % BLOCKS;
            let claim = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(folder.join(format!("{block}.lock")))
                .expect("a claim file can be opened");
            if flock(&claim, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let first = FIRST + block * BLOCK;
            if (first..first + BLOCK).all(is_free) {
                return Self { first, next: first, _claim: claim };
            }
        }
        panic!("no {BLOCK} free ports in a row from {FIRST} on");
    }

    /// The next port of the block.
    pub fn take(&mut self) -> u16 {
        assert!(self.next < self.first + BLOCK, "a test uses more than {BLOCK} ports");
        self.next += 1;
        self.next - 1
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_share_no_port() {
        let (mut a, mut b) = (Ports::claim(), Ports::claim());
        let of_a: Vec<u16> = (0..BLOCK).map(|_| a.take()).collect();
        let of_b: Vec<u16> = (0..BLOCK).map(|_| b.take()).collect();
        assert!(of_a.iter().all(|port| !of_b.contains(port)));
    }

    #[test]
    fn a_dropped_claim_can_be_made_again() {
        let first = Ports::claim().first;
        let mut held = Vec::new();
        // Another test may have taken it meanwhile: then another block comes, which is as well.
        for _ in 0..3 {
            held.push(Ports::claim().first);
        }
        assert!(held.iter().all(|f| *f >= FIRST) && first >= FIRST);
    }
}
