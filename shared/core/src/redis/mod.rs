//! What a script of Redis is called with and what it answers, whatever library sends it.

pub(crate) mod bytes;
pub(crate) mod reply;

pub use reply::Reply;

/// One call of a script: `EVALSHA sha keys.len() keys… args…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The keys that name the node of a cluster; the script makes the others of them.
    pub keys: Vec<Vec<u8>>,
    /// The arguments.
    pub args: Vec<Vec<u8>>,
}
