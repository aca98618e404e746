//! The encoding of log entries and snapshots: a format byte, then `MessagePack` with named fields, so that a field added
//! later is a default to an older reader and a default from an older writer. Snapshots are compressed.

use serde::{Serialize, de::DeserializeOwned};
use std::io::Read;
use thiserror::Error;
use wharf_cluster::{command::Envelope, state::State};

/// Named `MessagePack`.
const COMMAND_FORMAT: u8 = 1;
/// Named `MessagePack`, zstd.
const SNAPSHOT_FORMAT: u8 = 1;
/// Fast, and a third of the size.
const COMPRESSION_LEVEL: i32 = 1;

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
    /// The compression is damaged.
    #[error("damaged compression")]
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

/// The whole state, for a snapshot or a backup.
#[must_use]
pub fn encode_snapshot(state: &State) -> Vec<u8> {
    let mut bytes = vec![SNAPSHOT_FORMAT];
    let mut encoder =
        zstd::Encoder::new(&mut bytes, COMPRESSION_LEVEL).expect("level 1 exists, and memory doesn't fail");
    rmp_serde::encode::write_named(&mut encoder, state).expect("every type of the state can be encoded");
    encoder.finish().expect("writing to memory doesn't fail");
    bytes
}

/// The state that [`encode_snapshot`] wrote.
///
/// # Errors
/// When the bytes are damaged or of a newer format.
pub fn decode_snapshot(bytes: &[u8]) -> Result<State, CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Empty),
        Some((&SNAPSHOT_FORMAT, rest)) => {
            let mut decoder = zstd::Decoder::new(rest).map_err(CodecError::Compression)?;
            let mut plain = Vec::new();
            decoder.read_to_end(&mut plain).map_err(CodecError::Compression)?;
            read(&plain)
        }
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
        model::{JoinRole, NodeDescription, ServiceSpec, StackSpec},
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
    fn snapshots_survive_their_encoding() {
        let mut state = State::default();
        let tokens = [(JoinRole::Agent, "secret".to_owned())].into();
        let init = Command::InitCluster { id: "c".into(), ca_cert: "a".into(), ca_key: "b".into(), tokens };
        state.execute(&envelope(1, init)).0.unwrap();
        let description = NodeDescription { hostname: "one".to_owned(), ..NodeDescription::default() };
        state.execute(&envelope(2, Command::RegisterNode { description })).0.unwrap();
        assert_eq!(decode_snapshot(&encode_snapshot(&state)).unwrap(), state);
    }

    #[test]
    fn damage_is_an_error() {
        assert!(matches!(decode_command(&[]), Err(CodecError::Empty)));
        assert!(matches!(decode_command(&[9, 1]), Err(CodecError::UnknownFormat(9))));
        assert!(matches!(decode_command(&[1, 0xc1]), Err(CodecError::Damaged(_))));
        assert!(decode_snapshot(&[1, 2, 3]).is_err());
        let whole = encode_snapshot(&State::default());
        assert!(decode_snapshot(&whole[..whole.len() - 3]).is_err());
    }
}
