//! The way of a write to the disk, as strace sees it: what is acknowledged was flushed before, once for all that waited.

use nix::sys::signal::Signal;
use std::time::{SystemTime, UNIX_EPOCH};
use wharf_tests::{
    Cluster, Options, Strace, Syscall, linear,
    linear::{Call, Client, Outcome, Reading, Route},
};

/// Answers and requests are longer than this; what HTTP/2 says about itself (pings, windows, settings) is shorter, with
/// TLS around it.
const SMALL: i64 = 50;

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(now.as_nanos()).expect("it is before 2554")
}

fn controllers(count: u8) -> Cluster {
    Cluster::with(Options { controllers: count, agents: 0, ..Options::default() })
}

/// The file that holds a controller's log.
fn log_file(cluster: &Cluster, index: usize) -> String {
    let folder =
        std::fs::canonicalize(cluster.path(&format!("c{}", index + 1))).expect("a controller has data");
    folder.join("raft.redb").to_str().expect("temporary paths are text").to_owned()
}

fn attach(cluster: &Cluster, index: usize, inject: Option<&str>) -> Strace {
    let process = cluster.controller(index).expect("the controller runs");
    Strace::attach(cluster.controller_host(index), process.pid(), inject)
}

/// `clients` clients of one connection make `writes` writes each through controller `at`, one after another; gives from
/// when to when each of the writes went on.
fn write(cluster: &Cluster, at: usize, clients: usize, writes: usize) -> Vec<(u64, u64)> {
    let context = linear::context(cluster);
    let one = move |mut client: Client, number: usize| async move {
        let key = format!("disk-{number}");
        let mut times = Vec::new();
        for value in 1..=writes as u64 {
            let start = now();
            let (outcome, _) = client.call(&key, Call::Write { value }, Reading::Linearizable).await;
            assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
            times.push((start, now()));
        }
        times
    };
    let all = async move {
        let mut client = Client::new(&context, Route::Pinned(at));
        // Opens the connection.
        client.call("disk-0", Call::Read, Reading::Linearizable).await;
        let clients = (0..clients).map(|number| one(client.clone(), number));
        futures::future::join_all(clients).await.concat()
    };
    cluster.client_host().spawn(all).join().expect("the clients run to their end")
}

fn flushes<'a>(calls: &'a [Syscall], file: &'a str, times: &[(u64, u64)]) -> Vec<&'a Syscall> {
    let from = times.iter().map(|(start, _)| *start).min().unwrap_or(0);
    let to = times.iter().map(|(_, end)| *end).max().unwrap_or(0);
    calls.iter().filter(|call| call.flushes(file) && call.start >= from && call.end <= to).collect()
}

/// When the request of a write was received and its answer sent, by the controller that `calls` are of.
fn request_and_answer(calls: &[Syscall], client: &str, (start, end): (u64, u64)) -> (u64, u64) {
    // The client may have an answer, and ask the next thing, before strace has noted that the answer was sent.
    let answer = calls
        .iter()
        .find(|call| call.result > SMALL && call.sends_to(client) && (start..=end).contains(&call.start))
        .expect("the answer was sent");
    let request = calls
        .iter()
        .filter(|call| call.result > SMALL && call.receives_from(client))
        .rfind(|call| call.end >= start && call.end <= answer.start)
        .expect("the request was received before");
    (request.end, answer.start)
}

#[test]
fn every_acknowledgement_follows_a_flush_and_one_flush_serves_a_batch() {
    const WRITES: usize = 100;
    const CLIENTS: usize = 256;
    const EACH: usize = 8;
    let cluster = controllers(1);
    let file = log_file(&cluster, 0);

    let strace = attach(&cluster, 0, None);
    let times = write(&cluster, 0, 1, WRITES);
    let calls = strace.stop();
    for (number, time) in times.iter().enumerate() {
        let (request, answer) = request_and_answer(&calls, &cluster.client_host().address, *time);
        let flushed =
            calls.iter().any(|call| call.flushes(&file) && call.start >= request && call.end <= answer);
        assert!(
            flushed,
            "write {number} was acknowledged without a flush between its request and its answer"
        );
    }
    let alone = flushes(&calls, &file, &times).len();
    println!("{WRITES} writes one after another: {alone} flushes");

    // A disk that takes a while: what is asked meanwhile waits for one flush together.
    let strace = attach(&cluster, 0, Some("fdatasync,fsync:delay_enter=20000"));
    let times = write(&cluster, 0, CLIENTS, EACH);
    let calls = strace.stop();
    let together = flushes(&calls, &file, &times).len();
    let writes = times.len();
    println!("{writes} writes of {CLIENTS} clients at once: {together} flushes");

    // A leader's own commands are written too, now and then.
    assert!(alone <= WRITES + WRITES / 10, "one flush a write: {alone} for {WRITES} writes");
    assert!(together * 4 <= writes, "one flush for all that wait: {together} for {writes} writes");
}

#[test]
fn a_follower_answers_after_its_own_flush() {
    const WRITES: usize = 20;
    let cluster = controllers(3);
    for offset in [1, 2] {
        let leader = cluster.leader();
        let (follower, silent) = ((leader + offset) % 3, (leader + 3 - offset) % 3);
        // With the third one silent, this follower's word is needed for every write. Its disk is slow: an answer that
        // didn't wait for it would come long before.
        let frozen = cluster.controller(silent).expect("the controller runs");
        frozen.signal(Signal::SIGSTOP);
        let there = attach(&cluster, follower, Some("fdatasync,fsync:delay_enter=20000"));
        let here = attach(&cluster, leader, None);
        let times = write(&cluster, leader, 1, WRITES);
        let (here, there) = (here.stop(), there.stop());
        frozen.signal(Signal::SIGCONT);
        for (number, time) in times.iter().enumerate() {
            let (request, answer) = request_and_answer(&here, &cluster.client_host().address, *time);
            for (who, calls) in [(leader, &here), (follower, &there)] {
                let file = log_file(&cluster, who);
                let flushed = calls
                    .iter()
                    .any(|call| call.flushes(&file) && call.start >= request && call.end <= answer);
                assert!(
                    flushed,
                    "write {number} was acknowledged before c{} (leader c{}) had flushed it",
                    who + 1,
                    leader + 1
                );
            }
        }
        let file = log_file(&cluster, follower);
        println!(
            "{WRITES} writes: {} flushes of follower c{}",
            flushes(&there, &file, &times).len(),
            follower + 1
        );
    }
}
