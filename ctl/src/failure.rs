//! What went wrong, in words for people, with the exit code that scripts go by.

use std::error::Error as _;
use tonic::{Code, Status};
use wharf_identity::DialError;

/// The thing was tried and failed.
pub const FAILED: u8 = 1;
/// The command makes no sense.
pub const USAGE: u8 = 2;
/// No controller can be reached.
pub const UNREACHABLE: u8 = 3;
/// There is no such thing.
pub const NOT_FOUND: u8 = 4;
/// Somebody else changed it meanwhile.
pub const CONFLICT: u8 = 5;
/// Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Result of a command.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a command ends without success.
#[derive(Debug)]
pub struct Failure {
    /// What to say; empty says nothing more.
    pub message: String,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    pub fn failed(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: FAILED }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: USAGE }
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: NOT_FOUND }
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: CONFLICT }
    }

    pub fn unreachable(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: UNREACHABLE }
    }

    /// Ctrl-C: what was asked of the cluster, if anything, goes on there.
    pub fn interrupted(asked: bool) -> Self {
        let message = if asked {
            "interrupted; what the cluster was asked for goes on (wharf get tasks shows it)"
        } else {
            ""
        };
        Failure { message: message.to_owned(), code: INTERRUPTED }
    }

    /// The reader of our output has gone: nothing is wrong, and there is nobody to tell.
    fn quiet() -> Self {
        Failure { message: String::new(), code: 0 }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let text = wharf_identity::explain(&status).or_else(|| broken(&status));
        let text = text.unwrap_or_else(|| status.message().to_owned());
        let code = match status.code() {
            Code::NotFound => NOT_FOUND,
            Code::Aborted | Code::AlreadyExists => CONFLICT,
            Code::Unavailable => UNREACHABLE,
            Code::InvalidArgument => USAGE,
            _ => FAILED,
        };
        let text =
            if text.is_empty() { format!("the controller answered {:?}", status.code()) } else { text };
        Failure { message: text, code }
    }
}

/// What became of the connection, where a status was made at our end: by its innermost cause, as all others say little.
fn broken(status: &Status) -> Option<String> {
    let causes = std::iter::successors(status.source(), |cause| (*cause).source());
    Some(format!("the connection to the controller broke: {}", causes.last()?))
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        Failure::unreachable(format!(
            "{error}; is a controller running, and is this the right context (wharf context ls)?"
        ))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Failure::quiet()
        } else {
            Failure::failed(error.to_string())
        }
    }
}
