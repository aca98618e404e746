//! Times, as people like them.

use jiff::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch, now.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// How long ago that was, short: `42s`, `5m`, `3h`, `12d`. Empty for never.
pub fn age(millis: u64) -> String {
    if millis == 0 {
        return String::new();
    }
    let seconds = now().saturating_sub(millis) / 1000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time in RFC 3339; empty for never.
pub fn absolute(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    match Timestamp::from_millisecond(millis) {
        Ok(time) if millis > 0 => time.to_string(),
        _ => String::new(),
    }
}

/// Nanoseconds since the epoch in RFC 3339, as Docker prints log lines' times.
pub fn log_time(nanos: u64) -> String {
    Timestamp::from_nanosecond(i128::from(nanos)).map_or_else(|_| String::new(), |time| format!("{time:.9}"))
}

/// A point in time that is given as RFC 3339, or as how long ago (`10m`); milliseconds since the epoch.
///
/// # Errors
/// When it is neither.
pub fn parse(text: &str) -> Result<u64, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(now().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)));
    }
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(u64::try_from(time.as_millisecond()).unwrap_or(0)),
        Err(_) => Err(format!("\"{text}\" is neither a duration (10m) nor a time (2026-01-31T12:00:00Z)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_durations_and_as_points() {
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(1000));
        assert!(parse("10m").unwrap() < now());
        assert!(parse("yesterday").unwrap_err().contains("yesterday"));
        assert_eq!(absolute(1000), "1970-01-01T00:00:01Z");
        assert_eq!(log_time(1_000_000_001), "1970-01-01T00:00:01.000000001Z");
        assert_eq!(age(0), "");
    }
}
