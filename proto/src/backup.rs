//! The file that `wharf backup` writes: what it is, the whole state, and a checksum over all of it.
//!
//! `WHARFBAK`, the format (u32), the header's length (u32), the header (named `MessagePack`), the state as
//! [`encode_snapshot`](crate::codec::encode_snapshot) writes it, that part's length (u64), and the SHA-256 of everything
//! before. Numbers are little endian. The end is what tells a whole file from one that was cut short.

use crate::codec::{CodecError, decode_within};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Seek, SeekFrom, Write};
use thiserror::Error;
use wharf_cluster::{level::Level, state::State};

const MAGIC: &[u8; 8] = b"WHARFBAK";
/// The format that this version writes.
const FORMAT: u32 = 1;
/// Magic, format, and the header's length.
const PREFIX: u64 = 16;
/// The state's length, and the checksum.
const END: u64 = 40;
/// No header is near this.
const MAX_HEADER: u32 = 64 << 10;

/// No state is packed more tightly than by this factor; what unpacks to more is made to fill the memory.
const MAX_RATIO: u64 = 256;
/// Small states may.
const MIN_PLAIN: u64 = 64 << 20;

/// The largest file that is taken: as large as a snapshot may be.
pub const MAX_BACKUP: u64 = 16 << 30;

/// What a backup is, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// The cluster's id.
    pub cluster: String,
    /// When it was taken, in milliseconds since the epoch, by the controller's clock.
    pub taken_at: u64,
    /// The log index that it reflects.
    pub index: u64,
    /// Raft's term at that time.
    pub term: u64,
    /// Version of the controller that wrote it.
    pub version: String,
    /// How many controllers the cluster had.
    pub controllers: u64,
    /// How many nodes it had.
    pub nodes: u64,
    /// How many stacks it had.
    pub stacks: u64,
    /// How many services it had.
    pub services: u64,
    /// How many tasks it had.
    pub tasks: u64,
}

/// Why a file is not a backup that can be used.
#[derive(Debug, Error)]
pub enum BackupError {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is not a Wharf backup")]
    NotABackup,
    /// It was written by a newer version.
    #[error(
        "it has format {0}, and this version knows formats up to {FORMAT}: use the version that wrote it"
    )]
    Format(u32),
    /// Its end is missing, or something follows on it.
    #[error("it is not whole: it was cut short, or changed; use another copy")]
    Incomplete,
    /// Its checksum is another one.
    #[error("it is damaged: its checksum does not fit; use another copy")]
    Damaged,
    /// It is larger than any backup.
    #[error("it is larger than {MAX_BACKUP} bytes")]
    TooLarge,
    /// The checksum fits, but what it holds is no state.
    #[error("what it holds is not a cluster's state: {0}")]
    State(#[from] CodecError),
    /// The checksum fits, but the header makes no sense.
    #[error("its header is damaged")]
    Header,
}

/// Writes a backup. The state's encoding is written through it, then [`BackupWriter::finish`] ends the file.
#[derive(Debug)]
pub struct BackupWriter<W> {
    out: W,
    hash: Sha256,
    body: u64,
}

