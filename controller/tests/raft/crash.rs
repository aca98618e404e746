//! The log loses power, or its disk fails, at every single operation of its life: what was acknowledged
//! is there afterwards, whole and in order, and the log goes on.

use std::collections::BTreeMap;
use std::path::Path;

use wharf_controller::raft::storage::{Batch, Position, SnapshotRecord, encode_entry};
use wharf_controller::raft::{ConfState, Entry, HardState, LogStore, Store, StoreError, join};

use crate::lossy_file::{At, EIO, ENOSPC, Fault, LossyFile, Survival};

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Default)]
struct Contents {
    id: Option<u64>,
    hard_state: HardState,
    compacted: Position,
    entries: BTreeMap<u64, (u64, Vec<u8>)>,
    snapshot: Option<(u64, Vec<u8>)>,
}

impl Contents {
    fn after(&self, batch: &Batch, entries: &[Entry], snapshot: Option<&[u8]>) -> Self {
        let mut next = self.clone();
        if let Some(record) = &batch.snapshot {
            next.snapshot = Some((record.index, snapshot.unwrap().to_vec()));
        }
        if let Some(position) = batch.compact {
            next.compacted = position;
            next.entries.retain(|index, _| !batch.reset && *index > position.index);
        }
        if let Some(first) = entries.first() {
            next.entries.retain(|index, _| *index < first.index);
            next.entries.extend(entries.iter().map(|entry| (entry.index, (entry.term, entry.data.clone()))));
        }
        next.hard_state = batch.hard_state.clone();
        next
    }

    fn read(store: &LogStore) -> Result<(Self, u64), StoreError> {
        let id = store.id()?;
        if id.is_none() {
            return Ok((Self::default(), 0));
        }
        let loaded = store.load(usize::MAX)?;
        let snapshot = match &loaded.snapshot {
            None => None,
            Some(record) => {
                let source = store.open_snapshot(record.slot)?;
                let chunks: Result<Vec<_>, _> = (0..record.chunks).map(|n| source.chunk(n)).collect();
                Some((record.index, chunks?.concat()))
            }
        };
        let entries = loaded.tail.into_iter().map(|entry| (entry.index, (entry.term, entry.data)));
        let contents = Self {
            id,
            hard_state: loaded.hard_state,
            compacted: loaded.compacted,
            entries: entries.collect(),
            snapshot,
        };
        Ok((contents, loaded.incarnation))
    }
}

/// A life of a log, with what it has acknowledged.
struct Life {
    file: LossyFile,
    store: Option<LogStore>,
    made: bool,
    acknowledged: Contents,
    /// What it was about to become.
    attempted: Option<Contents>,
    incarnation: u64,
}

fn open(file: &LossyFile) -> Result<LogStore, StoreError> {
    LogStore::open_on(Path::new("raft.redb"), file.clone())
}

fn entries(indexes: impl IntoIterator<Item = u64>, term: u64, size: usize) -> Vec<Entry> {
    let entry = |index: u64| {
        let data = [index.to_le_bytes(), term.to_le_bytes()].concat().repeat(size / 16 + 1);
        Entry { index, term, data, ..Entry::default() }
    };
    indexes.into_iter().map(entry).collect()
}

impl Life {
    fn on(file: LossyFile) -> Self {
        let acknowledged = Contents::default();
        Self { file, store: None, made: false, acknowledged, attempted: None, incarnation: 0 }
    }

    fn store(&self) -> &LogStore {
        self.store.as_ref().unwrap()
    }

    fn open(&mut self) -> Result<(), StoreError> {
        self.store = None;
        self.store = Some(open(&self.file)?);
        self.made = true;
        Ok(())
    }

    fn load(&mut self) -> Result<(), StoreError> {
        self.incarnation = self.store().load(1 << 20)?.incarnation;
        Ok(())
    }

