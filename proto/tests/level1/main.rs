//! What the first level's version wrote is read rightly, and what is written for the first level now is what it can read.
//!
//! `fixtures/level1` was written by that version (commit 6e2e0c5): see its README. The bytes are compared one by one, so
//! a field added to anything in a command or in the state fails here: it must not be written while it is at its default,
//! and may only be used at a higher level (`wharf_cluster::level`).

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod log;

use std::io::Read;
use wharf_cluster::{
    command::{Command, Envelope},
    ids::{ControllerId, Timestamp},
    level::Level,
    state::State,
};
use wharf_proto::codec::{decode_command, decode_snapshot, encode_command, encode_snapshot};

const LOG: &str = include_str!("../fixtures/level1/log.txt");
const SNAPSHOT: &[u8] = include_bytes!("../fixtures/level1/snapshot");

fn entries() -> Vec<Vec<u8>> {
    let byte = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
    LOG.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}

fn encoded(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_snapshot(state, &mut bytes).unwrap();
    bytes
}

/// A snapshot without its compression.
fn plain(snapshot: &[u8]) -> (u8, Vec<u8>) {
    let mut plain = Vec::new();
    zstd::Decoder::new(&snapshot[1..]).unwrap().read_to_end(&mut plain).unwrap();
    (snapshot[0], plain)
}

#[test]
fn every_entry_is_read_as_it_was_meant_and_written_as_it_was() {
    let (entries, meant) = (entries(), log::log());
    assert_eq!(entries.len(), meant.len());
    for (entry, envelope) in entries.iter().zip(meant) {
        assert_eq!(decode_command(entry, Level::FIRST).unwrap(), envelope);
        assert_eq!(encode_command(&envelope), *entry, "{:?} is written otherwise now", envelope.command);
    }
}

#[test]
fn the_log_makes_the_state_that_it_made() {
    let mut state = State::default();
    for entry in entries() {
        let _ = state.execute(&decode_command(&entry, Level::FIRST).unwrap());
    }
    assert_eq!(decode_snapshot(SNAPSHOT, Level::FIRST).unwrap(), state);
    // Not only equal, but the same to whoever wrote it.
    assert!(plain(&encoded(&state)) == plain(SNAPSHOT), "the state is written otherwise now");
    assert_eq!(state.level(), Level::FIRST);
    assert!(state.controllers().all(|controller| controller.votes));
}

#[test]
fn the_fixture_has_every_command_of_its_level() {
    let mut missing: Vec<&str> = NAMES.to_vec();
    for envelope in log::log() {
        assert_eq!(envelope.command.level(), Level::FIRST);
        let shown = format!("{:?}", envelope.command);
        missing.retain(|name| !shown.starts_with(&format!("{name} ")));
    }
    assert_eq!(missing, [""; 0]);
}

/// The commands of the first level.
const NAMES: [&str; 26] = [
    "InitCluster",
    "RotateToken",
    "AddController",
    "SetControllerAddress",
    "RemoveController",
    "ApplyStack",
    "RemoveStack",
    "RemoveService",
    "ScaleServices",
    "RestartService",
    "UndoRollout",
    "RegisterNode",
    "RemoveNode",
    "SetAvailability",
    "SetNodeLabels",
    "DescribeNode",
    "SetNodeStates",
    "ReportTasks",
    "CreateTasks",
    "PlaceTasks",
    "ExplainUnplaced",
    "SetDesired",
    "RemoveTasks",
    "OrphanTasks",
    "SetRollout",
    "ForgetService",
];

#[test]
fn a_state_of_the_first_level_goes_on_at_the_next() {
    let mut state = decode_snapshot(SNAPSHOT, Level::NEWEST).unwrap();
    let mut execute = |command| {
        let envelope = Envelope { at: Timestamp(1), request: None, command };
        state.execute(&decode_command(&encode_command(&envelope), Level::NEWEST).unwrap()).0.unwrap();
    };
    execute(Command::RaiseLevel { to: Level::SECOND });
    execute(Command::SetControllerAddress {
        controller: ControllerId(2),
        name: "c2".to_owned(),
        address: "10.0.0.2:7400".to_owned(),
    });
    execute(Command::SetControllerVotes { controller: ControllerId(2), votes: false });
    let bytes = encoded(&state);
    assert!(decode_snapshot(&*bytes, Level::FIRST).is_err());
    let read = decode_snapshot(&*bytes, Level::SECOND).unwrap();
    assert_eq!(read, state);
    assert_eq!(read.level(), Level::SECOND);
    assert!(!read.controller(ControllerId(2)).unwrap().votes);
}
