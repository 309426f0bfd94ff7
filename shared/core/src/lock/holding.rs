//! How a grant stands, for its holder: force and wound-wait take one from a session that lives.

use serde::{Deserialize, Serialize};

use super::machine::LockMachine;
use super::{Aged, Token};
use crate::name::Name;

/// How a grant stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holding {
    /// It holds.
    Held,
    /// An older request wants it: it is taken when the grace is over, unless it is released
    /// before.
    Revoked {
        /// The older one's owner.
        by: Name,
        /// Time until it is taken.
        grace_ms: u64,
    },
    /// The token does not hold the lock, or not any more.
    Gone,
}

impl Aged for Holding {
    fn aged(self, by_ms: u64) -> Self {
        match self {
            Self::Revoked { by, grace_ms } => {
                Self::Revoked { by, grace_ms: grace_ms.saturating_sub(by_ms) }
            }
            Self::Held | Self::Gone => self,
        }
    }
}

impl LockMachine {
    /// How the grant with that token stands.
    pub fn holding(&self, lock: &str, token: Token) -> Holding {
        let locks = &self.state.locks;
        let Some(held) = locks.get(lock).and_then(|lock| lock.holders.get(&token)) else {
            return Holding::Gone;
        };
        match &held.wound {
            Some(wound) => Holding::Revoked {
                by: wound.by.clone(),
                grace_ms: wound.until_ms.saturating_sub(self.now_ms()),
            },
            None => Holding::Held,
        }
    }
}
