//! Asking all nodes at once: who is there, and what each says. A silent one is an answer, too.

use std::time::Duration;

use dsync::api::{AdminReply, AdminRequest, NodeInfo};
use dsync_core::Fault;
use dsync_core::node::Role;
use futures::future::join_all;

use crate::error::Result;

use super::Ctx;
use super::ctx::unexpected;
use super::way::Way;

pub(crate) mod raft;

/// Longest time that one node may take.
const EACH: Duration = Duration::from_secs(1);
/// Rounds of asking those whom the others name.
const ROUNDS: usize = 3;

/// A node that is known of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// NODE_ID, once anyone knows it.
    pub(crate) node: Option<String>,
    /// What it does, once anyone knows it.
    pub(crate) role: Option<Role>,
    /// Where it is reached.
    pub(crate) address: String,
}

/// A node and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Said<T> {
    pub(crate) known: Known,
    pub(crate) answer: std::result::Result<T, Fault>,
}

impl Known {
    /// Its name, or its address while that is all there is.
    pub(crate) fn label(&self) -> &str {
        self.node.as_deref().unwrap_or(&self.address)
    }

    fn same(&self, other: &Self) -> bool {
        match (&self.node, &other.node) {
            (Some(a), Some(b)) => a == b,
            _ => self.address == other.address,
        }
    }
}

/// Adds a node unless it is known; fills in what was unknown of it.
pub(crate) fn learn(all: &mut Vec<Known>, news: Known) {
    match all.iter_mut().find(|old| old.same(&news)) {
        Some(old) => {
            old.node = old.node.take().or(news.node);
            old.role = old.role.take().or(news.role);
        }
        None => all.push(news),
    }
}

/// Every node that the cluster, or a node file, knows of.
pub(crate) async fn directory(ctx: &Ctx) -> Result<Vec<Known>> {
    let mut all: Vec<Known> = Vec::new();
    let answer = ctx.admin(AdminRequest::Directory, None).await;
    match answer {
        Ok(answer) => match answer.result {
            Ok(AdminReply::Directory(entries)) => {
                for entry in entries {
                    let node = Some(entry.node.to_string());
                    learn(&mut all, Known { node, role: Some(entry.role), address: entry.address });
                }
                let node = Some(answer.served_by);
                learn(&mut all, Known { node, role: None, address: answer.address });
            }
            _ => return Err(unexpected(&answer.served_by)),
        },
        // With node files there is a list to show even when nobody answers.
        Err(failure) if ctx.settings.expected.is_empty() => return Err(failure),
        Err(_) => {}
    }
    for expected in &ctx.settings.expected {
        let (node, role) = (expected.node.clone(), expected.role);
        learn(&mut all, Known { node, role, address: expected.address.clone() });
    }
    Ok(all)
}

/// What every node says of itself. Nodes that only others name are asked as well.
pub(crate) async fn node_infos(ctx: &Ctx) -> Result<Vec<Said<NodeInfo>>> {
    let mut known = directory(ctx).await?;
    let mut said: Vec<Said<NodeInfo>> = Vec::new();
    for _ in 0..ROUNDS {
        let asked = said.len();
        let unasked = known.get(asked..).unwrap_or_default().to_vec();
        if unasked.is_empty() {
            break;
        }
        let answers = join_all(unasked.into_iter().map(|one| node_info(ctx, one))).await;
        for one in answers {
            if let Ok(info) = &one.answer {
                for peer in configured(info).filter(is_there) {
                    learn(&mut known, peer);
                }
            }
            said.push(one);
        }
    }
    said.sort_by_key(|one| (one.known.role, one.known.label().to_owned()));
    Ok(without_doubles(said))
}

/// A node that was found by its address may turn out to be one that was found by its name.
fn without_doubles<T>(said: Vec<Said<T>>) -> Vec<Said<T>> {
    let mut kept: Vec<Said<T>> = Vec::new();
    for one in said {
        let double = kept
            .iter()
            .any(|old| old.known.same(&one.known) && (old.answer.is_ok() || one.answer.is_err()));
        if !double {
            kept.push(one);
        }
    }
    kept
}

async fn node_info(ctx: &Ctx, mut known: Known) -> Said<NodeInfo> {
    let answer = ask(ctx, &known, AdminRequest::NodeInfo).await.and_then(|reply| match reply {
        AdminReply::Node(info) => Ok(*info),
        _ => Err(unexpected(known.label()).fault),
    });
    if let Ok(info) = &answer {
        known.node = Some(info.node.clone());
        known.role = Some(info.role);
    }
    Said { known, answer }
}

