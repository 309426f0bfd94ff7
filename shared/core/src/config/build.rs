//! From values to a valid configuration, or to everything that is wrong with them.

use super::cache::cache;
use super::identity::{
    NODE_ID_MAX, advertise, data_dir, host, is_id_letter, neighbours, node_id, parse_id, port, role,
};
use super::problem::{Refused, Warning};
use super::redis::redis;
use super::tuning::{lock_timers, log_format, log_level, metrics_addr, store, timers};
use super::values::{Inputs, Setting, Values};
use super::{Address, Key, NodeConfig};

/// The NODE_ID of a node that names itself.
pub const AUTO: &str = "auto";

/// A valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The configuration. Its `node_id` is [`AUTO`] until [`Resolved::name_node`] was called, if
    /// that is what NODE_ID says.
    pub config: NodeConfig,
    /// Each value and where it came from, secrets masked.
    pub settings: Vec<Setting>,
    /// What works but is hardly meant.
    pub warnings: Vec<Warning>,
    host_name: String,
}

impl Resolved {
    /// True when `NODE_ID=auto` and the node has no name yet.
    pub fn needs_name(&self) -> bool {
        self.config.node_id == AUTO
    }

    /// A name for a node that names itself: the machine's name and a random suffix.
    pub fn new_name(&self, random: u32) -> String {
        let stem: String =
            self.host_name.chars().filter(|c| is_id_letter(*c)).take(NODE_ID_MAX - 9).collect();
        let stem = stem.trim_start_matches(['.', '_', '-']);
        let stem = if stem.is_empty() { self.config.role.as_str() } else { stem };
        format!("{stem}-{random:08x}")
    }

    /// Gives the node the name that it made for itself, and that it keeps in its data directory.
    ///
    /// # Errors
    /// Why it is not a name.
    pub fn name_node(&mut self, name: &str) -> Result<(), String> {
        self.config.node_id = parse_id(name)?;
        for setting in &mut self.settings {
            if setting.key == Key::NodeId.name() {
                name.clone_into(&mut setting.value);
            }
        }
        Ok(())
    }
}

/// Decides what was meant.
///
/// # Errors
/// All problems at once.
pub fn resolve(inputs: Inputs) -> Result<Resolved, Refused> {
    let host_name = inputs.host_name.clone();
    let mut values = Values::collect(inputs);
    let values = &mut values;

    let role = role(values);
    let node_id = node_id(values);
    let host = host(values);
    let port = port(values);
    let advertise = advertise(values, &host, port, &host_name);
    let (peers, cluster) = neighbours(values, advertise.as_ref(), &host);
    let data_dir = data_dir(values, role, node_id.as_deref(), &host_name, port);
    let redis = redis(values);
    let store = store(values, role, redis.is_some());
    let timers = timers(values);
    let cache = cache(values);
    let (lock_delay_ms, lock_wound_grace_ms) = lock_timers(values);
    let log_format = log_format(values);
    let log_level = log_level(values);
    let metrics_addr = metrics_addr(values, &host, port);

    let (Some(role), Some(node_id), Some(port), Some(advertise), true) =
        (role, node_id, port, advertise, values.problems.is_empty())
    else {
        let warnings = std::mem::take(&mut values.warnings);
        return Err(Refused { problems: std::mem::take(&mut values.problems), warnings });
    };
    let config = NodeConfig {
        node_id,
        role,
        host,
        port,
        advertise: advertise.to_string(),
        peers: peers.iter().map(Address::to_string).collect(),
        cluster: cluster.iter().map(Address::to_string).collect(),
        data_dir,
        store,
        redis,
        timers,
        lock_delay_ms,
        lock_wound_grace_ms,
        log_format,
        log_level,
        metrics_addr,
        cache,
    };
    let settings = values.settings();
    Ok(Resolved { config, settings, warnings: std::mem::take(&mut values.warnings), host_name })
}
