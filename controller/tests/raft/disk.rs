//! The log on a real disk: what is read back, what is found damaged, what becomes of space.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use wharf_controller::raft::storage::{
    Batch, CHUNK_BYTES, Position, SnapshotRecord, encode_entry, read_snapshot, write_snapshot,
};
use wharf_controller::raft::{ConfState, Entry, HardState, LogStore, Store, StoreError, bootstrap, join};

use crate::lossy_file::LossyFile;

fn entry(index: u64, term: u64, size: usize) -> Entry {
    Entry { index, term, data: vec![index as u8; size], ..Entry::default() }
}

fn batch(term: u64, commit: u64, entries: impl IntoIterator<Item = Entry>) -> Batch {
    let entries = entries.into_iter().map(|entry| encode_entry(&entry)).collect();
    Batch { hard_state: HardState { term, vote: 1, commit }, entries, ..Batch::default() }
}

fn joined(path: &Path) -> LogStore {
    let store = LogStore::open(path).unwrap();
    join(&store, 1).unwrap();
    store
}

fn put_snapshot(store: &LogStore, index: u64, bytes: &[u8]) -> SnapshotRecord {
    let conf_state = ConfState { voters: vec![1], ..ConfState::default() };
    write_snapshot(store, Position { index, term: 1 }, conf_state, |to| to.write_all(bytes)).unwrap()
}

fn read_whole(store: &LogStore, record: &SnapshotRecord) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    read_snapshot(store, record, |from| from.read_to_end(&mut bytes).map(drop))?.unwrap();
    Ok(bytes)
}

#[test]
fn an_empty_log_says_so_and_takes_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    let store = LogStore::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(store.id().unwrap(), None);
    assert!(matches!(store.load(1 << 20), Err(StoreError::Empty)));
    bootstrap(&store, 7, b"here").unwrap();
    assert_eq!(store.id().unwrap(), Some(7));
    assert!(matches!(bootstrap(&store, 8, b""), Err(StoreError::NotEmpty(7))));
    assert!(matches!(join(&store, 8), Err(StoreError::NotEmpty(7))));
    assert!(matches!(LogStore::open(&path), Err(StoreError::InUse(_))));
}

#[test]
fn a_log_that_was_never_finished_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("raft.redb.new"), b"half").unwrap();
    let path = dir.path().join("raft.redb");
    joined(&path);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["raft.redb"]);
}

#[test]
fn what_was_persisted_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    let store = joined(&path);
    let first = store.load(1 << 20).unwrap();
    assert_eq!((first.id, first.incarnation, first.last_index), (1, 1, 0));
    store.persist(&[batch(2, 0, (1..=5).map(|i| entry(i, 1, 10))), batch(3, 5, [entry(6, 3, 10)])]).unwrap();
    drop(store);
    let loaded = LogStore::open(&path).unwrap().load(1 << 20).unwrap();
    assert_eq!((loaded.incarnation, loaded.last_index), (2, 6));
    assert_eq!(loaded.hard_state, HardState { term: 3, vote: 1, commit: 5 });
    assert_eq!(loaded.terms, [(1, 1), (6, 3)]);
    assert_eq!(loaded.tail.len(), 6);
}

#[test]
fn conflicting_entries_give_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    let store = joined(&path);
    store.persist(&[batch(1, 2, (1..=9).map(|i| entry(i, 1, 10)))]).unwrap();
    store.persist(&[batch(2, 3, (3..=4).map(|i| entry(i, 2, 20)))]).unwrap();
    let loaded = store.load(1 << 20).unwrap();
    assert_eq!((loaded.last_index, loaded.terms), (4, vec![(1, 1), (3, 2)]));
    assert_eq!(store.entries(2, 5, u64::MAX).unwrap(), [entry(2, 1, 10), entry(3, 2, 20), entry(4, 2, 20)]);
}

#[test]
fn reads_are_bounded_and_only_the_tail_comes_into_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = joined(&dir.path().join("raft.redb"));
    store.persist(&[batch(1, 100, (1..=100).map(|i| entry(i, 1, 1000)))]).unwrap();
    let tail = store.load(10_000).unwrap().tail;
    assert!((5..=10).contains(&tail.len()), "{}", tail.len());
    assert_eq!(tail.last().unwrap().index, 100);
    assert_eq!(store.entries(1, 101, 0).unwrap().len(), 1, "one at least");
    assert_eq!(store.entries(1, 101, 5_100).unwrap().len(), 5);
    assert!(matches!(store.entries(99, 103, u64::MAX), Err(StoreError::Missing(_))));
}

