//! The encoding of log entries and snapshots: a format byte, then `MessagePack` with named fields, so that a field added
//! later is a default to an older reader and a default from an older writer. Snapshots are compressed.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use wharf_cluster::command::Envelope;

mod snapshot;

pub(crate) use snapshot::decode_within;
pub use snapshot::{SnapshotFormat, decode_snapshot, encode_snapshot};

/// Named `MessagePack`.
const COMMAND_FORMAT: u8 = 1;

/// Why bytes are not what they should be.
#[derive(Debug, Error)]
pub enum CodecError {
    /// There is nothing.
    #[error("empty input")]
    Empty,
    /// It was written by a newer version.
    #[error("format {0} is not known to this version; upgrade this controller to the version that wrote it")]
    UnknownFormat(u8),
    /// The bytes are damaged.
    #[error("damaged encoding")]
    Damaged(#[source] rmp_serde::decode::Error),
    /// The stream can't be read, or is damaged.
    #[error("damaged or unreadable stream")]
    Compression(#[source] std::io::Error),
}

/// A command as it stands in Raft's log.
#[must_use]
pub fn encode_command(envelope: &Envelope) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(COMMAND_FORMAT);
    write(&mut bytes, envelope);
    bytes
}

/// The command that [`encode_command`] wrote.
///
/// # Errors
/// When the bytes are damaged or of a newer format.
pub fn decode_command(bytes: &[u8]) -> Result<Envelope, CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Empty),
        Some((&COMMAND_FORMAT, rest)) => read(rest),
        Some((format, _)) => Err(CodecError::UnknownFormat(*format)),
    }
}

fn write(bytes: &mut Vec<u8>, value: &impl Serialize) {
    rmp_serde::encode::write_named(bytes, value)
        .expect("every command can be encoded, and writing to memory doesn't fail");
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    rmp_serde::from_slice(bytes).map_err(CodecError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_cluster::{
        command::Command,
        ids::{RequestId, Timestamp},
        model::{NodeDescription, ServiceSpec, StackSpec},
    };

    fn envelope(request: u128, command: Command) -> Envelope {
        Envelope { at: Timestamp(7), request: Some(RequestId(request)), command }
    }

    #[test]
    fn commands_survive_their_encoding() {
        let spec = StackSpec {
            name: "shop".to_owned(),
            services: [("web".to_owned(), ServiceSpec::default())].into(),
            ..StackSpec::default()
        };
        for command in [
            Command::ApplyStack { spec, expected_version: Some(3) },
            Command::RegisterNode { description: NodeDescription::default() },
            Command::RemoveTasks { tasks: vec![] },
        ] {
            let envelope = envelope(u128::MAX - 5, command);
            assert_eq!(decode_command(&encode_command(&envelope)).unwrap(), envelope);
        }
    }

    #[test]
    fn damage_is_an_error() {
        assert!(matches!(decode_command(&[]), Err(CodecError::Empty)));
        assert!(matches!(decode_command(&[9, 1]), Err(CodecError::UnknownFormat(9))));
        assert!(matches!(decode_command(&[1, 0xc1]), Err(CodecError::Damaged(_))));
    }
}
