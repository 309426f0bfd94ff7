//! Hears which queues other nodes have touched, on one connection of its own.

use std::time::Duration;

use futures::StreamExt as _;
use redis::{Client, ConnectionAddr, IntoConnectionInfo as _};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::connect;
use super::link::RedisLink;
use super::sentinel;

/// Where queues are named.
pub(super) const CHANNEL: &str = "dsync:wake";
/// Pause before listening again.
const AGAIN: Duration = Duration::from_millis(500);
/// Names that are not yet looked at; more are dropped, for nothing rests on them.
const BACKLOG: usize = 1_024;

impl RedisLink {
    /// The names of queues as other nodes tell them, while this link lives.
    ///
    /// # Guarantees
    /// None: what was told while nobody listened is lost. Look at each queue now and then.
    pub fn wakes(&self) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let link = self.clone();
        let listening = async move {
            let stop = link.stopped().clone();
            stop.run_until_cancelled(async {
                while !sender.is_closed() {
                    // Why it ended is told by the link itself, which uses the same server.
                    link.listen(&sender).await.unwrap_or_default();
                    tokio::time::sleep(AGAIN).await;
                }
            })
            .await;
        };
        tokio::spawn(listening.in_current_span());
        receiver
    }

    async fn listen(&self, sender: &mpsc::Sender<String>) -> Option<()> {
        let client = self.listening_client().await?;
        let mut pubsub = client.get_async_pubsub().await.ok()?;
        pubsub.subscribe(CHANNEL).await.ok()?;
        let mut messages = pubsub.on_message();
        loop {
            let message = tokio::select! {
                message = messages.next() => message?,
                // After a failover this connection may lead to the old master, which tells nothing.
                () = self.changed() => return None,
            };
            if let Ok(queue) = message.get_payload::<String>() {
                // Full: whoever is behind looks at all queues anyway.
                drop(sender.try_send(queue));
            }
        }
    }

    async fn listening_client(&self) -> Option<Client> {
        let redis = self.redis();
        // A cluster hands messages on to all of its nodes.
        let Some(seed) = redis.cluster.first() else {
            return connect::client(redis).await.ok().map(|(client, _)| client);
        };
        let (host, port) = sentinel::split(seed)?;
        let info = ConnectionAddr::Tcp(host, port).into_connection_info().ok()?;
        Client::open(info.set_redis_settings(connect::settings(redis))).ok()
    }
}
