//! What the tests of the lock machine share. It is compiled twice: here, and into the crate's own
//! unit tests, where known bugs can be put back.

pub(crate) mod history;
pub(crate) mod invariants;
pub(crate) mod reference;
pub(crate) mod suite;

use super::api;
