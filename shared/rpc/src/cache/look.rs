//! What operators ask: where a key is, how a node does, who takes part.

use dsync_core::cache::command::Selector;
use dsync_core::cache::op::Key;

use super::answer::Page;
use super::client::{CacheClient, misplaced};
use super::error::CacheError;
use crate::api::{CacheReply, CacheRequest, CacheStats, Inspected, LineView, LostKey, ViewReport};

impl CacheClient {
    /// A key with its home, what the home knows of it, and every node's line. For people: it is no
    /// moment's picture.
    ///
    /// # Errors
    /// As of [`CacheClient`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn inspect(&self, key: &str) -> Result<Inspected, CacheError> {
        let key = Key::parse("key", key)?;
        let (reply, served_by) = self.ask(CacheRequest::Inspect { key }).await?;
        let CacheReply::Inspected(inspected) = reply else { return Err(misplaced(&served_by)) };
        Ok(inspected)
    }

    /// The line of a key at one node; [`Self::at`] says which.
    ///
    /// # Errors
    /// As of [`CacheClient`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn line(&self, key: &str) -> Result<LineView, CacheError> {
        let key = Key::parse("key", key)?;
        let (reply, served_by) = self.ask(CacheRequest::Line { key }).await?;
        let CacheReply::Line(line) = reply else { return Err(misplaced(&served_by)) };
        Ok(line)
    }

    /// Keys in order of name, after that one, at most so many (1 000 at most). A page may be shorter
    /// than `limit` though there are more.
    ///
    /// # Errors
    /// As of [`CacheClient`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn keys(
        &self,
        of: &Selector,
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Page, CacheError> {
        let request = CacheRequest::Keys { of: of.clone(), after: after.cloned(), limit };
        let (reply, served_by) = self.ask(request).await?;
        let CacheReply::Keys { items, more } = reply else { return Err(misplaced(&served_by)) };
        Ok(Page { items, more })
    }

    /// Figures of one node since it started; [`Self::at`] says which.
    ///
    /// # Errors
    /// As of [`CacheClient`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn stats(&self) -> Result<CacheStats, CacheError> {
        let (reply, served_by) = self.ask(CacheRequest::Stats).await?;
        let CacheReply::Stats(stats) = reply else { return Err(misplaced(&served_by)) };
        Ok(*stats)
    }

    /// Changes that were acknowledged and never reached the memory (write-back only), as one node
    /// knows them; [`Self::at`] says which.
    ///
    /// # Errors
    /// As of [`CacheClient`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn lost(&self) -> Result<Vec<LostKey>, CacheError> {
        let (reply, served_by) = self.ask(CacheRequest::Lost).await?;
        let CacheReply::Lost(lost) = reply else { return Err(misplaced(&served_by)) };
        Ok(lost)
    }

    /// Who takes part, as one node sees it; [`Self::at`] says which.
    ///
    /// # Errors
    /// As of [`CacheClient`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn view(&self) -> Result<ViewReport, CacheError> {
        let (reply, served_by) = self.ask(CacheRequest::View).await?;
        let CacheReply::View(view) = reply else { return Err(misplaced(&served_by)) };
        Ok(view)
    }
}
