//! Holding locks from a shell: taking them, keeping them, and a child that must not outlive them.

pub(crate) mod deadline;
pub(crate) mod keeper;
pub(crate) mod signals;
pub(crate) mod take;
