//! The units Compose writes: durations (`1m30s`), byte sizes (`64m`) and cpus (`0.5`).

use std::time::Duration;

use serde::Serializer;

const NANOS_PER_CPU: u64 = 1_000_000_000;

/// Why a text is no value of its unit. The text itself is named by whoever reports this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text has no number where one belongs.
    #[error("expected {expected}")]
    Malformed {
        /// What it should look like.
        expected: &'static str,
    },
    /// A duration's number has no unit.
    #[error("the number has no unit: write {0}s for seconds or {0}ms for milliseconds")]
    MissingUnit(String),
    /// The unit isn't one of those known.
    #[error("unknown unit {unit:?}, expected one of {known}")]
    UnknownUnit {
        /// The unit found.
        unit: String,
        /// The units there are.
        known: &'static str,
    },
    /// The value can't be held.
    #[error("the value is too large")]
    TooLarge,
}

const DURATION_FORM: &str = "a duration such as 10s, 1m30s or 500ms";
const BYTES_FORM: &str = "a size such as 64m, 1.5g or a number of bytes";
const CPUS_FORM: &str = "a number of cpus such as 0.5 or 2";

/// Reads a duration the way Go's `time.ParseDuration` does, without signs.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(UnitError::Malformed { expected: DURATION_FORM });
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or(UnitError::Malformed { expected: DURATION_FORM })?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, remaining) = after.split_at(end);
        let scale: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3_600 * 1_000_000_000,
            "" => return Err(UnitError::MissingUnit(number.to_owned())),
            _ => {
                return Err(UnitError::UnknownUnit { unit: unit.to_owned(), known: "ns, us, ms, s, m, h" });
            }
        };
        nanos = nanos.checked_add(scaled(number, scale, DURATION_FORM)?).ok_or(UnitError::TooLarge)?;
        rest = remaining;
    }
    // Go's durations are i64 nanoseconds; holding to that keeps every value printable and sendable.
    u64::try_from(nanos)
        .ok()
        .filter(|nanos| i64::try_from(*nanos).is_ok())
        .map(Duration::from_nanos)
        .ok_or(UnitError::TooLarge)
}

/// Writes a duration as Go prints it: `1m30s`, `500ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000 {
        return format!("{nanos}ns");
    }
    if nanos < 1_000_000 {
        return format!("{}us", decimal(nanos, 1_000));
    }
    if nanos < 1_000_000_000 {
        return format!("{}ms", decimal(nanos, 1_000_000));
    }
    let (hours, minutes) = (duration.as_secs() / 3_600, duration.as_secs() / 60 % 60);
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Reads a size in bytes. Units are powers of 1024, in either case, with or without `b` or `ib` after them.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let malformed = UnitError::Malformed { expected: BYTES_FORM };
    let (number, unit) = split_number(text.trim()).ok_or(malformed)?;
    let unit = unit.trim().to_ascii_lowercase();
    let scale: u64 = match unit.as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        "p" | "pb" | "pib" => 1 << 50,
        _ => return Err(UnitError::UnknownUnit { unit, known: "b, k, m, g, t, p" }),
    };
    let bytes = scaled(number, scale, BYTES_FORM)?;
    // Sizes travel as signed 64-bit numbers through cgroup files and Docker's own API.
    u64::try_from(bytes).ok().filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or(UnitError::TooLarge)
}

/// Reads a number of cpus as billionths of one.
pub fn parse_cpus(text: &str) -> Result<u64, UnitError> {
    let text = text.trim();
    let malformed = UnitError::Malformed { expected: CPUS_FORM };
    match split_number(text) {
        Some((number, "")) => {
            let nanos = scaled(number, NANOS_PER_CPU, CPUS_FORM)?;
            u64::try_from(nanos).ok().filter(|nanos| i64::try_from(*nanos).is_ok()).ok_or(UnitError::TooLarge)
        }
        _ => Err(malformed),
    }
}

/// Writes billionths of a cpu as a decimal number.
pub fn format_cpus(nano_cpus: u64) -> String {
    decimal(u128::from(nano_cpus), u128::from(NANOS_PER_CPU))
}

