//! The encoding of the whole state, for snapshots and backups: the level that a reader must know, which is the state's
//! (one byte), then a zstd stream. It is written and read piece by piece, in memory that does not grow with the state.
//!
//! * at level 1: all of it as one structure of lists
//! * from level 2 on: a [`Header`], then the facts one by one, each behind its length (four bytes, little endian)

use super::{CodecError, check};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use wharf_cluster::{
    level::Level,
    state::{Fact, State},
};

/// Fast, and a third of the size.
const COMPRESSION_LEVEL: i32 = 1;
/// What is read ahead of the decoder.
const READ_AHEAD: usize = 128 << 10;
/// The largest fact that is believed.
const MAX_FACT: usize = 64 << 20;

/// What stands before the facts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Header {
    /// How many facts follow.
    facts: u64,
}

/// Writes the whole state to `to`, for those who know its level.
///
/// # Errors
/// When `to` can't be written.
pub fn encode_snapshot(state: &State, mut to: impl Write) -> io::Result<()> {
    to.write_all(&[state.level().0])?;
    let mut stream = zstd::Encoder::new(to, COMPRESSION_LEVEL)?;
    stream.include_checksum(true)?;
    if state.level().is_first() {
        rmp_serde::encode::write_named(&mut stream, state).map_err(encoding_failed)?;
    } else {
        let mut buffer = Vec::new();
        write_part(&mut stream, &mut buffer, &Header { facts: state.fact_count() as u64 })?;
        for fact in state.facts() {
            write_part(&mut stream, &mut buffer, &fact)?;
        }
    }
    stream.finish()?.flush()
}

fn write_part(to: &mut impl Write, buffer: &mut Vec<u8>, part: &impl Serialize) -> io::Result<()> {
    buffer.clear();
    rmp_serde::encode::write_named(buffer, part).map_err(encoding_failed)?;
    let length = u32::try_from(buffer.len()).map_err(|_| io::Error::other("a part is larger than 4 GiB"))?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(buffer)
}

/// The reason of a write that failed is the writer's, if it has one.
fn encoding_failed(error: rmp_serde::encode::Error) -> io::Error {
    use rmp_serde::encode::Error;
    match error {
        Error::InvalidValueWrite(source) => source.into(),
        other => io::Error::other(other),
    }
}

/// The state that [`encode_snapshot`] wrote, if whoever knows `known` can read it. Reads `from` to its end.
///
/// # Errors
/// When the bytes can't be read, are damaged, too few or too many, or are of a higher level.
pub fn decode_snapshot(from: impl Read, known: Level) -> Result<State, CodecError> {
    decode_within(from, known, u64::MAX)
}

/// The same of a source that nothing is known of: one that unpacks to more than `most` bytes counts as damaged.
pub(crate) fn decode_within(mut from: impl Read, known: Level, most: u64) -> Result<State, CodecError> {
    let mut level = [0];
    if from.read(&mut level).map_err(CodecError::Compression)? == 0 {
        return Err(CodecError::Empty);
    }
    let level = Level(level[0]);
    check(level, known)?;
    let stream = zstd::Decoder::new(from).map_err(CodecError::Compression)?;
    let mut stream = BufReader::with_capacity(READ_AHEAD, stream.take(most));
    let state = if level <= Level::FIRST {
        rmp_serde::from_read(&mut stream).map_err(decoding_failed)?
    } else {
        read_facts(&mut stream)?
    };
    // To the end: only there does the stream's checksum stand.
    if !stream.fill_buf().map_err(CodecError::Compression)?.is_empty() {
        return Err(CodecError::Compression(io::Error::other("there is more than there should be")));
    }
    Ok(state)
}

fn read_facts(from: &mut impl Read) -> Result<State, CodecError> {
    let mut buffer = Vec::new();
    let header: Header = read_part(from, &mut buffer)?;
    let mut state = State::default();
    for _ in 0..header.facts {
        state.learn(read_part::<Fact>(from, &mut buffer)?);
    }
    Ok(state)
}

