//! Random schedules of everything that can happen; the checker watches, and when the faults stop the
//! cluster must come to agree.

use proptest::prelude::*;
use wharf_controller::raft::MembershipRequest;

use crate::sim::{Sim, context};

const NODES: u64 = 5;

#[derive(Debug, Clone)]
enum Step {
    Tick(u64),
    TickMany(u64, u8),
    Deliver(usize),
    DeliverMany(u8),
    Lose(usize),
    Repeat(usize),
    Persist(u64, u8),
    FinishJob(u64),
    Propose(u64),
    ProposeToLeader(u8),
    Read(u64),
    CrashLeader(u8),
    Crash(u64, u8),
    Start(u64),
    Cut(u64, u64),
    Isolate(u64),
    Heal,
    Transfer(u64, u64),
    AddLearner(u64),
    Promote(u64),
    Demote(u64),
    Remove(u64),
    Rounds(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 1..=NODES;
    let any = 0usize..1000;
    prop_oneof![
        10 => node.clone().prop_map(Step::Tick),
        6 => (node.clone(), 5u8..25).prop_map(|(node, ticks)| Step::TickMany(node, ticks)),
        15 => any.clone().prop_map(Step::Deliver),
        25 => (1u8..40).prop_map(Step::DeliverMany),
        4 => any.clone().prop_map(Step::Lose),
        4 => any.prop_map(Step::Repeat),
        25 => (node.clone(), 1u8..6).prop_map(|(node, writes)| Step::Persist(node, writes)),
        4 => node.clone().prop_map(Step::FinishJob),
        3 => node.clone().prop_map(Step::Propose),
        15 => (1u8..10).prop_map(Step::ProposeToLeader),
        4 => node.clone().prop_map(Step::Read),
        2 => (0u8..3).prop_map(Step::CrashLeader),
        2 => (node.clone(), 0u8..3).prop_map(|(node, kept)| Step::Crash(node, kept)),
        8 => node.clone().prop_map(Step::Start),
        2 => (node.clone(), node.clone()).prop_map(|(from, to)| Step::Cut(from, to)),
        1 => node.clone().prop_map(Step::Isolate),
        4 => Just(Step::Heal),
        1 => (node.clone(), node.clone()).prop_map(|(from, to)| Step::Transfer(from, to)),
        2 => node.clone().prop_map(Step::AddLearner),
        2 => node.clone().prop_map(Step::Promote),
        1 => node.clone().prop_map(Step::Demote),
        1 => node.prop_map(Step::Remove),
        6 => (1u8..25).prop_map(Step::Rounds),
    ]
}

fn take(sim: &mut Sim, step: &Step) {
    match *step {
        Step::Tick(node) => sim.tick(node),
        Step::TickMany(node, ticks) => (0..ticks).for_each(|_| sim.tick(node)),
        Step::Deliver(any) => {
            if !sim.net.is_empty() {
                let packet = sim.net.remove(any % sim.net.len()).unwrap();
                sim.deliver(packet);
            }
        }
        Step::DeliverMany(count) => {
            for _ in 0..count {
                let Some(packet) = sim.net.pop_front() else { break };
                sim.deliver(packet);
            }
        }
        Step::Lose(any) => {
            if !sim.net.is_empty() {
                let packet = sim.net.remove(any % sim.net.len()).unwrap();
                sim.lost(&packet);
            }
        }
        Step::Repeat(any) => {
            if !sim.net.is_empty() {
                let packet = sim.net[any % sim.net.len()].clone();
                sim.net.push_back(packet);
            }
        }
        Step::Persist(node, writes) => sim.persist(node, writes.into()),
        Step::FinishJob(node) => sim.finish_jobs(node),
        Step::Propose(node) => drop(sim.propose(node)),
        Step::ProposeToLeader(count) => {
            for _ in 0..count {
                let Some(leader) = sim.leader() else { break };
                sim.propose(leader);
            }
        }
        Step::Read(node) => sim.read(node),
        Step::CrashLeader(kept) => {
            if let Some(leader) = sim.leader() {
                sim.crash(leader, kept.into());
            }
        }
        Step::Crash(node, kept) => {
            if sim.core(node).is_some() {
                sim.crash(node, kept.into());
            }
        }
        Step::Start(node) => {
            if sim.core(node).is_none() {
                sim.start(node);
            }
        }
        Step::Cut(from, to) => sim.cut(from, to),
        Step::Isolate(node) => sim.isolate(node),
        Step::Heal => sim.heal(),
        Step::Transfer(from, to) => {
            if let Some(core) = sim.core(from) {
                core.transfer_leader(to, Box::new(drop));
            }
        }
        Step::AddLearner(id) => change(sim, &MembershipRequest::AddLearner { id, context: context(id) }),
        Step::Promote(id) => change(sim, &MembershipRequest::Promote { id }),
        Step::Demote(id) => change(sim, &MembershipRequest::Demote { id }),
        Step::Remove(id) => change(sim, &MembershipRequest::Remove { id }),
        Step::Rounds(count) => (0..count).for_each(|_| sim.round()),
    }
}

/// Asks everybody: only a leader takes it, and an old leader's change must not survive wrongly.
fn change(sim: &mut Sim, request: &MembershipRequest) {
    // An id is never used again after its removal, as in life.
    let removed = |sim: &Sim, id| {
        let facts = sim.checker.facts();
        let sets: Vec<_> = facts.memberships.values().collect();
        let seen = sets.iter().any(|(voters, learners)| voters.contains(&id) || learners.contains(&id));
        let last =
            sets.last().is_some_and(|(voters, learners)| voters.contains(&id) || learners.contains(&id));
        seen && !last
    };
    if let MembershipRequest::AddLearner { id, .. } = request
        && removed(sim, *id)
    {
        return;
    }
    for id in 1..=NODES {
        drop(sim.change(id, request.clone()));
    }
}

/// Faults stop: a leader is found, everybody who belongs to the cluster agrees.
fn recover(sim: &mut Sim) {
    sim.heal();
    for id in 1..=NODES {
        if sim.core(id).is_none() {
            sim.start(id);
        }
    }
    sim.run_until("a leader after the faults", |sim| sim.leader().is_some());
    for _ in 0..30 {
        sim.round();
    }
    let leader = sim.leader().expect("it stays");
    let last = sim.propose(leader);
    for _ in 0..10 {
        sim.round();
    }
    let facts = sim.checker.facts();
    assert!(facts.acknowledged.values().any(|known| *known == last), "the cluster takes changes again");
    let expected: Vec<_> =
        facts.applied.iter().map(|(index, (term, command))| (*index, *term, command.clone())).collect();
    assert!(facts.acknowledged.keys().all(|index| facts.applied.contains_key(index)));
    drop(facts);
    let status = sim.status(leader);
    for id in status.voters.iter().chain(&status.learners) {
        assert_eq!(sim.history(*id), expected, "replica {id} has everything");
    }
}

fn run(steps: &[Step], voters: u64) {
    let mut sim = if voters == 1 { Sim::new(1..NODES + 1) } else { grown(voters) };
    for step in steps {
        take(&mut sim, step);
    }
    recover(&mut sim);
}

fn grown(voters: u64) -> Sim {
    let mut sim = Sim::new(1..NODES + 1);
    sim.run_until("a leader", |sim| sim.leader() == Some(1));
    for id in 2..=voters {
        sim.change_and_wait(&MembershipRequest::AddLearner { id, context: context(id) });
        sim.change_and_wait(&MembershipRequest::Promote { id });
    }
    sim
}

/// How many schedules to try: few in a common test run, many with `WHARF_RAFT_SCHEDULES=20000`.
fn cases() -> u32 {
    std::env::var("WHARF_RAFT_SCHEDULES").map_or(200, |count| count.parse().expect("a number"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_schedule_breaks_the_cluster(
        steps in proptest::collection::vec(step(), 50..500),
        voters in 1u64..=5,
    ) {
        run(&steps, voters);
    }
}
