//! Values in the words of people.

/// Milliseconds: `12ms`, `4.6s`, `30s`, `2m5s`, `1h30m`, `3d4h`.
pub(crate) fn ms(ms: u64) -> String {
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    if ms < 9_950 {
        let tenths = (ms + 50) / 100;
        return match tenths % 10 {
            0 => format!("{}s", tenths / 10),
            rest => format!("{}.{rest}s", tenths / 10),
        };
    }
    let seconds = ms / 1_000 + u64::from(ms % 1_000 >= 500);
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        some => format!("{big}{big_unit}{some}{small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// The same with a blank before the unit, for a sentence: `4.6 s`.
pub(crate) fn spaced(duration_ms: u64) -> String {
    let short = ms(duration_ms);
    let unit = short.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(short.len());
    let (number, unit) = short.split_at(unit);
    let several = unit.chars().any(|c| c.is_ascii_digit());
    if several { short } else { format!("{number} {unit}") }
}

/// Microseconds: `85us`, `1.25ms`, then as [`ms`].
pub(crate) fn us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..100_000 => format!("{}.{:02}ms", us / 1_000, us % 1_000 / 10),
        _ => ms((us + 500) / 1_000),
    }
}

/// A text from elsewhere with its control characters spelled out, so that it cannot drive a terminal.
pub(crate) fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut safe, c| {
        if c.is_control() {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
        safe
    })
}

/// Bytes: `512 B`, `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// Milliseconds of a duration, as many as fit.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Time since 1970, by this machine's clock.
pub(crate) fn since_1970() -> std::time::Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// Microseconds of a duration, as many as fit.
pub(crate) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (given, shown) in [
            (0, "0ms"),
            (12, "12ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (4_640, "4.6s"),
            (9_949, "9.9s"),
            (9_950, "10s"),
            (29_997, "30s"),
            (59_600, "1m"),
            (125_000, "2m5s"),
            (5_400_000, "1h30m"),
            (273_600_000, "3d4h"),
        ] {
            assert_eq!(ms(given), shown);
        }
        assert_eq!(us(85), "85us");
        assert_eq!(us(1_250), "1.25ms");
        assert_eq!(us(2_500_000), "2.5s");
    }

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(printable("a\u{1b}[31mb\tc"), "a\\u{1b}[31mb\\tc");
        assert_eq!(printable("plain é"), "plain é");
    }
}
