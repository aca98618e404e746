//! Why a call to a peer failed, in words that say more than "transport error".

use std::error::Error;
use tonic::Status;

/// What the peer said, or what broke on the way to it.
pub(super) fn reason(status: &Status) -> String {
    if let Some(reason) = wharf_identity::explain(status) {
        return reason;
    }
    let mut cause: &dyn Error = status;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // A status without a source is the peer's own word.
    if status.source().is_some() { cause.to_string() } else { status.message().to_owned() }
}
