//! What speaks on the other side when it is not dsync. Pure.

use crate::preamble::MAGIC;

/// A protocol that is told apart by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Redis.
    Redis,
    /// HTTP.
    Http,
    /// TLS.
    Tls,
    /// SSH.
    Ssh,
    /// None of these.
    Other,
}

/// True as long as `bytes` may become a line of ours.
pub fn may_be_ours(bytes: &[u8]) -> bool {
    bytes.iter().zip(MAGIC.as_bytes()).all(|(a, b)| a == b)
}

/// Tells a client by the first bytes that it sent.
pub fn client_protocol(bytes: &[u8]) -> Protocol {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"CONNECT ",
        b"PRI ",
    ];
    const COMMANDS: [&[u8]; 8] =
        [b"PING", b"INFO", b"AUTH ", b"HELLO", b"SET ", b"QUIT", b"CLIENT ", b"COMMAND"];
    if let Some(method) = METHODS.iter().find(|method| bytes.starts_with(method)) {
        // `GET key` is Redis' inline form; HTTP's target is a path, an address or `*`.
        let target = bytes.get(method.len()..).unwrap_or_default();
        let line = target.split(|b| *b == b'\n').next().unwrap_or_default();
        let path = target.first().is_some_and(|b| matches!(b, b'/' | b'*'));
        let http = path || line.windows(6).any(|w| w == b" HTTP/");
        return if http { Protocol::Http } else { Protocol::Redis };
    }
    match bytes {
        [b'*', b'0'..=b'9', ..] => Protocol::Redis,
        [0x16, 0x03, ..] => Protocol::Tls,
        _ if bytes.starts_with(b"SSH-") => Protocol::Ssh,
        _ if COMMANDS
            .iter()
            .any(|c| bytes.get(..c.len()).is_some_and(|head| head.eq_ignore_ascii_case(c))) =>
        {
            Protocol::Redis
        }
        _ => Protocol::Other,
    }
}

/// Tells a server by what it answers to our line.
pub fn server_protocol(bytes: &[u8]) -> Protocol {
    let text = bytes.trim_ascii_start();
    let begins =
        |head: &[u8]| text.get(..head.len()).is_some_and(|start| start.eq_ignore_ascii_case(head));
    match bytes {
        [0x15 | 0x16, 0x03, ..] => Protocol::Tls,
        _ if begins(b"-ERR") || begins(b"-NOAUTH") || begins(b"-DENIED") || begins(b"-LOADING") => {
            Protocol::Redis
        }
        _ if begins(b"HTTP/") || begins(b"<!doctype") || begins(b"<html") => Protocol::Http,
        _ if begins(b"SSH-") => Protocol::Ssh,
        _ => Protocol::Other,
    }
}

/// What a stray client is told, in its own protocol where it has one.
pub fn answer(protocol: Protocol, node: &str) -> Vec<u8> {
    let node: String = node.chars().filter(|c| !c.is_control()).take(64).collect();
    let what = format!("this is dsd {node}, a dsync node");
    match protocol {
        Protocol::Http => {
            let body = format!(
                "{what}: it speaks the dsync protocol here, not HTTP.\n\
                 Use dsctl (dsctl node info HOST:PORT); metrics and health are on METRICS_ADDR.\n"
            );
            format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        }
        Protocol::Redis => {
            format!("-ERR {what}, not Redis; use dsctl, or check the port\r\n").into_bytes()
        }
        // A fatal alert: protocol_version.
        Protocol::Tls => vec![0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46],
        Protocol::Ssh | Protocol::Other => {
            format!("{MAGIC}1 ERR malformed {what}; a connection begins with {MAGIC}1 plane=…\r\n")
                .into_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_apart() {
        let cases: [(&[u8], Protocol); 12] = [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Protocol::Http),
            (b"PRI * HTTP/2.0\r\n", Protocol::Http),
            (b"CONNECT a:1 HTTP/1.1\r\n", Protocol::Http),
            (b"GET key\r\n", Protocol::Redis),
            (b"*1\r\n$4\r\nPING\r\n", Protocol::Redis),
            (b"ping\r\n", Protocol::Redis),
            (b"INFO\r\n", Protocol::Redis),
            (b"\x16\x03\x01\x02\x00", Protocol::Tls),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Protocol::Ssh),
            (b"\0\0\0\0", Protocol::Other),
            (b"", Protocol::Other),
            (b"PUT", Protocol::Other),
        ];
        for (bytes, want) in cases {
            assert_eq!(client_protocol(bytes), want, "{}", bytes.escape_ascii());
            assert!(!answer(want, "node-1").is_empty());
        }
    }

    #[test]
    fn servers_are_told_apart() {
        let cases: [(&[u8], Protocol); 6] = [
            (b"-ERR unknown command 'DSYNC/1'\r\n", Protocol::Redis),
            (b"-NOAUTH Authentication required.\r\n", Protocol::Redis),
            (b"HTTP/1.1 400 Bad Request\r\n", Protocol::Http),
            (b"\x15\x03\x03\x00\x02\x02\x32", Protocol::Tls),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Protocol::Ssh),
            (b"220 mail.example.org ESMTP\r\n", Protocol::Other),
        ];
        for (bytes, want) in cases {
            assert_eq!(server_protocol(bytes), want, "{}", bytes.escape_ascii());
        }
    }
}
