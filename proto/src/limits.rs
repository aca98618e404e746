//! Bounds on what is taken from outside, and checks of names. They are generous to people and small to memory.

use crate::convert::Invalid;

/// Longest name of a stack or service.
pub(crate) const NAME: usize = 63;
/// Longest single text (an argument, an environment value).
pub(crate) const TEXT: usize = 128 << 10;
/// Most entries of one list or map.
pub(crate) const ENTRIES: usize = 4096;
/// Most services of one stack.
pub(crate) const SERVICES: usize = 1024;
/// Most replicas of one service.
pub(crate) const REPLICAS: u32 = 1_000_000;
/// Longest duration: a year, in milliseconds.
pub(crate) const DURATION: u64 = 366 * 24 * 3600 * 1000;

/// Letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
pub(crate) fn name(field: &str, value: &str) -> Result<(), Invalid> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.is_empty() {
        return Err(Invalid::new(field, "must not be empty"));
    }
    if value.len() > NAME {
        return Err(Invalid::new(field, format!("is longer than {NAME} characters")));
    }
    if !value.starts_with(|c: char| c.is_ascii_alphanumeric()) || !value.chars().all(legal) {
        let reason = format!(
            "\"{value}\" may hold letters, digits, '-', '_' and '.', and begins with a letter or digit"
        );
        return Err(Invalid::new(field, reason));
    }
    Ok(())
}

pub(crate) fn text(field: &str, value: &str) -> Result<(), Invalid> {
    if value.len() > TEXT {
        return Err(Invalid::new(field, format!("is longer than {TEXT} bytes")));
    }
    if value.contains('\0') {
        return Err(Invalid::new(field, "holds a NUL byte"));
    }
    Ok(())
}

pub(crate) fn texts<'a>(
    field: &str,
    values: impl ExactSizeIterator<Item = &'a String>,
) -> Result<(), Invalid> {
    entries(field, values.len())?;
    for value in values {
        text(field, value)?;
    }
    Ok(())
}

pub(crate) fn entries(field: &str, count: usize) -> Result<(), Invalid> {
    if count > ENTRIES {
        return Err(Invalid::new(field, format!("has {count} entries; at most {ENTRIES} are taken")));
    }
    Ok(())
}

pub(crate) fn duration(field: &str, millis: u64) -> Result<u64, Invalid> {
    if millis > DURATION {
        return Err(Invalid::new(field, "is longer than a year"));
    }
    Ok(millis)
}
