//! A file in memory that behaves as a disk may when the power goes: what was not synced is there or
//! not, in any combination, whole or in pieces; and that can fail at any operation.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::StorageBackend;

/// What the disk writes at once: of a longer write, any of these may be there without the others.
const SECTOR: u64 = 512;

/// The operation at which something goes wrong, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A write, a sync or a change of the length.
    Change(u64),
    Read(u64),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power goes: this operation and all after it fail.
    Crash,
    /// This operation fails with this error number, and the next ones don't.
    Once(i32),
    /// Changes fail with this error number from now on, until it is repaired.
    Lasting(i32),
}

/// What of the changes that were not synced survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    Nothing,
    Everything,
    /// Only the newest is lost.
    AllButLast,
    /// The newest is cut off in the middle, at no particular place.
    LastTorn,
    /// Only the newest survives.
    OnlyLast,
    /// Each write is lost, whole, or there in some of its sectors.
    Random(u64),
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => write(file, *offset, data),
            Self::Length(length) => file.resize(usize::try_from(*length).unwrap(), 0),
        }
    }
}

fn write(file: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = usize::try_from(offset).unwrap();
    let end = start + data.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[start..end].copy_from_slice(data);
}

#[derive(Debug, Default)]
struct State {
    /// What a power loss can't take.
    durable: Vec<u8>,
    /// What came after.
    pending: Vec<Change>,
    /// What reads see.
    seen: Vec<u8>,
    changes: u64,
    reads: u64,
    writes: u64,
    syncs: u64,
    fault: Option<(At, Fault)>,
    broken: Option<i32>,
    syncs_lie: bool,
    held: bool,
}

impl State {
    /// Counts a change, and fails it if it is its turn.
    fn change(&mut self) -> io::Result<()> {
        let turn = At::Change(self.changes);
        self.changes += 1;
        self.may_fail(turn)?;
        self.broken.map_or(Ok(()), |number| Err(io::Error::from_raw_os_error(number)))
    }

    fn may_fail(&mut self, turn: At) -> io::Result<()> {
        let Some((_, fault)) = self.fault.take_if(|(at, _)| *at == turn) else { return Ok(()) };
        match fault {
            Fault::Crash => self.broken = Some(EIO),
            Fault::Lasting(number) => self.broken = Some(number),
            Fault::Once(number) => return Err(io::Error::from_raw_os_error(number)),
        }
        Ok(())
    }

    fn make(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }
}

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

/// The file. Clones are the same file.
#[derive(Debug, Clone, Default)]
pub struct LossyFile(Arc<(Mutex<State>, Condvar)>);

impl LossyFile {
    /// A file with these contents, all of them durable.
    pub fn holding(contents: Vec<u8>) -> Self {
        let file = Self::default();
        file.state().seen = contents.clone();
        file.state().durable = contents;
        file
    }

    /// A file whose syncs say that they have done what they have not.
    pub fn with_lying_syncs() -> Self {
        let file = Self::default();
        file.state().syncs_lie = true;
        file
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    pub fn fail(&self, at: At, fault: Fault) {
        self.state().fault = Some((at, fault));
    }

    /// From now on every change fails.
    pub fn break_now(&self, number: i32) {
        self.state().broken = Some(number);
    }

    /// The next change fails.
    pub fn fail_next_change(&self, number: i32) {
        let mut state = self.state();
        state.fault = Some((At::Change(state.changes), Fault::Once(number)));
    }

    /// Lasting faults are over.
    pub fn repair(&self) {
        self.state().broken = None;
    }

    /// Whether syncs have to wait: a disk that is as slow as can be.
    pub fn hold(&self, held: bool) {
        self.state().held = held;
        self.0.1.notify_all();
    }

    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// How many writes and syncs there were.
    pub fn written_and_synced(&self) -> (u64, u64) {
        let state = self.state();
        (state.writes, state.syncs)
    }

    /// What a program that starts again sees while the machine goes on.
    pub fn contents(&self) -> Vec<u8> {
        self.state().seen.clone()
    }

    /// What is on the disk after a power loss now.
    pub fn after_power_loss(&self, survival: Survival) -> Vec<u8> {
        let state = self.state();
        let mut file = state.durable.clone();
        let Some((last, before)) = state.pending.split_last() else { return file };
        match survival {
            Survival::Nothing => {}
            Survival::OnlyLast => last.apply(&mut file),
            Survival::Random(seed) => scatter(&state.pending, &mut file, Dice(seed)),
            Survival::Everything | Survival::AllButLast | Survival::LastTorn => {
                before.iter().for_each(|change| change.apply(&mut file));
                match (survival, last) {
                    (Survival::AllButLast, _) => {}
                    (Survival::LastTorn, Change::Write(offset, data)) => {
                        write(&mut file, *offset, &data[..data.len() * 3 / 7]);
                    }
                    _ => last.apply(&mut file),
                }
            }
        }
        file
    }
}

/// Writes are independent of one another; changes of the length are kept in order by the file system's
/// journal, so that the first few of them survive.
fn scatter(pending: &[Change], file: &mut Vec<u8>, mut dice: Dice) {
    let lengths = pending.iter().filter(|change| matches!(change, Change::Length(_))).count() as u64;
    let mut kept_lengths = dice.below(lengths + 1);
    for change in pending {
        match change {
            Change::Length(_) if kept_lengths > 0 => {
                kept_lengths -= 1;
                change.apply(file);
            }
            Change::Length(_) => {}
            Change::Write(offset, data) => match dice.below(3) {
                0 => {}
                1 => change.apply(file),
                _ => {
                    let mut at = 0;
                    while at < data.len() {
                        let here = offset + at as u64;
                        let to_boundary = usize::try_from(SECTOR - here % SECTOR).unwrap();
                        let end = (at + to_boundary).min(data.len());
                        if dice.below(2) == 0 {
                            write(file, here, &data[at..end]);
                        }
                        at = end;
                    }
                }
            },
        }
    }
}

/// Random numbers that are the same each time (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

impl StorageBackend for LossyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        let turn = At::Read(state.reads);
        state.reads += 1;
        state.may_fail(turn)?;
        let start = usize::try_from(offset).unwrap();
        let found = state.seen.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        let result = state.change();
        if result.is_ok() {
            state.make(Change::Length(len));
        }
        result
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.1.wait_while(self.state(), |state| state.held).unwrap();
        state.change()?;
        state.syncs += 1;
        if !state.syncs_lie {
            let pending = std::mem::take(&mut state.pending);
            pending.iter().for_each(|change| change.apply(&mut state.durable));
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let working = state.broken.is_none();
        let result = state.change();
        state.writes += 1;
        match &result {
            Ok(()) => state.make(Change::Write(offset, data.to_vec())),
            // Some of it may have got through.
            Err(_) if working => state.make(Change::Write(offset, data[..data.len() / 2].to_vec())),
            Err(_) => {}
        }
        result
    }
}
