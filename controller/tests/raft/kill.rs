//! A process killed in the middle of writing keeps what it had acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use wharf_controller::raft::storage::{Batch, encode_entry};
use wharf_controller::raft::{Entry, HardState, LogStore, Store, join};

const CHILD: &str = "WHARF_RAFT_KILL_CHILD";

/// The child: appends entries for ever and prints each index once it is durable.
#[test]
fn child_appends_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let store = LogStore::open(path).unwrap();
    let mut index = store.load(0).unwrap().last_index;
    let mut out = std::io::stdout();
    loop {
        let entries = (index + 1..=index + 3).map(|index| {
            let data = index.to_le_bytes().repeat(50);
            encode_entry(&Entry { index, term: 1, data, ..Entry::default() })
        });
        let hard_state = HardState { term: 1, vote: 1, commit: index };
        store.persist(&[Batch { hard_state, entries: entries.collect(), ..Batch::default() }]).unwrap();
        index += 3;
        // Written past the test harness, which would hold it back.
        writeln!(out, "durable {index}").unwrap();
        out.flush().unwrap();
    }
}

fn run_and_kill(path: &Path, after: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_appends_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let durable = |line: String| line.split("durable ").nth(1).and_then(|index| index.trim().parse().ok());
    let mut last = 0;
    for index in lines.by_ref().map_while(Result::ok).filter_map(durable).take(after) {
        last = index;
    }
    child.kill().unwrap();
    // What it had still printed when the signal came was acknowledged as well.
    for index in lines.map_while(Result::ok).filter_map(durable) {
        last = index;
    }
    child.wait().unwrap();
    last
}

#[test]
fn a_killed_writer_keeps_every_acknowledged_entry() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    join(&LogStore::open(&path).unwrap(), 1).unwrap();
    for round in 0..12 {
        let acknowledged = run_and_kill(&path, 5 + round * 7);
        assert!(acknowledged > 0, "the child wrote nothing");
        let loaded = LogStore::open(&path).unwrap().load(usize::MAX).unwrap();
        assert!(loaded.last_index >= acknowledged, "{} of {acknowledged}", loaded.last_index);
        assert_eq!(loaded.last_index % 3, 0, "a write is there as a whole or not at all");
        for entry in &loaded.tail {
            assert_eq!(entry.data, entry.index.to_le_bytes().repeat(50));
        }
    }
}