fn read_part<T: for<'de> Deserialize<'de>>(
    from: &mut impl Read,
    buffer: &mut Vec<u8>,
) -> Result<T, CodecError> {
    let mut length = [0; 4];
    from.read_exact(&mut length).map_err(CodecError::Compression)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FACT {
        let what = format!("a part of {length} bytes is not to be believed");
        return Err(CodecError::Compression(io::Error::new(io::ErrorKind::InvalidData, what)));
    }
    buffer.clear();
    let read = from.take(length as u64).read_to_end(buffer).map_err(CodecError::Compression)?;
    if read < length {
        return Err(CodecError::Compression(io::ErrorKind::UnexpectedEof.into()));
    }
    rmp_serde::from_slice(buffer).map_err(CodecError::Damaged)
}

/// The reason of a read that failed is the reader's, if it has one.
fn decoding_failed(error: rmp_serde::decode::Error) -> CodecError {
    use rmp_serde::decode::Error;
    match error {
        Error::InvalidMarkerRead(source) | Error::InvalidDataRead(source) => CodecError::Compression(source),
        other => CodecError::Damaged(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_cluster::{
        command::{Command, Envelope, NewTask},
        ids::{RequestId, ServiceId, Timestamp},
        model::{DesiredState, JoinRole, NodeDescription, ServiceSpec, Slot, StackSpec},
    };

    fn state() -> State {
        let mut state = State::default();
        let mut request = 0;
        let mut run = |command| {
            request += 1;
            let envelope = Envelope { at: Timestamp(7), request: Some(RequestId(request)), command };
            state.execute(&envelope).0.unwrap();
        };
        let tokens = [(JoinRole::Agent, "secret".to_owned())].into();
        run(Command::InitCluster { id: "c".into(), ca_cert: "a".into(), ca_key: "b".into(), tokens });
        let description = NodeDescription { hostname: "one".to_owned(), ..NodeDescription::default() };
        run(Command::RegisterNode { description });
        let services = [("web".to_owned(), ServiceSpec::default())].into();
        let spec = StackSpec { name: "shop".to_owned(), services, ..StackSpec::default() };
        run(Command::ApplyStack { spec, expected_version: None });
        let service = ServiceId(1);
        let task = |number| NewTask {
            service,
            slot: Slot::Replica(number),
            template: 1,
            desired: DesiredState::Running,
            hold_until: None,
        };
        run(Command::CreateTasks { tasks: (1..5000).map(task).collect() });
        assert_eq!(state.task_count(), 4999);
        state
    }

    const LEVELS: [Level; 2] = [Level::FIRST, Level::SECOND];

    fn at(level: Level, mut state: State) -> State {
        let raise = Envelope { at: Timestamp(7), request: None, command: Command::RaiseLevel { to: level } };
        state.execute(&raise).0.unwrap();
        state
    }

    fn encoded(state: &State) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_snapshot(state, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_state_survives_at_every_level() {
        for level in LEVELS {
            for state in [at(level, state()), at(level, State::default())] {
                let bytes = encoded(&state);
                assert_eq!(decode_snapshot(&*bytes, level).unwrap(), state);
                assert_eq!(decode_snapshot(&*bytes, Level(9)).unwrap(), state);
            }
        }
        let raised = encoded(&at(Level::SECOND, State::default()));
        assert!(matches!(decode_snapshot(&*raised, Level::FIRST), Err(CodecError::TooNew { .. })));
    }

    #[test]
    fn damage_is_an_error() {
        let decode = |bytes: &[u8]| decode_snapshot(bytes, Level::NEWEST);
        assert!(matches!(decode(&b""[..]), Err(CodecError::Empty)));
        assert!(matches!(decode(&[9, 1][..]), Err(CodecError::TooNew { needed: Level(9), .. })));
        assert!(decode(&[1, 2, 3][..]).is_err());
        for level in LEVELS {
            let whole = encoded(&at(level, state()));
            for length in [1, 2, 50, whole.len() / 2, whole.len() - 1] {
                assert!(decode(&whole[..length]).is_err(), "level {level} cut to {length}");
            }
            for place in (1..whole.len()).step_by(whole.len() / 40) {
                let mut damaged = whole.clone();
                damaged[place] ^= 0x10;
                assert!(decode(&damaged).is_err(), "level {level} with another byte {place}");
            }
        }
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        for level in LEVELS {
            let whole = encoded(&at(level, state()));
            assert!(decode_within(&*whole, level, 100 << 10).is_err());
            assert!(decode_within(&*whole, level, 100 << 20).is_ok());
        }
    }

    #[test]
    fn a_writer_that_fails_says_why() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for level in LEVELS {
            let error = encode_snapshot(&at(level, state()), Full).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