    fn attempt(
        &mut self,
        next: Contents,
        act: impl FnOnce(&LogStore) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.attempted = Some(next.clone());
        act(self.store())?;
        self.attempted = None;
        self.acknowledged = next;
        Ok(())
    }

    /// Persists steps of (term, commit, entries) together.
    fn persist(&mut self, steps: &[(u64, u64, Vec<Entry>)]) -> Result<(), StoreError> {
        let (mut next, mut batches) = (self.acknowledged.clone(), Vec::new());
        for (term, commit, entries) in steps {
            let batch = Batch {
                hard_state: HardState { term: *term, vote: *term % 3, commit: *commit },
                entries: entries.iter().map(encode_entry).collect(),
                ..Batch::default()
            };
            next = next.after(&batch, entries, None);
            batches.push(batch);
        }
        self.attempt(next, |store| store.persist(&batches))
    }

    fn chunks(&mut self, index: u64, bytes: &[u8]) -> Result<SnapshotRecord, StoreError> {
        let store = self.store();
        let conf_state = ConfState { voters: vec![1], ..ConfState::default() };
        let mut record = SnapshotRecord { slot: store.new_slot(), index, conf_state, ..Default::default() };
        for chunk in bytes.chunks(9_000) {
            store.put_chunk(record.slot, record.chunks, chunk)?;
            record.chunks += 1;
            record.bytes += chunk.len() as u64;
        }
        Ok(record)
    }

    /// Takes a snapshot over: one made here, or the leader's, which starts the log anew.
    fn snapshot(&mut self, at: Position, compact: Position, size: usize) -> Result<(), StoreError> {
        let bytes = at.index.to_le_bytes().repeat(size / 8);
        let record = SnapshotRecord { term: at.term, ..self.chunks(at.index, &bytes)? };
        let reset = !self.acknowledged.entries.contains_key(&at.index);
        let mut hard_state = self.acknowledged.hard_state.clone();
        hard_state.commit = hard_state.commit.max(at.index);
        hard_state.term = hard_state.term.max(at.term);
        let batch =
            Batch { hard_state, snapshot: Some(record), compact: Some(compact), reset, ..Batch::default() };
        let next = self.acknowledged.after(&batch, &[], Some(&bytes));
        self.attempt(next, |store| store.persist(&[batch]))
    }

    /// Everything that a log goes through.
    fn run(&mut self) -> Result<(), StoreError> {
        let place = |index, term| Position { index, term };
        self.open()?;
        let founded = Contents { id: Some(1), ..Contents::default() };
        self.attempt(founded, |store| join(store, 1))?;
        self.load()?;
        self.persist(&[(1, 0, vec![])])?;
        self.persist(&[(1, 0, entries(1..=10, 1, 100))])?;
        self.persist(&[(1, 8, entries(11..=12, 1, 100)), (2, 8, vec![]), (3, 9, entries(13..=20, 3, 50))])?;
        // The next leader has other entries in the last ones' place.
        self.persist(&[(4, 10, entries(15..=16, 4, 300))])?;
        self.persist(&[(5, 10, vec![])])?;
        self.persist(&[(5, 12, entries(17..=30, 5, 1500))])?;
        self.snapshot(place(12, 1), place(10, 1), 10_000)?;
        self.persist(&[(5, 30, entries(31..=33, 5, 30_000))])?;
        // A snapshot that is given up.
        let given_up = self.chunks(30, &[7; 20_000])?;
        self.store().discard(given_up.slot)?;
        self.persist(&[(5, 33, entries([34], 5, 10))])?;
        self.snapshot(place(33, 5), place(30, 5), 20_000)?;
        // The program ends in good order, and starts again.
        self.open()?;
        self.load()?;
        self.persist(&[(6, 34, entries(35..=40, 6, 1000))])?;
        // The leader sends a snapshot from beyond the log.
        self.snapshot(place(100, 7), place(100, 7), 25_000)?;
        self.persist(&[(7, 101, entries(101..=103, 7, 100))])?;
        self.chunks(102, &[9; 10_000])?;
        self.store = None;
        Ok(())
    }

