//! Things that happened.

use wharf_cluster::state::Record;
use wharf_proto::v1;

/// A record of the state's history.
#[must_use]
pub fn event(record: &Record) -> v1::Event {
    v1::Event {
        sequence: record.sequence,
        at: record.at.0,
        kind: record.kind.to_string(),
        name: record.name.to_string(),
        action: record.action.to_string(),
        message: record.message.to_string(),
    }
}
