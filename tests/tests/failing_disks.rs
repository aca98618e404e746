//! Controllers' disks fill up or rot: who can't write hands over and ends, saying why and what to do; who finds its log
//! damaged doesn't start from it.

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use wharf_tests::{Cluster, Options, wait_for, within};

/// The exit codes that `wharf-controller --help` names.
const DISK: i32 = 74;
const DAMAGED: i32 = 65;

fn folder(cluster: &Cluster, index: usize) -> PathBuf {
    PathBuf::from(cluster.path(&format!("c{}", index + 1)))
}

/// Writes into a file system until nothing more fits.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).expect("a file can be made");
    for size in [1 << 20, 4 << 10, 1] {
        let block = vec![7; size];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }
    path
}

/// Frees less than a twentieth of a disk that was filled.
fn leave_little(filler: &Path) {
    let file = OpenOptions::new().write(true).open(filler).expect("the filler is there");
    let length = file.metadata().expect("it has a length").len();
    file.set_len(length - (3 << 20)).expect("it can be cut");
}

/// A stack that nobody can run, of about 150 KiB, different each time.
fn large_stack(round: usize) -> String {
    let mut yaml = "name: large\nservices:\n".to_owned();
    for service in 0..20 {
        let value = format!("{round}-{service}-").repeat(1000);
        writeln!(yaml, "  s{service}:\n    image: nothing:1\n    environment: {{ FILLER: \"{value}\" }}")
            .expect("a string grows");
        yaml.push_str("    deploy: { replicas: 0 }\n");
    }
    yaml
}

fn apply(cluster: &Cluster, round: usize) -> bool {
    let file = cluster.write("large.yaml", &large_stack(round));
    cluster.run(&["apply", "--yes", "--detach", "-f", &file]).status.success()
}

#[test]
fn a_controller_whose_disk_is_full_ends_saying_why_and_comes_back_when_there_is_space() {
    let mut cluster =
        Cluster::with(Options { agents: 0, controller_disk: Some(96 << 20), ..Options::default() });
    let leader = cluster.leader();
    let name = format!("c{}", leader + 1);
    assert!(apply(&cluster, 0), "{}", cluster.output_of(&name));

    let filler = fill(&folder(&cluster, leader));
    let mut round = 0;
    wait_for("the full controller ends", 120, || {
        round += 1;
        assert!(apply(&cluster, round), "the others have space: {}", cluster.output_of(&name));
        cluster.controller_has_ended(leader).then_some(())
    });
    assert_eq!(cluster.controller_exit(leader, 1), DISK);
    let said = cluster.output_of(&name);
    let line = said.lines().find(|line| line.starts_with("Error: ")).expect("it says why");
    let log = folder(&cluster, leader).join("raft.redb");
    assert!(
        line.contains("no space is left for the raft log") && line.contains(log.to_str().unwrap()),
        "{line}"
    );
    assert!(line.contains("free some on its file system, then start this controller again"), "{line}");
    assert!(!said.contains("panicked"), "{said}");

    let second = cluster.leader();
    assert_ne!(second, leader, "another leads");
    assert!(apply(&cluster, round + 1));

    fs::remove_file(filler).expect("the filler can go");
    cluster.start_controller(leader);
    within(
        60,
        "it is back",
        || cluster.controllers(),
        |all| all.len() == 3 && all.iter().all(|one| one.reachable),
    );
    // With one of the others gone, nothing is written without it.
    let third = (0..3).find(|index| ![leader, second].contains(index)).expect("there are three");
    cluster.kill_controller(third);
    wait_for("a write that it has to confirm", 60, || apply(&cluster, round + 2).then_some(()));
}

/// A disk with little space left: who leads lets another lead before it hits the wall.
#[test]
fn a_leader_short_of_space_lets_another_lead() {
    let cluster = Cluster::with(Options { agents: 0, controller_disk: Some(96 << 20), ..Options::default() });
    let leader = cluster.leader();
    let filler = fill(&folder(&cluster, leader));
    leave_little(&filler);
    within(60, "another leads", || cluster.leader(), |now| *now != leader);
    assert!(cluster.output_of(&format!("c{}", leader + 1)).contains("the disk is nearly full"));
    assert!(apply(&cluster, 1), "the new leader has space");
    assert!(cluster.controller(leader).is_some(), "it goes on as a follower");

    // A cluster of one can't be led by another.
    drop(cluster);
    let cluster = Cluster::with(Options {
        controllers: 1,
        agents: 0,
        controller_disk: Some(96 << 20),
        ..Options::default()
    });
    let filler = fill(&folder(&cluster, 0));
    leave_little(&filler);
    let refused = wait_for("a refusal", 60, || {
        let file = cluster.write("large.yaml", &large_stack(2));
        let output = cluster.run(&["apply", "--yes", "--detach", "-f", &file]);
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    assert!(refused.contains("disk is nearly full"), "{refused}");
    assert!(!cluster.controllers().is_empty(), "it still answers");
    fs::remove_file(filler).expect("the filler can go");
    wait_for("changes are taken again", 60, || apply(&cluster, 3).then_some(()));
}

#[test]
fn a_damaged_log_is_refused_with_what_to_do() {
    let mut cluster = Cluster::with(Options { controllers: 1, agents: 0, ..Options::default() });
    assert!(apply(&cluster, 0));
    cluster.kill_controller(0);
    let log = folder(&cluster, 0).join("raft.redb");
    let sound = fs::read(&log).expect("the log is there");
    let said_before = cluster.output_of("c1").len();
    let damaged = |from: usize, every: usize| {
        let file = OpenOptions::new().write(true).open(&log).expect("the log is there");
        for offset in (from..sound.len()).step_by(every) {
            let byte = !sound[offset];
            file.write_all_at(&[byte], offset as u64).expect("it can be written");
        }
    };
    for (from, every) in [(0, 512), (64, 4096), (4200, 4096)] {
        fs::write(&log, &sound).expect("the log can be written");
        damaged(from, every);
        cluster.start_controller(0);
        assert_eq!(cluster.controller_exit(0, 60), DAMAGED, "{}", cluster.output_of("c1"));
        let said = cluster.output_of("c1")[said_before..].to_owned();
        let line = said.lines().rfind(|line| line.starts_with("Error: ")).expect("it says why");
        assert!(line.contains("the raft log is corrupted"), "{line}");
        assert!(line.contains(log.to_str().expect("paths are text")), "{line}");
        assert!(line.contains("wharf controller rm") && line.contains("backup"), "{line}");
    }
    fs::write(&log, &sound).expect("the log can be written");
    cluster.start_controller(0);
    wait_for("it runs on the sound log", 60, || apply(&cluster, 1).then_some(()));
}
