//! `host:port`, as people write it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::node_config::host_port;
use super::problem::shown;

/// Most addresses in one list.
pub const ADDRESSES_MAX: usize = 64;

/// A host and a port, in one spelling: names in lower case, IP addresses as their parser prints
/// them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A host name or an IP address, IPv6 without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl Address {
    /// Reads `host:port`, `1.2.3.4:port` or `[::1]:port`. Spaces around it, `http://` before it and
    /// one `/` behind it are ignored.
    ///
    /// # Errors
    /// Why it is none, naming the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = strip(text)?;
        let (host, port) = split(bare).ok_or_else(|| {
            if bare.parse::<Ipv6Addr>().is_ok() {
                format!("{} is an IPv6 address without brackets and port", shown(bare))
            } else {
                format!("{} has no port", shown(bare))
            }
        })?;
        let named = |why: String| format!("{}: {why}", shown(bare));
        Ok(Self { host: parse_host(host).map_err(named)?, port: parse_port(port).map_err(named)? })
    }

    /// True when both certainly name the same place: equal, or both this machine's loopback.
    pub fn same_place(&self, other: &Self) -> bool {
        self.port == other.port
            && (self.host == other.host || (is_loopback(&self.host) && is_loopback(&other.host)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&host_port(&self.host, self.port))
    }
}

/// What is left of `text` without spaces, `http://` and a trailing slash.
fn strip(text: &str) -> Result<&str, String> {
    let text = text.trim();
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) => {
            return Err(format!(
                "{} begins with {}, which dsync does not speak",
                shown(text),
                shown(&format!("{scheme}://"))
            ));
        }
        None => text,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('/') {
        return Err(format!("{} has a path", shown(text)));
    }
    Ok(rest)
}

/// Splits at the colon before the port; `None` where there is none.
fn split(text: &str) -> Option<(&str, &str)> {
    if text.starts_with('[') {
        let (host, port) = text.rsplit_once("]:")?;
        return Some((host.strip_prefix('[')?, port));
    }
    let (host, port) = text.rsplit_once(':')?;
    if host.contains(':') { None } else { Some((host, port)) }
}

/// A port that others can dial: 1 to 65535.
pub(super) fn parse_port(text: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Err("the port is missing after the colon".to_owned());
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if port > 0 && digits => Ok(port),
        _ => Err(format!("{} is not a port, a number from 1 to 65535", shown(text))),
    }
}

/// A host name or an IP address (IPv6 with or without brackets), in one spelling.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let unbracketed =
        text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = unbracketed.parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    if text.contains('$') {
        return Err(format!(
            "{} is not a host name; nothing is substituted for a $ here",
            shown(text)
        ));
    }
    if let Some(bad) = text.chars().find(|c| !is_host_letter(*c)) {
        return Err(format!("{} is not a host name: it contains {:?}", shown(text), bad));
    }
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > 253 || !name.split('.').all(label_ok) {
        return Err(format!("{} is not a host name", shown(text)));
    }
    if name.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(format!("{} is not an IPv4 address", shown(text)));
    }
    Ok(name.to_ascii_lowercase())
}

fn is_host_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// True for `localhost` and loopback IP addresses.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// True for `0.0.0.0` and `::`, which nobody can dial.
pub(super) fn is_unspecified(host: &str) -> bool {
    [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
        .iter()
        .any(|ip| host.parse::<IpAddr>().is_ok_and(|host| host == *ip))
}

/// Reads a list with commas; empty entries count for nothing.
///
/// # Errors
/// Every entry that is none or that names a place a second time, and a list that is too long.
pub(super) fn parse_list(text: &str) -> Result<Vec<Address>, Vec<String>> {
    let entries: Vec<&str> = text.split(',').map(str::trim).filter(|e| !e.is_empty()).collect();
    if entries.len() > ADDRESSES_MAX {
        return Err(vec![format!(
            "names {} addresses, {ADDRESSES_MAX} are the most there may be",
            entries.len()
        )]);
    }
    let mut good: Vec<Address> = Vec::new();
    let mut bad = Vec::new();
    for entry in entries {
        match Address::parse(entry) {
            Err(why) => bad.push(why),
            Ok(address) if is_unspecified(&address.host) => {
                bad.push(format!("{} is an address to listen on, not one to dial", shown(entry)));
            }
            Ok(address) if good.iter().any(|other| other.same_place(&address)) => {
                bad.push(format!("{} is named twice", shown(entry)));
            }
            Ok(address) => good.push(address),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}