impl<W: Write> BackupWriter<W> {
    /// Begins a backup.
    ///
    /// # Errors
    /// When `out` can't be written.
    pub fn begin(out: W, header: &Header) -> io::Result<Self> {
        let encoded = rmp_serde::to_vec_named(header).map_err(io::Error::other)?;
        let length = u32::try_from(encoded.len()).ok().filter(|length| *length <= MAX_HEADER);
        let length = length.ok_or_else(|| io::Error::other("the header is too long"))?;
        let mut writer = BackupWriter { out, hash: Sha256::new(), body: 0 };
        for part in [&MAGIC[..], &FORMAT.to_le_bytes(), &length.to_le_bytes(), &encoded] {
            writer.put(part)?;
        }
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When `out` can't be written.
    pub fn finish(mut self) -> io::Result<W> {
        let length = self.body.to_le_bytes();
        self.put(&length)?;
        let sum = self.hash.finalize();
        self.out.write_all(&sum)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for BackupWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes)?;
        self.body += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A backup that is whole: its checksum fits.
#[derive(Debug)]
pub struct Backup<F> {
    /// What it is.
    pub header: Header,
    /// The checksum, which names this backup among all others.
    pub checksum: [u8; 32],
    /// Bytes of the file.
    pub size: u64,
    file: F,
    body: (u64, u64),
}

impl<F: Read + Seek> Backup<F> {
    /// Reads the file from beginning to end, and checks it. Needs little memory, whatever the file is.
    ///
    /// # Errors
    /// When it isn't a whole backup.
    pub fn open(mut file: F) -> Result<Self, BackupError> {
        let size = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut start = Vec::new();
        (&mut file).take(PREFIX).read_to_end(&mut start)?;
        let known = start.len().min(MAGIC.len());
        if size == 0 || start[..known] != MAGIC[..known] {
            return Err(BackupError::NotABackup);
        }
        let (format, length) = match start.split_first_chunk::<8>().map(|(_, rest)| rest) {
            Some(&[a, b, c, d, e, f, g, h]) => {
                (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
            }
            _ => return Err(BackupError::Incomplete),
        };
        if format != FORMAT {
            return Err(BackupError::Format(format));
        }
        if size > MAX_BACKUP {
            return Err(BackupError::TooLarge);
        }
        let body = PREFIX + u64::from(length);
        if length > MAX_HEADER || size < body + END {
            return Err(BackupError::Incomplete);
        }
        let checksum = checked(&mut file, &start, size, body)?;
        file.seek(SeekFrom::Start(PREFIX))?;
        let mut header = Vec::new();
        (&mut file).take(u64::from(length)).read_to_end(&mut header)?;
        let header = rmp_serde::from_slice(&header).map_err(|_| BackupError::Header)?;
        Ok(Backup { header, checksum, size, file, body: (body, size - END - body) })
    }

    /// Reads the state.
    ///
    /// # Errors
    /// When it is none, or of a newer version.
    pub fn state(&mut self) -> Result<State, BackupError> {
        let (start, length) = self.body;
        self.file.seek(SeekFrom::Start(start))?;
        let most = length.saturating_mul(MAX_RATIO).saturating_add(MIN_PLAIN);
        Ok(decode_within((&mut self.file).take(length), Level::NEWEST, most)?)
    }
}

/// The checksum at the file's end, if it is that of the file and the length before it is that of the state.
fn checked(file: &mut impl Read, start: &[u8], size: u64, body: u64) -> Result<[u8; 32], BackupError> {
    let mut hash = Sha256::new();
    hash.update(start);
    let copied = io::copy(&mut file.take(size - END - PREFIX), &mut hash)?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end)?;
    let Some((length, sum)) = end.split_first_chunk::<8>() else { return Err(BackupError::Incomplete) };
    let Ok(sum) = <[u8; 32]>::try_from(sum) else { return Err(BackupError::Incomplete) };
    hash.update(length);
    if copied != size - END - PREFIX || u64::from_le_bytes(*length) != size - END - body {
        return Err(BackupError::Incomplete);
    }
    if hash.finalize()[..] != sum { Err(BackupError::Damaged) } else { Ok(sum) }
}

/// The checksum at the end of a file, unchecked: enough to tell whether it is a certain backup.
///
/// # Errors
/// When the file can't be read, or is too short.
pub fn checksum(mut file: impl Read + Seek) -> io::Result<[u8; 32]> {
    let mut sum = [0; 32];
    file.seek(SeekFrom::End(-32))?;
    file.read_exact(&mut sum)?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode_snapshot;
    use std::io::Cursor;
    use wharf_cluster::{
        command::{Command, Envelope},
        ids::Timestamp,
        model::NodeDescription,
    };

    fn state() -> State {
        let mut state = State::default();
        let command = Command::RegisterNode { description: NodeDescription::default() };
        state.execute(&Envelope { at: Timestamp(1), request: None, command }).0.unwrap();
        state
    }

    fn header() -> Header {
        Header { cluster: "c".to_owned(), index: 7, term: 3, nodes: 1, ..Header::default() }
    }

    fn backup() -> Vec<u8> {
        let mut writer = BackupWriter::begin(Vec::new(), &header()).unwrap();
        encode_snapshot(&state(), &mut writer).unwrap();
        writer.finish().unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Backup<Cursor<&[u8]>>, BackupError> {
        Backup::open(Cursor::new(bytes))
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = backup();
        let mut read = open(&bytes).unwrap();
        assert_eq!((&read.header, read.size), (&header(), bytes.len() as u64));
        assert_eq!(read.state().unwrap(), state());
        assert_eq!(checksum(Cursor::new(&bytes)).unwrap(), read.checksum);
    }

    #[test]
    fn whatever_is_cut_off_or_added_is_noticed() {
        let bytes = backup();
        assert!(matches!(open(&[]), Err(BackupError::NotABackup)));
        for length in 1..bytes.len() {
            assert!(open(&bytes[..length]).is_err(), "{length} of {}", bytes.len());
        }
        assert!(open(&[&bytes[..], b"x"].concat()).is_err());
        assert!(open(&[&bytes[..], &bytes[..]].concat()).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = backup();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&changed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn other_files_and_newer_formats_are_told_apart() {
        assert!(matches!(open(b"PK\x03\x04"), Err(BackupError::NotABackup)));
        assert!(matches!(open(&[0; 4096]), Err(BackupError::NotABackup)));
        let mut newer = backup();
        newer[8] = 9;
        assert!(matches!(open(&newer), Err(BackupError::Format(9))));
        let mut vast = backup();
        vast[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(open(&vast), Err(BackupError::Incomplete)));
        let mut writer = BackupWriter::begin(Vec::new(), &header()).unwrap();
        writer.write_all(b"\x01nonsense").unwrap();
        let hollow = writer.finish().unwrap();
        assert!(matches!(open(&hollow).unwrap().state(), Err(BackupError::State(_))));
    }
}
