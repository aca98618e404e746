//! The encoding of log entries and snapshots: the level that a reader must know (one byte), then `MessagePack` with named
//! fields. A field that a reader doesn't know is ignored, one that a writer didn't know is a default: so what is written
//! for a level may only use what that level means.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use wharf_cluster::{command::Envelope, level::Level};

mod snapshot;

pub(crate) use snapshot::decode_within;
pub use snapshot::{decode_snapshot, encode_snapshot};

/// Why bytes are not what they should be.
#[derive(Debug, Error)]
pub enum CodecError {
    /// There is nothing.
    #[error("empty input")]
    Empty,
    /// It was written for controllers that know more.
    #[error(
        "it needs a controller that knows level {needed}, and this one knows no more than level {known}: upgrade \
         wharf-controller here (or raise its --max-level) and start it again; its data is as it was"
    )]
    TooNew {
        /// The level it is written for.
        needed: Level,
        /// The most that is known here.
        known: Level,
    },
    /// The bytes are damaged.
    #[error("damaged encoding")]
    Damaged(#[source] rmp_serde::decode::Error),
    /// The stream can't be read, or is damaged.
    #[error("damaged or unreadable stream")]
    Compression(#[source] std::io::Error),
}

/// A command as it stands in Raft's log, for those who know its level.
#[must_use]
pub fn encode_command(envelope: &Envelope) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(envelope.command.level().0);
    write(&mut bytes, envelope);
    bytes
}

/// The command that [`encode_command`] wrote, if whoever knows `known` can read it.
///
/// # Errors
/// When the bytes are damaged or of a higher level.
pub fn decode_command(bytes: &[u8], known: Level) -> Result<Envelope, CodecError> {
    read(readable(bytes, known)?)
}

/// What follows the level, if that is known.
fn readable(bytes: &[u8], known: Level) -> Result<&[u8], CodecError> {
    let (level, rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    check(Level(*level), known)?;
    Ok(rest)
}

fn check(needed: Level, known: Level) -> Result<(), CodecError> {
    if needed > known { Err(CodecError::TooNew { needed, known }) } else { Ok(()) }
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
            assert_eq!(decode_command(&encode_command(&envelope), Level::FIRST).unwrap(), envelope);
        }
    }

    #[test]
    fn a_command_is_read_by_those_who_know_its_level() {
        let bytes = encode_command(&envelope(1, Command::RaiseLevel { to: Level(2) }));
        assert!(decode_command(&bytes, Level(2)).is_ok());
        assert!(decode_command(&bytes, Level(3)).is_ok());
        let refused = decode_command(&bytes, Level(1)).unwrap_err();
        assert!(matches!(refused, CodecError::TooNew { needed: Level(2), known: Level(1) }), "{refused}");
    }

    #[test]
    fn damage_is_an_error() {
        let decode = |bytes| decode_command(bytes, Level::NEWEST);
        assert!(matches!(decode(&[]), Err(CodecError::Empty)));
        assert!(matches!(decode(&[9, 1]), Err(CodecError::TooNew { needed: Level(9), .. })));
        assert!(matches!(decode(&[1, 0xc1]), Err(CodecError::Damaged(_))));
    }
}
