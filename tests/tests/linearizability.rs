//! Reads and writes of the API are linearizable, whatever happens to the controllers: nothing acknowledged is lost,
//! nothing happens twice, nobody reads the past.
//!
//! `WHARF_LINEAR_SECONDS` says how long each scenario goes on (20), `WHARF_LINEAR_SEED` which faults it sees (else
//! others each time), `WHARF_HISTORY_DIR` where histories are kept as JSON lines.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wharf_identity::ClientContext;
use wharf_tests::{
    Cluster, Direction, Options, linear,
    linear::{Call, Client, History, Nemesis, Operation, Outcome, Reading, Recorder, Route, Workload},
    wait_for,
};

/// How soon after the last fault is mended a write must be acknowledged.
const RECOVERY: Duration = Duration::from_secs(10);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

fn seed() -> u64 {
    number("WHARF_LINEAR_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    })
}

/// Clients at work while one fault follows another; then everything is mended and must go on, and the history must be
/// linearizable.
fn scenario(name: &str, controllers: u8) {
    let seconds = number("WHARF_LINEAR_SECONDS").unwrap_or(20);
    let seed = seed();
    println!("{name}: WHARF_LINEAR_SEED={seed} WHARF_LINEAR_SECONDS={seconds}");
    let mut cluster = Cluster::with(Options { controllers, agents: 0, ..Options::default() });
    let mut nemesis = Nemesis::new(seed, usize::from(controllers));
    let workload = Workload::start(&cluster, name);
    let recorder = workload.recorder();
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < deadline {
        nemesis.rest();
        let leader = cluster.leader_if_any("2s");
        let began = recorder.now();
        let faults = nemesis.strike(&mut cluster, leader);
        let (from, to) = (Duration::from_nanos(began), Duration::from_nanos(recorder.now()));
        println!("{name}: {:.1} s to {:.1} s: {faults}", from.as_secs_f32(), to.as_secs_f32());
    }
    let mended = recorder.now();
    let all = usize::from(controllers);
    wait_for("a write through every controller", 90, || {
        (workload.acknowledged_since(mended).len() == all).then_some(())
    });
    let history = workload.finish();
    let path = history.keep(name);
    println!("{name}: {}; in {}", history.summary(), path.display());
    let recovery = history.recovery(mended);
    let first = recovery.values().min().copied().expect("every controller took a write");
    println!(
        "{name}: longest time without an acknowledged write {:.2} s; after the last fault the first was \
         acknowledged after {:.2} s, through each controller after {recovery:.2?}",
        history.longest_gap().as_secs_f32(),
        first.as_secs_f32()
    );
    assert_linearizable(&history, name);
    assert!(first <= RECOVERY, "{name}: no write was acknowledged for {first:.2?} after the last fault");
}

fn assert_linearizable(history: &History, name: &str) {
    if let Err(wrong) = linear::judge(history) {
        panic!("{name}: {wrong}");
    }
}

#[test]
fn three_controllers_are_linearizable_under_faults() {
    scenario("three", 3);
}

#[test]
fn five_controllers_are_linearizable_under_faults() {
    scenario("five", 5);
}

/// Every write and read of a story told one after another.
struct Story {
    recorder: Recorder,
    context: ClientContext,
    operations: Vec<Operation>,
}

impl Story {
    /// Makes `call` through controller `controller` until it has an answer.
    async fn tell(&mut self, controller: usize, call: Call, reading: Reading) -> Outcome {
        let client = controller as u64;
        let mut at = Client::new(&self.context, Route::Pinned(controller));
        let start = self.recorder.now();
        let (outcome, controller) = at.call("story", call, reading).await;
        let end = self.recorder.now();
        let key = "story".to_owned();
        self.operations.push(Operation { client, key, call, start, end, outcome, controller });
        outcome
    }
}

/// The proof that the check can fail on a real cluster: a former leader that is cut off answers stale reads from the
/// past, which the checker finds, and gives no answer at all to a read that must not be stale.
#[test]
fn a_stale_read_of_a_former_leader_is_found() {
    let cluster = Cluster::with(Options { controllers: 3, agents: 0, ..Options::default() });
    let former = cluster.leader();
    let other = (former + 1) % 3;
    let context = linear::context(&cluster);
    let story = |operations| Story { recorder: Recorder::start(), context: context.clone(), operations };

    let mut before = story(Vec::new());
    let (before, written) = cluster
        .client_host()
        .spawn(async move {
            let written = before.tell(former, Call::Write { value: 1 }, Reading::Linearizable).await;
            (before, written)
        })
        .join()
        .expect("the client runs");
    assert!(matches!(written, Outcome::Done { .. }), "{written:?}");

    cluster.cut_off(former, Direction::Both, 100);
    let mut after = before;
    let after = cluster
        .client_host()
        .spawn(async move {
            // An election goes on: until it is over there is no answer.
            let mut value = 2;
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let outcome = after.tell(other, Call::Write { value }, Reading::Linearizable).await;
                if matches!(outcome, Outcome::Done { .. }) {
                    break;
                }
                assert!(Instant::now() < deadline, "the other two elect a leader");
                value += 1;
            }
            let fresh = after.tell(former, Call::Read, Reading::Linearizable).await;
            assert_eq!(fresh, Outcome::Failed, "a controller that is cut off has no answer");
            after
        })
        .join()
        .expect("the client runs");
    assert_linearizable(&History::new(after.operations.clone()), "without stale reads");

    let mut stale = after;
    let stale = cluster
        .client_host()
        .spawn(async move {
            let old = stale.tell(former, Call::Read, Reading::Stale).await;
            assert!(matches!(old, Outcome::Read { value: Some(1), .. }), "it knows nothing newer: {old:?}");
            stale
        })
        .join()
        .expect("the client runs");
    let wrong = linear::judge(&History::new(stale.operations)).expect_err("a stale read is not linearizable");
    assert!(wrong.contains("register story is not linearizable"), "{wrong}");
}

/// A link between two controllers is cut, and both reach the third: writes go on, for nobody that hears the leader helps
/// the one that doesn't to be elected.
#[test]
fn one_cut_link_stops_no_writes() {
    let cluster = Cluster::with(Options { controllers: 3, agents: 0, ..Options::default() });
    let leader = cluster.leader();
    let (lonely, third) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.cut_link(leader, lonely);
    let workload = Workload::start(&cluster, "link");
    let recorder = workload.recorder();
    for _ in 0..5 {
        // More than an election takes each time.
        std::thread::sleep(Duration::from_secs(2));
        let moment = recorder.now();
        wait_for("a write through the leader and the third", 60, || {
            let through = workload.acknowledged_since(moment);
            (through.contains(&leader) && through.contains(&third)).then_some(())
        });
    }
    cluster.heal_partition();
    let moment = recorder.now();
    wait_for("a write through every controller", 60, || {
        (workload.acknowledged_since(moment).len() == 3).then_some(())
    });
    let history = workload.finish();
    let gap = history.longest_gap();
    println!("link: {}; longest time without an acknowledged write {gap:.2?}", history.summary());
    assert_linearizable(&history, "link");
}
