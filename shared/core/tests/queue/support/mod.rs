//! What the tests of the queue share.

pub(crate) mod bench;
pub(crate) mod history;
pub(crate) mod judge;
pub(crate) mod reference;
