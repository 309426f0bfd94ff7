//! Numbers of a session's requests. Pure.

use std::collections::BTreeSet;

/// Hands out numbers and knows which are still waited for.
#[derive(Debug, Default)]
pub(super) struct Seqs {
    last: u64,
    outstanding: BTreeSet<u64>,
}

impl Seqs {
    /// The next number, waited for from now on.
    pub(super) fn begin(&mut self) -> u64 {
        self.last += 1;
        self.outstanding.insert(self.last);
        self.last
    }

    /// The lowest number that is waited for; the cluster forgets outcomes below it.
    pub(super) fn first_outstanding(&self) -> u64 {
        self.outstanding.first().copied().unwrap_or(self.last + 1)
    }

    /// That one is answered.
    pub(super) fn end(&mut self, seq: u64) {
        self.outstanding.remove(&seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_request_is_never_below_the_first_outstanding() {
        let mut seqs = Seqs::default();
        let (one, two) = (seqs.begin(), seqs.begin());
        assert_eq!((one, two, seqs.first_outstanding()), (1, 2, 1));
        seqs.end(two);
        assert_eq!(seqs.first_outstanding(), 1);
        seqs.end(one);
        assert_eq!((seqs.first_outstanding(), seqs.begin(), seqs.first_outstanding()), (3, 3, 3));
    }
}
