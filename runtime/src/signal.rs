//! Signal names, as Compose files and images write them.

use nix::sys::signal::Signal;

/// A signal that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal {0:?}; write a name such as SIGTERM, or a number from 1 to 64")]
pub struct UnknownSignal(String);

/// The number of a signal given as `SIGTERM`, `term`, `15` or `SIGRTMIN+3`.
///
/// # Errors
/// If there is no such signal.
pub fn parse_signal(text: &str) -> Result<i32, UnknownSignal> {
    let unknown = || UnknownSignal(text.chars().take(40).collect());
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse::<i32>().ok() };
    let real_time = if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest.strip_prefix('+').unwrap_or(rest)).map(|n| libc::SIGRTMIN() + n)
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        offset(rest.strip_prefix('-').unwrap_or(rest)).map(|n| libc::SIGRTMAX() - n)
    } else {
        return format!("SIG{name}").parse::<Signal>().map(|s| s as i32).map_err(|_| unknown());
    };
    real_time.filter(|n| (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(n)).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_understood() {
        for text in ["SIGTERM", "TERM", "term", "sigterm", "15"] {
            assert_eq!(parse_signal(text), Ok(15), "{text}");
        }
        assert_eq!(parse_signal("SIGRTMIN+3"), Ok(libc::SIGRTMIN() + 3));
        assert_eq!(parse_signal("RTMAX-1"), Ok(libc::SIGRTMAX() - 1));
        assert_eq!(parse_signal("RTMIN"), Ok(libc::SIGRTMIN()));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "SIG", "0", "65", "-9", "SIGFOO", "RTMIN+99", "RTMAX+1x"] {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }
}
