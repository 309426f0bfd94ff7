//! Values: durations, permits, tokens, names, endpoints. Each refusal names the value and a good one.

mod cache;
mod queue;

use std::time::Duration;

use dsync_core::lock::Mode;
use dsync_core::name::Name;

pub(crate) use cache::{key_value, signed, ttl_of_key, version};
pub(crate) use queue::{
    delay, error_text, header, job_id, lease, point_in_time, receipt, some, ttl_of_job, whole,
};

/// Longest duration that is taken: 10 years would only hide a slip of the finger.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A duration: `500ms`, `30s`, `1m30s`, `2h`, `1d`; 0 needs no unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration; write 500ms, 30s, 1m30s, 2h or 1d");
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = trimmed;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: f64 = number.parse().map_err(|_| bad())?;
        let unit = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(bad()),
        };
        let part = Duration::try_from_secs_f64(number * unit).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = tail;
    }
    match trimmed.is_empty() {
        true => Err(bad()),
        false if total > LONGEST => Err(format!("{text:?} is longer than a year")),
        false => Ok(total),
    }
}

/// Why a duration of 0 is refused.
const ZERO: &str = "must be more than 0";

/// A duration above 0.
pub(crate) fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(ZERO.to_owned()),
        some => Ok(some),
    }
}

/// A lease: 1 ms to 24 h; the service has its own shortest.
pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    match positive(text)? {
        long if long > Duration::from_millis(dsync_core::lock::DAY_MS) => {
            Err(format!("{text:?} is longer than 24h, the longest lease"))
        }
        some => Ok(some),
    }
}

/// A wait of at most 24 h.
pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        long if long > Duration::from_millis(dsync_core::lock::DAY_MS) => {
            Err(format!("{text:?} is longer than 24h, the longest wait"))
        }
        some => Ok(some),
    }
}

/// `K/N` permits.
pub(crate) fn permits(text: &str) -> Result<Mode, String> {
    let bad = || format!("{text:?} is not K/N with 1 <= K <= N; write 2/5 to take 2 of 5 permits");
    let (take, of) = text.split_once('/').ok_or_else(bad)?;
    let take: u32 = take.trim().parse().map_err(|_| bad())?;
    let of: u32 = of.trim().parse().map_err(|_| bad())?;
    if take == 0 || take > of { Err(bad()) } else { Ok(Mode::Permits { take, of }) }
}

/// A name of a lock or an owner.
pub(crate) fn name(text: &str) -> Result<Name, String> {
    Name::parse("name", text).map_err(|fault| match fault.hint {
        Some(hint) => format!("{}; {hint}", fault.message),
        None => fault.message,
    })
}

/// A request id: a UUID or up to 32 hexadecimal digits, not zero.
pub(crate) fn request_id(text: &str) -> Result<u128, String> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let plain = !digits.starts_with('+') && digits.len() <= 32;
    match u128::from_str_radix(&digits, 16) {
        Ok(id) if id != 0 && plain => Ok(id),
        _ => Err(format!("{text:?} is no request id; use a UUID or up to 32 hexadecimal digits")),
    }
}

/// `host:port` texts separated by commas or blanks; `http://` and a trailing slash are tolerated.
pub(crate) fn endpoints(text: &str) -> Result<Vec<String>, String> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|part| !part.is_empty())
        .map(endpoint)
        .collect()
}

/// One `host:port`.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let bare = text.trim();
    let bare = bare.strip_prefix("http://").or_else(|| bare.strip_prefix("tcp://")).unwrap_or(bare);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let bad = || format!("{text:?} is no endpoint; write HOST:PORT, such as 127.0.0.1:8001");
    let (host, port) = bare.rsplit_once(':').ok_or_else(bad)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let host_ok = !host.is_empty()
        && (bracketed || !host.contains(':'))
        && !host.contains('/')
        && !host.chars().any(|c| c.is_control() || c.is_whitespace());
    match port.parse::<u16>() {
        Ok(number) if number > 0 && host_ok && !port.starts_with('+') => Ok(bare.to_owned()),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_mean_what_they_say() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("1d", 86_400_000),
            (" 2s ", 2_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            " ",
            "5",
            "s",
            "-1s",
            "NaN",
            "1e18s",
            "inf",
            "1x",
            "1.2.3s",
            "99999999999999999999s",
            "2y",
            "s5",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(duration("400d").is_err());
        assert!(positive("0").is_err());
        assert!(ttl("25h").is_err() && ttl("24h").is_ok() && wait("25h").is_err());
    }

    #[test]
    fn permits_are_some_of_all() {
        assert_eq!(permits("2/5"), Ok(Mode::Permits { take: 2, of: 5 }));
        for bad in ["", "2", "0/5", "6/5", "a/b", "2/", "-1/2"] {
            assert!(permits(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn request_ids_are_uuids_or_hexadecimal() {
        assert_eq!(request_id("ff"), Ok(255));
        assert_eq!(
            request_id("00112233-4455-6677-8899-aabbccddeeff"),
            Ok(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)
        );
        for bad in ["", "0", "xyz", "+1", "123456789012345678901234567890123"] {
            assert!(request_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints_tolerate_what_people_paste() {
        assert_eq!(
            endpoints("a:1, http://b:2/ ,c:3 [::1]:4,"),
            Ok(vec!["a:1".into(), "b:2".into(), "c:3".into(), "[::1]:4".into()])
        );
        for bad in
            ["a", "a:", ":1", "a:0", "a:65536", "::1:8001", "https://a:1", "a:b:1", "a:+1", "a/b:1"]
        {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
