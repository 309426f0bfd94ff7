//! What happened, in order: two runs of one seed must give the same.

use std::sync::Arc;

use parking_lot::Mutex;

/// Lines of a run; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    /// Adds a line at the simulated time of the caller's host.
    pub fn add(&self, line: &str) {
        let at = turmoil::sim_elapsed().unwrap_or_default().as_micros();
        self.0.lock().push(format!("{at} {line}"));
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}
