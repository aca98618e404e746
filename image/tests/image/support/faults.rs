//! What the test registry does wrong when told to.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Wrong behaviour for one blob.
#[derive(Clone)]
pub(crate) enum Fault {
    /// One byte is changed.
    Corrupt,
    /// Only so many bytes are sent, as if that were all.
    Short(usize),
    /// The connection breaks after so many bytes; the next request is served well.
    BreakOnce(usize),
    /// As many requests as the number says are answered 503.
    Unavailable(usize),
    /// The answer waits for a permit.
    Hold(Arc<Semaphore>),
    /// Ranges are not understood, and the connection breaks once after so many bytes.
    BreakOnceWithoutRanges(usize),
}

/// Who may come in.
#[derive(Clone)]
pub(crate) enum Gate {
    /// `Authorization: Basic`.
    Basic { username: &'static str, password: &'static str },
    /// A token from `/token`, which wants these.
    Token { username: &'static str, password: &'static str },
}