#[test]
fn a_snapshot_replaces_the_one_before_and_the_log_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    let store = joined(&path);
    store.persist(&[batch(1, 20, (1..=20).map(|i| entry(i, 1, 10)))]).unwrap();
    let bytes: Vec<u8> = (0..CHUNK_BYTES * 2 + 100).map(|i| (i % 251) as u8).collect();
    let old = put_snapshot(&store, 10, &bytes);
    assert_eq!(old.chunks, 3);
    let compact = |record: &SnapshotRecord, index| Batch {
        snapshot: Some(record.clone()),
        compact: Some(Position { index, term: 1 }),
        ..batch(1, 20, [])
    };
    store.persist(&[compact(&old, 8)]).unwrap();
    // Somebody is still sending the old one when the next replaces it.
    let pinned = store.open_snapshot(old.slot).unwrap();
    let new = put_snapshot(&store, 20, b"small");
    store.persist(&[compact(&new, 18)]).unwrap();
    assert_eq!(pinned.chunk(2).unwrap(), bytes[CHUNK_BYTES * 2..]);
    drop(pinned);
    assert!(store.open_snapshot(old.slot).unwrap().chunk(0).is_err());
    drop(store);

    let store = LogStore::open(&path).unwrap();
    let loaded = store.load(1 << 20).unwrap();
    assert_eq!(loaded.compacted, Position { index: 18, term: 1 });
    assert_eq!(loaded.tail.iter().map(|entry| entry.index).collect::<Vec<_>>(), [19, 20]);
    assert_eq!(read_whole(&store, &loaded.snapshot.unwrap()).unwrap(), b"small");
    assert!(store.new_slot() > new.slot);
}

#[test]
fn a_snapshot_from_the_leader_starts_the_log_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = joined(&dir.path().join("raft.redb"));
    store.persist(&[batch(1, 3, (1..=20).map(|i| entry(i, 1, 10)))]).unwrap();
    let record = put_snapshot(&store, 10, b"state");
    let install = Batch {
        snapshot: Some(record),
        compact: Some(Position { index: 10, term: 1 }),
        reset: true,
        ..batch(2, 10, [entry(11, 2, 10)])
    };
    store.persist(&[install]).unwrap();
    let loaded = store.load(1 << 20).unwrap();
    assert_eq!((loaded.last_index, loaded.terms), (11, vec![(11, 2)]));
}

#[test]
fn an_unfinished_snapshot_is_gone_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    let store = joined(&path);
    let slot = store.new_slot();
    store.put_chunk(slot, 0, b"half").unwrap();
    store.persist(&[batch(1, 0, [])]).unwrap();
    drop(store);
    let store = LogStore::open(&path).unwrap();
    assert!(store.open_snapshot(slot).unwrap().chunk(0).is_err());
}

#[test]
fn space_comes_back_when_the_log_is_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    let store = joined(&path);
    let size = || fs::metadata(&path).unwrap().len();
    let (mut index, mut peak) = (0, 0);
    for round in 1..=6u64 {
        for _ in 0..20 {
            let entries = (index + 1..=index + 100).map(|i| entry(i, 1, 1000));
            store.persist(&[batch(1, index, entries)]).unwrap();
            index += 100;
        }
        let record = put_snapshot(&store, index, b"state");
        let compact = Some(Position { index: index - 10, term: 1 });
        store.persist(&[Batch { snapshot: Some(record), compact, ..batch(1, index, []) }]).unwrap();
        if round == 1 {
            peak = size();
        }
    }
    assert!(size() <= peak * 2, "12 MB went through a log of 2 MB: {} bytes, {peak} after the first", size());
    assert_eq!(store.load(1 << 20).unwrap().tail.len(), 10);
}

