//! Tests on simulated files: scripts of calls against a model, cut at every byte.

mod damage;
mod faults;
mod format;
mod mutants;
mod power;
mod random;
mod rig;