/// Splits `12.5ms` into `12.5` and `ms`; nothing when there is no digit.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    number.contains(|c: char| c.is_ascii_digit()).then_some((number, rest))
}

/// `number` times `scale` without going through floating point, cut off below one.
fn scaled(number: &str, scale: u64, form: &'static str) -> Result<u128, UnitError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return Err(UnitError::Malformed { expected: form });
    }
    let scale = u128::from(scale);
    let whole: u128 =
        if whole.is_empty() { 0 } else { whole.parse().map_err(|_overflow| UnitError::TooLarge)? };
    let mut value = whole.checked_mul(scale).ok_or(UnitError::TooLarge)?;
    // 18 places are finer than any unit here, and keep the product within 128 bits.
    let digits = &fraction[..fraction.len().min(18)];
    if !digits.is_empty() {
        let numerator: u128 = digits.parse().map_err(|_overflow| UnitError::TooLarge)?;
        let places = u32::try_from(digits.len()).map_err(|_overflow| UnitError::TooLarge)?;
        value = value.checked_add(numerator * scale / 10u128.pow(places)).ok_or(UnitError::TooLarge)?;
    }
    Ok(value)
}

/// `value / unit` as a decimal number without trailing zeros.
fn decimal(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{rest:0width$}").trim_end_matches('0').to_owned()
}

/// Serializes as [`format_duration`] writes it.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde's serialize_with calls")]
pub(crate) fn serialize_duration<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*value))
}

/// Serializes as [`format_duration`] writes it.
#[allow(clippy::ref_option, reason = "the signature serde's serialize_with calls")]
pub(crate) fn serialize_optional_duration<S: Serializer>(
    value: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serialize_optional(value.map(format_duration), serializer)
}

/// Serializes bytes as text, as Compose prints them.
#[allow(clippy::ref_option, reason = "the signature serde's serialize_with calls")]
pub(crate) fn serialize_optional_bytes<S: Serializer>(
    value: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serialize_optional(value.map(|bytes| bytes.to_string()), serializer)
}

/// Serializes as [`format_cpus`] writes it.
#[allow(clippy::ref_option, reason = "the signature serde's serialize_with calls")]
pub(crate) fn serialize_optional_cpus<S: Serializer>(
    value: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serialize_optional(value.map(format_cpus), serializer)
}

fn serialize_optional<S: Serializer>(text: Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => serializer.serialize_str(&text),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        let cases = [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("2h45m", 9_900_000),
            ("0", 0),
            ("0s", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("3us").unwrap(), Duration::from_micros(3));
        assert!(matches!(parse_duration("10"), Err(UnitError::MissingUnit(_))));
        assert!(matches!(parse_duration("10 s"), Err(UnitError::UnknownUnit { .. })));
        assert!(matches!(parse_duration("10d"), Err(UnitError::UnknownUnit { .. })));
        for bad in ["", "s", "-1s", "1..2s", ".s", "1s-"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_duration("99999999999999999999h"), Err(UnitError::TooLarge));
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for text in ["0s", "1ns", "1.5us", "500ms", "1s", "1.5s", "1m30s", "1h0m0s", "2h45m0.25s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        let cases = [
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("64MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("512", 512),
            ("512b", 512),
            ("1 k", 1024),
            ("2t", 2 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "m", "-1m", "1x", "1.2.3m", "9999999999p"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_are_exact_billionths() {
        assert_eq!(parse_cpus("0.5"), Ok(500_000_000));
        assert_eq!(parse_cpus("2"), Ok(2_000_000_000));
        assert_eq!(parse_cpus("0.000000001"), Ok(1));
        assert_eq!(parse_cpus(".1"), Ok(100_000_000));
        assert!(parse_cpus("half").is_err());
        assert!(parse_cpus("1cpu").is_err());
        assert_eq!(format_cpus(1_250_000_000), "1.25");
        assert_eq!(format_cpus(2_000_000_000), "2");
    }
}