    /// Whether a log on this file is one that `self` may have left, and goes on.
    fn check(&self, image: Vec<u8>) -> Result<(), String> {
        if !self.made {
            // A new log gets its name when it is whole; the next start makes another.
            return Ok(());
        }
        let file = LossyFile::holding(image);
        let store = open(&file).map_err(|error| format!("it doesn't open: {error}"))?;
        let (found, incarnation) = Contents::read(&store).map_err(|error| format!("unreadable: {error}"))?;
        if found != self.acknowledged && Some(&found) != self.attempted.as_ref() {
            return Err(format!("neither what was acknowledged nor what was attempted: {}", brief(&found)));
        }
        if found.id.is_some() && incarnation <= self.incarnation {
            return Err("a start was not counted".to_owned());
        }
        let mut life = Self { store: Some(store), acknowledged: found, ..Self::on(file) };
        life.go_on().map_err(|error| format!("it doesn't go on: {error}"))?;
        life.store = None;
        let store = open(&LossyFile::holding(life.file.after_power_loss(Survival::Nothing)));
        let again = store.and_then(|store| Contents::read(&store));
        match again {
            Ok((contents, _)) if contents == life.acknowledged => Ok(()),
            Ok((contents, _)) => Err(format!("what came later is lost: {}", brief(&contents))),
            Err(error) => Err(format!("the second start fails: {error}")),
        }
    }

    fn go_on(&mut self) -> Result<(), StoreError> {
        if self.acknowledged.id.is_none() {
            let founded = Contents { id: Some(1), ..Contents::default() };
            self.attempt(founded, |store| join(store, 1))?;
        }
        let last = self.acknowledged.entries.keys().next_back().copied();
        let next = last.unwrap_or(self.acknowledged.compacted.index) + 1;
        self.persist(&[(9, next, entries(next..next + 3, 9, 5000))])
    }
}

fn brief(contents: &Contents) -> String {
    let Contents { id, hard_state, compacted, entries, snapshot } = contents;
    let (first, last) = (entries.first_key_value(), entries.last_key_value());
    format!(
        "id {id:?}, {hard_state:?}, after {compacted:?}, entries {:?} to {:?}, snapshot at {:?}",
        first.map(|(index, _)| index),
        last.map(|(index, (term, _))| (index, term)),
        snapshot.as_ref().map(|(index, _)| index)
    )
}

/// How many random outcomes of each crash are looked at: few in a common test run, more with
/// `WHARF_CRASH_OUTCOMES=50`.
fn outcomes() -> u64 {
    std::env::var("WHARF_CRASH_OUTCOMES").map_or(1, |count| count.parse().expect("a number"))
}

fn survivals(seed: u64) -> Vec<Survival> {
    let random = (0..outcomes()).map(|n| Survival::Random(seed << 16 | n));
    [Survival::Nothing, Survival::Everything, Survival::AllButLast, Survival::LastTorn, Survival::OnlyLast]
        .into_iter()
        .chain(random)
        .collect()
}

fn length_of_a_life() -> (u64, u64) {
    let mut life = Life::on(LossyFile::default());
    life.run().unwrap();
    life.check(life.file.after_power_loss(Survival::Nothing)).unwrap();
    (life.file.changes(), life.file.reads())
}