/// The nodes that a node's configuration names. `PEER_ADDRESSES` have its role; what those in
/// `CLUSTER_ADDRESSES` do is not known from here.
fn configured(info: &NodeInfo) -> impl Iterator<Item = Known> {
    let is_in = |key: &str, address: &str| {
        let setting = info.settings.iter().find(|setting| setting.key == key);
        setting.is_some_and(|setting| setting.value.split(',').any(|one| one.trim() == address))
    };
    info.peers.iter().map(move |peer| {
        let address = peer.address.clone();
        let elsewhere = is_in("CLUSTER_ADDRESSES", &address) && !is_in("PEER_ADDRESSES", &address);
        let role = (!elsewhere).then_some(info.role);
        Known { node: peer.node.clone(), role, address }
    })
}

/// An address of another role is a node once one was heard there; until then it is a plan, which
/// `cluster topology` shows.
fn is_there(one: &Known) -> bool {
    one.role.is_some() || one.node.is_some()
}

/// Every node that is known of or planned: the directory, and what the node that was asked has in
/// its configuration.
pub(crate) async fn planned(ctx: &Ctx) -> Result<Vec<Known>> {
    let mut all = directory(ctx).await?;
    if let Ok(answer) = ctx.admin(AdminRequest::NodeInfo, None).await
        && let Ok(AdminReply::Node(info)) = answer.result
    {
        for one in configured(&info) {
            learn(&mut all, one);
        }
    }
    Ok(all)
}

/// Asks one node, and gives it a second at most.
async fn ask(
    ctx: &Ctx,
    known: &Known,
    request: AdminRequest,
) -> std::result::Result<AdminReply, Fault> {
    let way = Way::of(known, ctx);
    let options = ctx.options(EACH, way.target);
    way.client.admin(request, options).await?.result
}

#[cfg(test)]
mod tests {
    use dsync::api::{PeerView, Setting};

    use super::*;
    use crate::output::views::cluster::sample;

    fn known(node: Option<&str>, address: &str) -> Known {
        Known { node: node.map(str::to_owned), role: None, address: address.to_owned() }
    }

    #[test]
    fn a_node_is_known_once() {
        let mut all = Vec::new();
        learn(&mut all, known(Some("a"), "h:1"));
        learn(&mut all, known(None, "h:1"));
        learn(&mut all, known(Some("a"), "other:1"));
        learn(&mut all, known(None, "h:2"));
        learn(&mut all, known(Some("b"), "h:2"));
        assert_eq!(all, [known(Some("a"), "h:1"), known(Some("b"), "h:2")]);
    }

    #[test]
    fn of_two_rows_for_one_node_the_answer_stays() {
        let silent =
            Said::<u8> { known: known(Some("a"), "h:1"), answer: Err(Fault::unavailable("x")) };
        let good = Said::<u8> { known: known(Some("a"), "h:9"), answer: Ok(1) };
        let kept = without_doubles(vec![good, silent]);
        assert_eq!(kept.len(), 1);
        assert!(kept.first().unwrap().answer.is_ok());
    }

    fn lock_node() -> NodeInfo {
        let view = |address: &str, node: Option<&str>| PeerView {
            address: address.to_owned(),
            node: node.map(str::to_owned),
            last_hello_ms_ago: None,
            last_error: None,
        };
        let setting = |key: &str, value: &str| Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            source: "test".to_owned(),
        };
        NodeInfo {
            peers: vec![view("h:8002", None), view("h:9001", None), view("h:7001", Some("cache"))],
            settings: vec![
                setting("PEER_ADDRESSES", "h:8002"),
                setting("CLUSTER_ADDRESSES", "h:9001, h:7001"),
            ],
            ..sample::info(1)
        }
    }

    #[test]
    fn the_role_of_an_address_elsewhere_is_unknown_and_it_counts_once_it_was_heard() {
        let peer = Known { role: Some(Role::Lock), ..known(None, "h:8002") };
        let (queue, cache) = (known(None, "h:9001"), known(Some("cache"), "h:7001"));
        let all: Vec<Known> = configured(&lock_node()).collect();
        assert_eq!(all, [peer.clone(), queue, cache.clone()]);
        let there: Vec<Known> = all.into_iter().filter(is_there).collect();
        assert_eq!(there, [peer, cache]);
    }
}
