//! The agent's database, with the power failing at each of its writes and syncs.

#[path = "../../controller/tests/raft/lossy_file.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the tests of the controller's log need more of it")]
mod lossy_file;

use lossy_file::{At, ENOSPC, Fault, LossyFile, Survival};
use std::collections::{BTreeMap, BTreeSet};
use wharf_agent::{
    store::{Store, StoreError},
    task::Status,
};
use wharf_cluster::{ids::TaskId, model::TaskState};
use wharf_proto::v1::{AssignedTask, Generation};

/// What may be left of what was not synced.
fn outcomes(operation: u64) -> [Survival; 6] {
    let random = Survival::Random;
    [
        Survival::Nothing,
        Survival::Everything,
        Survival::AllButLast,
        Survival::LastTorn,
        random(operation),
        random(!operation),
    ]
}

/// What a database holds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Holds {
    sequence: u64,
    tasks: BTreeSet<String>,
    statuses: BTreeMap<TaskId, String>,
    controllers: Vec<String>,
}

impl Holds {
    fn read(store: &Store) -> Result<Self, StoreError> {
        Ok(Holds {
            sequence: store.held()?.sequence,
            tasks: store.tasks()?.into_iter().map(|task| task.id).collect(),
            statuses: store.statuses()?.into_iter().map(|(id, status)| (id, status.message)).collect(),
            controllers: store.controllers()?,
        })
    }
}

/// What the database may hold: after each change, and from which on it must.
struct Allowed {
    states: Vec<Holds>,
    acknowledged: usize,
}

impl Allowed {
    /// Does a step to the database, and notes what it should hold then.
    async fn step(
        &mut self,
        store: &Store,
        change: impl FnOnce(&Store, &mut Holds),
    ) -> Result<(), StoreError> {
        let mut next = self.states.last().cloned().unwrap_or_default();
        change(store, &mut next);
        self.states.push(next);
        store.flush().await?;
        self.acknowledged = self.states.len() - 1;
        Ok(())
    }

    fn check(&self, found: &Holds, when: &str) {
        assert!(
            self.states[self.acknowledged..].contains(found),
            "{when}: {found:#?} is none of {:#?}",
            &self.states[self.acknowledged..]
        );
    }
}

fn assign(store: &Store, holds: &mut Holds, add: &[u64], remove: &[u64]) {
    holds.sequence += 1;
    let generation = Generation { term: 1, session: 1, sequence: holds.sequence };
    let task =
        |id: &u64| AssignedTask { id: id.to_string(), name: "n".repeat(700), ..AssignedTask::default() };
    let added: Vec<_> = add.iter().map(|id| (TaskId(*id), task(id))).collect();
    let removed: Vec<_> = remove.iter().map(|id| TaskId(*id)).collect();
    holds.tasks.extend(add.iter().map(u64::to_string));
    for id in remove {
        holds.tasks.remove(&id.to_string());
    }
    store.assign(&generation, &added, &removed);
}

fn report(store: &Store, holds: &mut Holds, id: u64, message: &str) {
    store.set_status(TaskId(id), &Status::new(TaskState::Running, message)).expect("it can be encoded");
    holds.statuses.insert(TaskId(id), message.to_owned());
}

/// An agent's life: assignments, statuses, controllers, until the disk fails.
async fn live(store: &Store, allowed: &mut Allowed) -> Result<(), StoreError> {
    allowed.step(store, |store, holds| assign(store, holds, &[1, 2, 3], &[])).await?;
    for id in 1..=3 {
        allowed.step(store, |store, holds| report(store, holds, id, "prepared")).await?;
    }
    allowed
        .step(store, |store, holds| {
            holds.controllers = vec!["a:7400".to_owned(), "b:7400".to_owned()];
            store.set_controllers(&holds.controllers).expect("they can be encoded");
        })
        .await?;
    allowed.step(store, |store, holds| assign(store, holds, &[4, 5, 6, 7, 8, 9], &[2])).await?;
    allowed
        .step(store, |store, holds| {
            holds.statuses.remove(&TaskId(2));
            store.forget(TaskId(2));
        })
        .await?;
    allowed.step(store, |store, holds| report(store, holds, 1, "running")).await
}

/// Runs the scenario with the power failing at an operation; how many operations there were.
async fn fail_at(operation: u64, lies: bool, opens: impl Fn(&LossyFile) -> Result<Store, StoreError>) -> u64 {
    let file = if lies { LossyFile::with_lying_syncs() } else { LossyFile::default() };
    file.fail(At::Change(operation), Fault::Crash);
    let mut allowed = Allowed { states: vec![Holds::default()], acknowledged: 0 };
    if let Ok(store) = opens(&file) {
        // It fails, unless the power outlasts it.
        let _ = live(&store, &mut allowed).await;
    }
    for survival in outcomes(operation) {
        let left = LossyFile::holding(file.after_power_loss(survival));
        let when = format!("power lost at operation {operation}, {survival:?}");
        let store = match opens(&left) {
            Ok(store) => store,
            // It was only being made: `Store::open` puts such a file aside.
            Err(StoreError::Database(_)) if allowed.acknowledged == 0 => continue,
            Err(error) => panic!("{when}: {error}"),
        };
        let mut found = Holds::read(&store).expect("it opened");
        allowed.check(&found, &when);
        // It goes on from there.
        assign(&store, &mut found, &[20], &[]);
        store.flush().await.expect("this disk works");
        assert_eq!(Holds::read(&store).expect("it opened"), found, "{when}, going on");
    }
    file.changes()
}

fn open(file: &LossyFile) -> Result<Store, StoreError> {
    let file = file.clone();
    Store::open_on(move || file.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_agents_database_survives_a_power_loss_at_each_write() {
    let all = fail_at(u64::MAX, false, open).await;
    assert!(all > 30, "only {all} operations: the scenario does too little");
    for operation in 0..all {
        fail_at(operation, false, open).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[should_panic(expected = "is none of")]
async fn a_disk_that_lies_is_noticed() {
    // Long after the first acknowledgement.
    fail_at(60, true, open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_disk_is_tried_again_and_nothing_is_forgotten() {
    let file = LossyFile::default();
    let store = open(&file).unwrap();
    let mut holds = Holds::default();
    assign(&store, &mut holds, &[1], &[]);
    store.flush().await.unwrap();
    file.break_now(ENOSPC);
    report(&store, &mut holds, 1, "running");
    assign(&store, &mut holds, &[2], &[]);
    assert!(matches!(store.flush().await, Err(StoreError::NotDurable(_))));
    file.repair();
    while store.flush().await.is_err() {}
    assert_eq!(Holds::read(&store).unwrap(), holds);
}