/// Spreads cases over the machine's cores; each gives what it found wrong.
fn find_wrong(
    cases: impl Iterator<Item = u64> + Send,
    check: impl Fn(u64) -> Vec<String> + Sync,
) -> Vec<String> {
    let cases = std::sync::Mutex::new(cases);
    let next = || cases.lock().unwrap().next();
    let worker = || std::iter::from_fn(&next).flat_map(&check).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn a_crash_at_any_write_and_any_sync_loses_nothing_acknowledged() {
    let (changes, _) = length_of_a_life();
    assert!(changes > 100, "{changes} writes and syncs");
    let wrong = find_wrong(0..changes, |at| {
        let mut life = Life::on(LossyFile::default());
        life.file.fail(At::Change(at), Fault::Crash);
        let ended = life.run();
        let mut wrong = Vec::new();
        if ended.is_ok() && life.attempted.is_some() {
            wrong.push(format!("crash at {at}: acknowledged though it failed"));
        }
        for survival in survivals(at) {
            if let Err(error) = life.check(life.file.after_power_loss(survival)) {
                wrong.push(format!("crash at {at}, {survival:?}: {error}"));
            }
        }
        wrong
    });
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_disk_whose_syncs_do_nothing_is_found_out() {
    let (changes, _) = length_of_a_life();
    let lost = find_wrong((0..changes).step_by(9), |at| {
        let mut life = Life::on(LossyFile::with_lying_syncs());
        life.file.fail(At::Change(at), Fault::Crash);
        let _ = life.run();
        let images = survivals(at).into_iter().map(|survival| life.file.after_power_loss(survival));
        images.filter_map(|image| life.check(image).err()).collect()
    });
    assert!(lost.len() > 20, "the checks find what is lost: {lost:?}");
}

/// An operation fails: the store says so, and what is found by the next start, with or without a power
/// loss in between, is right.
#[test]
fn an_error_at_any_operation_is_reported_and_nothing_acknowledged_is_lost() {
    let (changes, reads) = length_of_a_life();
    let faults = [Fault::Once(EIO), Fault::Once(ENOSPC), Fault::Lasting(ENOSPC)];
    let wrong = find_wrong(0..changes + reads, |case| {
        let (at, fault) = match case.checked_sub(changes) {
            None => (At::Change(case), faults[case as usize % faults.len()]),
            Some(read) => (At::Read(read), Fault::Once(EIO)),
        };
        let mut life = Life::on(LossyFile::default());
        life.file.fail(at, fault);
        let mut wrong = Vec::new();
        match life.run() {
            // Some writes only make a later start faster.
            Ok(()) if life.attempted.is_none() => {}
            Ok(()) => wrong.push(format!("{fault:?} at {at:?}: acknowledged though it failed")),
            Err(error) if error.is_disk() => {}
            Err(error) => wrong.push(format!("{fault:?} at {at:?}: a wrong reason: {error}")),
        }
        life.store = None;
        // What a failed read leaves depends on nothing else.
        let losses = [Survival::Nothing, Survival::Random(case)];
        let losses = if matches!(at, At::Change(_)) { losses.as_slice() } else { &[] };
        let image = |survival: &Survival| (format!("{survival:?}"), life.file.after_power_loss(*survival));
        let again = ("started again".to_owned(), life.file.contents());
        for (what, image) in losses.iter().map(image).chain([again]) {
            if let Err(error) = life.check(image) {
                wrong.push(format!("{fault:?} at {at:?}, {what}: {error}"));
            }
        }
        wrong
    });
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// One fsync for what is persisted together, whatever it is.
#[test]
fn a_batch_costs_one_sync() {
    let mut life = Life::on(LossyFile::default());
    life.open().unwrap();
    join(life.store(), 1).unwrap();
    let mut synced = life.file.written_and_synced().1;
    for round in 0..50u64 {
        let first = round * 10 + 1;
        let step = |n: u64| (1, first + n * 2 - 1, entries(first + n * 2..first + n * 2 + 2, 1, 500));
        life.persist(&(0..5).map(step).collect::<Vec<_>>()).unwrap();
        let now = life.file.written_and_synced().1;
        // A file that has to grow is made durable at its new length first.
        assert!(now - synced <= 2, "{} syncs in round {round}", now - synced);
        synced = now;
    }
    let before = life.file.written_and_synced();
    for commit in 1..=100 {
        life.persist(&[(1, 400 + commit, vec![])]).unwrap();
    }
    let after = life.file.written_and_synced();
    assert_eq!(after.1 - before.1, 100, "one sync each");
}
