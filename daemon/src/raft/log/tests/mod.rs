//! Tests on simulated files.
