//! A file as a machine without power leaves it: what was not synced is lost, whole or sector by sector, in any order.
//! Databases run on it as on a real file, are cut off at any of its operations, and are opened again on what is left.

use redb::StorageBackend;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A file in memory that loses what was not synced.
#[derive(Clone, Debug, Default)]
pub struct LossyFile(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    /// As programs see it.
    seen: Vec<u8>,
    /// As it was at the last sync.
    synced: Vec<u8>,
    /// What was done since.
    since: Vec<Change>,
    operations: u64,
    /// The power fails at this operation.
    fails_at: Option<u64>,
    /// Syncs say that they did it, and did nothing.
    lies: bool,
}

#[derive(Debug)]
enum Change {
    Length(u64),
    Sectors { offset: u64, bytes: Vec<u8> },
}

impl LossyFile {
    /// Lets the power fail at the operation of this number (from 0): it and all that follow fail.
    pub fn fail_at(&self, operation: u64) {
        self.contents().fails_at = Some(operation);
    }

    /// From now on nothing fails.
    pub fn mend(&self) {
        self.contents().fails_at = None;
    }

    /// Syncs do nothing any more, to show that a test notices.
    pub fn lie(&self) {
        self.contents().lies = true;
    }

    /// How many writes, syncs and changes of length there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.contents().operations
    }

    /// What is on the disk after the power failed: what was synced, and of the rest what `survives` says, asked once
    /// for each change of length and each sector written since.
    pub fn after_power_loss(&self, mut survives: impl FnMut() -> bool) -> LossyFile {
        let contents = self.contents();
        let mut left = contents.synced.clone();
        for change in &contents.since {
            match change {
                Change::Length(length) => {
                    if survives() {
                        left.resize(as_index(*length), 0);
                    }
                }
                Change::Sectors { offset, bytes } => {
                    for (offset, sector) in sectors(as_index(*offset), bytes) {
                        if survives() {
                            overwrite(&mut left, offset, sector);
                        }
                    }
                }
            }
        }
        LossyFile(Arc::new(Mutex::new(Contents { seen: left.clone(), synced: left, ..Contents::default() })))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn operate(&mut self) -> io::Result<()> {
        let fails = self.fails_at.is_some_and(|at| self.operations >= at);
        self.operations += 1;
        if fails { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }
}

/// A write's parts by sector of the disk.
fn sectors(offset: usize, bytes: &[u8]) -> BTreeMap<usize, &[u8]> {
    let mut parts = BTreeMap::new();
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done;
        let length = (SECTOR - at % SECTOR).min(bytes.len() - done);
        parts.insert(at, &bytes[done..done + length]);
        done += length;
    }
    parts
}

fn overwrite(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

fn as_index(offset: u64) -> usize {
    usize::try_from(offset).expect("a file in memory")
}

impl StorageBackend for LossyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.contents();
        let part = as_index(offset)..as_index(offset) + out.len();
        out.copy_from_slice(contents.seen.get(part).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut contents = self.contents();
        contents.operate()?;
        contents.seen.resize(as_index(length), 0);
        contents.since.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut contents = self.contents();
        contents.operate()?;
        if !contents.lies {
            contents.synced = contents.seen.clone();
            contents.since.clear();
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut contents = self.contents();
        let result = contents.operate();
        // What the power failed in the middle of may have got there, too.
        contents.since.push(Change::Sectors { offset, bytes: bytes.to_vec() });
        result?;
        overwrite(&mut contents.seen, as_index(offset), bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &LossyFile) -> Vec<u8> {
        let mut bytes = vec![0; as_index(file.len().unwrap())];
        file.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn only_what_was_synced_is_sure_to_stay() {
        let file = LossyFile::default();
        file.write(0, &[1; 600]).unwrap();
        file.sync_data().unwrap();
        file.write(100, &[2; 1000]).unwrap();
        assert_eq!(read(&file).len(), 1100);
        assert_eq!(read(&file.after_power_loss(|| false)), [1; 600]);
        assert_eq!(read(&file.after_power_loss(|| true)), read(&file));
        let mut turn = false;
        let torn = file.after_power_loss(|| {
            turn = !turn;
            turn
        });
        let expected = [[1; 100].as_slice(), &[2; 412], &[1; 88], &[0; 424], &[2; 76]].concat();
        assert_eq!(read(&torn), expected);
        file.fail_at(3);
        assert!(file.sync_data().is_err());
    }
}
