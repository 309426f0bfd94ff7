//! The check of a fencing token at the resource.

use std::sync::atomic::{AtomicU64, Ordering};

use dsync_core::lock::Token;

/// Remembers the largest fencing token that it has seen and refuses smaller ones.
///
/// Ask it before every write to the resource that a lock protects. It guards what one process
/// writes; where several do, the check belongs into the resource itself (see the module's docs).
///
/// ```
/// use dsync::lock::{FencingGuard, Token};
///
/// let guard = FencingGuard::new();
/// assert!(guard.check(Token(7)).is_ok());
/// assert!(guard.check(Token(7)).is_ok(), "the same holder writes again");
/// assert!(guard.check(Token(9)).is_ok());
/// assert_eq!(guard.check(Token(8)).unwrap_err().largest, Token(9));
/// ```
#[derive(Debug, Default)]
pub struct FencingGuard {
    largest: AtomicU64,
}

/// A token smaller than one seen before: its holder lost the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("token {} is stale: {} has been seen", .token.0, .largest.0)]
pub struct StaleToken {
    /// The token refused.
    pub token: Token,
    /// The largest one seen.
    pub largest: Token,
}

impl FencingGuard {
    /// A guard that has seen no token.
    pub const fn new() -> Self {
        Self::starting_at(Token(0))
    }

    /// A guard that goes on where one left off, for a resource that stores its largest token.
    pub const fn starting_at(largest: Token) -> Self {
        Self { largest: AtomicU64::new(largest.0) }
    }

    /// Accepts the token, or refuses it when a larger one has been seen.
    ///
    /// # Errors
    /// [`StaleToken`]: the caller holds the lock no longer; it must not write.
    pub fn check(&self, token: Token) -> Result<(), StaleToken> {
        let before = self.largest.fetch_max(token.0, Ordering::AcqRel);
        if token.0 < before {
            return Err(StaleToken { token, largest: Token(before) });
        }
        Ok(())
    }

    /// The largest token seen.
    pub fn largest(&self) -> Token {
        Token(self.largest.load(Ordering::Acquire))
    }
}
