//! Values of `dsctl cache`.

use std::time::Duration;

use dsync::cache::Key;

use super::{name, positive};

/// A time to live of a key: 1 ms or longer.
pub(crate) fn ttl_of_key(text: &str) -> Result<Duration, String> {
    let ttl = positive(text).map_err(|why| {
        if why == super::ZERO {
            format!("{text:?} leaves no time; write 10m, or leave it out to keep the key")
        } else {
            why
        }
    })?;
    if ttl < Duration::from_millis(1) {
        return Err(format!("{text:?} is shorter than 1ms, the shortest time to live"));
    }
    Ok(ttl)
}

/// A version of a key.
pub(crate) fn version(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is no version; write the number that `dsctl cache get KEY` shows as VERSION"
        )
    })
}

/// What is added to a number.
pub(crate) fn signed(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{text:?} is no whole number of 64 bits; write 1 or -3"))
}

/// `KEY=VALUE`.
pub(crate) fn key_value(text: &str) -> Result<(Key, String), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(format!("{text:?} is no KEY=VALUE; write user/17=ada"));
    };
    Ok((name(key)?, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_keys_say_what_is_good() {
        assert_eq!(ttl_of_key("1ms"), Ok(Duration::from_millis(1)));
        for bad in ["0", "0s", "1us", "-1s", "10"] {
            assert!(ttl_of_key(bad).is_err(), "{bad}");
        }
        assert_eq!(version("18446744073709551615"), Ok(u64::MAX));
        assert!(version("x").is_err() && version("-1").is_err() && version("").is_err());
        assert_eq!(signed("-9223372036854775808"), Ok(i64::MIN));
        assert!(signed("1.5").is_err() && signed("9223372036854775808").is_err());
        let (key, value) = key_value("a=b=c").unwrap();
        assert_eq!((key.as_str(), value.as_str()), ("a", "b=c"));
        assert_eq!(key_value("a=").unwrap().1, "");
        assert!(key_value("a").is_err() && key_value("=b").is_err());
    }
}
