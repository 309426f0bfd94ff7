//! Many jobs, cut into commands that a node takes. Pure.

use dsync_core::queue::{BATCH_BYTES_MAX, BATCH_MAX, NewJob};

use crate::codec::FRAME_MAX_CLIENT;

/// Bytes of the jobs of one command on the wire: the frame has a head too.
const WIRE_MAX: usize = FRAME_MAX_CLIENT - 64 * 1024;

/// Collects jobs until no more fit into one push.
///
/// # Limits
/// 1 000 jobs, 768 KiB of payloads and headers, and one frame. A single job that is larger than it
/// may be is passed on by itself, for the node to refuse by name.
#[derive(Debug, Default)]
pub struct Batcher {
    jobs: Vec<NewJob>,
    bytes: usize,
    wire: usize,
}

impl Batcher {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a job. If it does not fit beside those that are here, gives these, to be pushed first.
    #[must_use = "the jobs given back must be pushed"]
    pub fn add(&mut self, job: NewJob) -> Option<Vec<NewJob>> {
        let headers: usize = job.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let (bytes, wire) = (job.payload.len() + headers, job.size());
        let fits = self.jobs.len() < BATCH_MAX
            && self.bytes + bytes <= BATCH_BYTES_MAX
            && self.wire + wire <= WIRE_MAX;
        let full = (!fits && !self.jobs.is_empty()).then(|| self.take());
        self.jobs.push(job);
        self.bytes += bytes;
        self.wire += wire;
        full
    }

    /// Takes all that is here.
    pub fn take(&mut self) -> Vec<NewJob> {
        (self.bytes, self.wire) = (0, 0);
        std::mem::take(&mut self.jobs)
    }

    /// Jobs that are here.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// No job is here.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use dsync_core::queue::{Command, PAYLOAD_MAX, check};

    use super::*;
    use crate::queue::Job;

    /// The jobs as they would be pushed.
    fn batches(jobs: impl IntoIterator<Item = NewJob>) -> Vec<Vec<NewJob>> {
        let mut batcher = Batcher::new();
        let mut all: Vec<_> = jobs.into_iter().filter_map(|job| batcher.add(job)).collect();
        all.push(batcher.take());
        all
    }

    fn lengths(all: &[Vec<NewJob>]) -> Vec<usize> {
        all.iter().map(Vec::len).collect()
    }

    fn job(bytes: usize) -> NewJob {
        Job::new(vec![7; bytes]).into_new_job()
    }

    #[test]
    fn a_batch_is_full_by_number_or_by_bytes() {
        assert_eq!(lengths(&batches((0..2_500).map(|_| job(1)))), [1_000, 1_000, 500]);
        assert_eq!(lengths(&batches((0..7).map(|_| job(256 * 1024)))), [3, 3, 1]);
        assert_eq!(lengths(&batches((0..3).map(|_| job(PAYLOAD_MAX)))), [1, 1, 1]);
        assert_eq!(lengths(&batches([job(1), job(2 * PAYLOAD_MAX), job(1)])), [1, 1, 1]);
        assert_eq!(lengths(&batches([])), [0]);
    }

    #[test]
    fn a_batch_passes_the_nodes_check_and_fits_in_a_frame() {
        let headers = |n: usize| (0..n).map(|at| (format!("{at:x}"), String::new()));
        let many = (0..400).map(|_| NewJob { headers: headers(2_000).collect(), ..job(100) });
        let mixed = (0..400).map(|at| job(at * 37 % 9_000));
        for batch in batches(many.chain(mixed)) {
            let command = Command::Push { jobs: batch };
            check(&command).unwrap();
            assert!(postcard::to_stdvec(&command).unwrap().len() < FRAME_MAX_CLIENT - 1_024);
        }
    }

    #[test]
    fn no_job_is_lost_or_moved() {
        let jobs: Vec<_> = (0..3_000).map(|at| job(at % 700)).collect();
        assert_eq!(batches(jobs.clone()).concat(), jobs);
    }
}
