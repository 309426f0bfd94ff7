//! Values of `dsctl queue`.

use std::time::Duration;

use dsync_core::Fault;
use dsync_core::queue::{DELAY_MAX_MS, JobId, LEASE_MIN_MS, Receipt};

use super::{duration, positive, ttl};

/// Longest text of an error or a reason that is taken.
const TEXT_MAX: usize = 8 * 1024;

/// A delay or a pause: at most 30 days.
pub(crate) fn delay(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        long if long > Duration::from_millis(DELAY_MAX_MS) => {
            Err(format!("{text:?} is longer than 30d, the longest there is"))
        }
        some => Ok(some),
    }
}

/// A lifetime of a job: at most 30 days.
pub(crate) fn ttl_of_job(text: &str) -> Result<Duration, String> {
    positive(text)?;
    delay(text)
}

/// A lease of a job: 100 ms to 24 h.
pub(crate) fn lease(text: &str) -> Result<Duration, String> {
    match ttl(text)? {
        short if short < Duration::from_millis(LEASE_MIN_MS) => {
            Err(format!("{text:?} is shorter than 100ms, the shortest lease"))
        }
        some => Ok(some),
    }
}

/// An id of a job.
pub(crate) fn job_id(text: &str) -> Result<JobId, String> {
    JobId::parse(text).map_err(with_hint)
}

/// `ID:TOKEN`.
pub(crate) fn receipt(text: &str) -> Result<Receipt, String> {
    Receipt::parse(text).map_err(with_hint)
}

/// A whole number.
pub(crate) fn whole(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no whole number from 0 on"))
}

/// A whole number other than 0.
pub(crate) fn some(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(format!("{text:?} is no whole number from 1 on")),
    }
}

/// `NAME=VALUE`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !name.chars().any(char::is_control) => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("{text:?} is no header; write NAME=VALUE, such as lang=en")),
    }
}

/// An error or a reason.
pub(crate) fn error_text(text: &str) -> Result<String, String> {
    if text.len() > TEXT_MAX {
        return Err(format!("{} bytes are more than {TEXT_MAX}, the longest text", text.len()));
    }
    Ok(text.to_owned())
}

/// A point in time, as the time since 1970: `2026-11-25T18:30:00Z`, with `+01:00` instead of `Z`, or
/// seconds since 1970.
pub(crate) fn point_in_time(text: &str) -> Result<Duration, String> {
    let bad = || {
        format!(
            "{text:?} is no time; write 2026-11-25T18:30:00Z, 2026-11-25T19:30:00+01:00 or seconds since 1970"
        )
    };
    if let Ok(seconds) = text.trim().trim_start_matches('@').parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let seconds = rfc3339(text.trim()).and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map(Duration::from_secs).ok_or_else(bad)
}

/// Seconds since 1970.
fn rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let (time, offset) = match rest.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => zoned(rest)?,
    };
    let mut date = date.splitn(3, '-');
    let (year, month, day) =
        (number(date.next()?, 9_999)?, number(date.next()?, 12)?, number(date.next()?, 31)?);
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (number(time.next()?, 23)?, number(time.next()?, 59)?);
    let second = number(time.next()?, 60)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if month == 0 || day == 0 || day > longest || year < 1970 {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

/// A time and the offset of its zone in seconds.
fn zoned(text: &str) -> Option<(&str, i64)> {
    let (time, offset) = text.split_at_checked(text.rfind(['+', '-'])?)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    Some((time, sign * (number(hours, 23)? * 3_600 + number(minutes, 59)? * 60)))
}

fn number(text: &str, most: i64) -> Option<i64> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number <= most)
}

/// Days from 1970-01-01; years begin in March, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn with_hint(fault: Fault) -> String {
    match fault.hint {
        Some(hint) => format!("{}; {hint}", fault.message),
        None => fault.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_the_calendar_says() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-25T18:30:00Z", 1_795_631_400),
            ("2026-11-25T19:30:00+01:00", 1_795_631_400),
            ("2026-11-25 13:00:00.250-05:30", 1_795_631_400),
            ("1795631400", 1_795_631_400),
            ("@1795631400", 1_795_631_400),
        ] {
            assert_eq!(point_in_time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "now",
            "2026-11-25",
            "2026-11-25T18:30:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00+1",
            "1969-01-01T00:00:00Z",
            "-5",
            "+é",
        ] {
            assert!(point_in_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn leases_delays_and_lifetimes_have_their_bounds() {
        assert!(lease("99ms").is_err() && lease("100ms").is_ok());
        assert!(lease("24h").is_ok() && lease("25h").is_err() && lease("0").is_err());
        assert!(delay("0").is_ok() && delay("30d").is_ok() && delay("31d").is_err());
        assert!(ttl_of_job("0").is_err() && ttl_of_job("1ms").is_ok());
    }

    #[test]
    fn headers_have_a_name_and_perhaps_a_value() {
        assert_eq!(header("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(header("a="), Ok(("a".to_owned(), String::new())));
        for bad in ["", "a", "=b", "a\n=b"] {
            assert!(header(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_receipt_is_named_with_the_fix() {
        let said = receipt("order-17").unwrap_err();
        assert!(said.contains("order-17") && said.contains("ID:TOKEN"), "{said}");
        assert!(job_id("a b").unwrap_err().contains("without"), "names the rule");
    }
}