/// Damages every place of the file in turn: each is found when the log is opened or loaded, or does
/// not matter.
#[test]
fn damage_anywhere_is_found_and_never_read_as_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    let store = joined(&path);
    store.persist(&[batch(2, 40, (1..=40).map(|i| entry(i, 2, 300)))]).unwrap();
    let record = put_snapshot(&store, 20, &vec![7; 5000]);
    let compact = Some(Position { index: 15, term: 2 });
    store.persist(&[Batch { snapshot: Some(record), compact, ..batch(2, 40, []) }]).unwrap();
    let good = store.load(1 << 20).unwrap();
    drop(store);
    let copy = dir.path().join("damaged.redb");
    let length = fs::metadata(&path).unwrap().len();
    let (mut found, mut harmless) = (0, 0);
    for offset in (0..length).step_by(509) {
        fs::copy(&path, &copy).unwrap();
        let file = fs::OpenOptions::new().read(true).write(true).open(&copy).unwrap();
        let mut bytes = [0; 16];
        let len = file.read_at(&mut bytes, offset).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
        file.write_all_at(&bytes[..len], offset).unwrap();
        let read = LogStore::open(&copy).and_then(|store| {
            let loaded = store.load(1 << 20)?;
            let snapshot = read_whole(&store, loaded.snapshot.as_ref().unwrap())?;
            Ok((loaded, snapshot))
        });
        match read {
            Err(error) => {
                found += 1;
                assert!(!error.to_string().is_empty());
            }
            Ok((loaded, snapshot)) => {
                harmless += 1;
                assert_eq!(loaded.tail, good.tail, "at {offset}");
                assert_eq!(loaded.hard_state, good.hard_state, "at {offset}");
                assert_eq!(snapshot, vec![7; 5000], "at {offset}");
            }
        }
    }
    assert!(found > 10, "{found} found, {harmless} harmless");
}

#[test]
fn a_truncated_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    let store = joined(&path);
    store.persist(&[batch(2, 40, (1..=400).map(|i| entry(i, 2, 300)))]).unwrap();
    drop(store);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(fs::metadata(&path).unwrap().len() / 2).unwrap();
    assert!(LogStore::open(&path).and_then(|store| store.load(1 << 20)).is_err());
    fs::write(&path, b"this is not a log").unwrap();
    let error = LogStore::open(&path).unwrap_err();
    assert!(error.to_string().contains("wharf controller rm"), "{error}");
}

/// Damage to a log that was not closed in good order. What the last commit alone wrote can't be told from
/// a commit that a crash tore, so the one before it counts then; nothing else is ever read, and what is
/// older than the last commit is never lost without a word.
#[test]
fn damage_after_a_crash_goes_back_by_one_commit_at_most() {
    let file = LossyFile::default();
    let path = Path::new("raft.redb");
    let store = LogStore::open_on(path, file.clone()).unwrap();
    join(&store, 1).unwrap();
    for first in (1..200).step_by(20) {
        store.persist(&[batch(2, first - 1, (first..first + 20).map(|i| entry(i, 2, 300)))]).unwrap();
    }
    let before = store.load(usize::MAX).unwrap();
    store.persist(&[batch(3, 201, (201..=203).map(|i| entry(i, 3, 300)))]).unwrap();
    let image = file.contents();
    let read = |image: Vec<u8>| {
        let store = LogStore::open_on(path, LossyFile::holding(image))?;
        let loaded = store.load(usize::MAX)?;
        Ok::<_, StoreError>((loaded.hard_state, loaded.tail))
    };
    let last = read(image.clone()).unwrap();
    assert_eq!(last.1.len(), 203);
    let (mut refused, mut went_back, mut harmless) = (0, 0, 0);
    for offset in (0..image.len()).step_by(1021) {
        let mut damaged = image.clone();
        damaged[offset..].iter_mut().take(16).for_each(|byte| *byte ^= 0x5a);
        match read(damaged) {
            Err(StoreError::Corrupted(_)) => refused += 1,
            Err(error) => panic!("at {offset}: {error}"),
            Ok(found) if found == last => harmless += 1,
            Ok(found) => {
                assert_eq!(found, (before.hard_state.clone(), before.tail.clone()), "at {offset}");
                went_back += 1;
            }
        }
    }
    assert!(refused > 20 && went_back > 0, "{refused} refused, {went_back} one back, {harmless} harmless");
}
