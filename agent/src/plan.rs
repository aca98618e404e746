//! What to do next for a task, from what is wanted and what is there. Pure: the worker does what this says, looks
//! again, and asks again, until the answer is to wait.

use std::collections::{BTreeMap, BTreeSet};

use wharf_cluster::ids::TaskId;
use wharf_cluster::model::{DesiredState, TaskState};

/// What a task's container does, as the runtime says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Container {
    /// There is none.
    None,
    /// It runs.
    Running,
    /// It has ended, and how is known.
    Ended,
}

/// What there is of a task on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observed {
    /// How far it has come; none if it was never looked at.
    pub state: Option<TaskState>,
    /// Its container.
    pub container: Container,
    /// Everything is there to start the container.
    pub prepared: bool,
    /// Something of it is left on the node that an ended task doesn't need: container, root filesystem, network.
    pub leftovers: bool,
}

impl Observed {
    /// Of a task that nothing is known of.
    pub const NOTHING: Observed =
        Observed { state: None, container: Container::None, prepared: false, leftovers: false };

    fn is_final(&self) -> bool {
        self.state.is_some_and(TaskState::is_final)
    }
}

/// The next thing to do for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Look whether this node can run it, and report `accepted` or `rejected`.
    Accept,
    /// Pull the image, prepare root filesystem and network.
    Prepare,
    /// Start the container.
    Start,
    /// The container runs, as it should: see to its health, and notice its end.
    Watch,
    /// Stop the container.
    Stop,
    /// The task has ended: report how.
    Conclude,
    /// Take away what an ended task doesn't need.
    Clean,
    /// Take away what is left of it, logs and anonymous volumes too.
    Forget,
    /// Nothing to do until something changes.
    Wait,
}

/// What to do next for a task that should go as far as `desired`; none if it isn't assigned to this node (any more).
pub fn next(desired: Option<DesiredState>, seen: &Observed) -> Step {
    let wanted = desired.is_some_and(|desired| desired <= DesiredState::Running) && !seen.is_final();
    if wanted {
        return match seen.container {
            Container::Running => Step::Watch,
            Container::Ended => Step::Conclude,
            // It was started, and is gone without a word: the machine has restarted.
            Container::None if seen.state >= Some(TaskState::Starting) => Step::Conclude,
            Container::None if seen.state.is_none() => Step::Accept,
            Container::None if !seen.prepared || seen.state < Some(TaskState::Ready) => Step::Prepare,
            Container::None if desired == Some(DesiredState::Running) => Step::Start,
            Container::None => Step::Wait,
        };
    }
    if seen.container == Container::Running {
        return Step::Stop;
    }
    match desired {
        Some(_) if !seen.is_final() => Step::Conclude,
        _ if seen.container != Container::None || seen.prepared || seen.leftovers => Step::Clean,
        Some(_) => Step::Wait,
        None => Step::Forget,
    }
}

/// The next step of every task that is assigned or of which there is something on the node.
pub fn plan(
    assigned: &BTreeMap<TaskId, DesiredState>,
    observed: &BTreeMap<TaskId, Observed>,
) -> Vec<(TaskId, Step)> {
    let ids: BTreeSet<TaskId> = assigned.keys().chain(observed.keys()).copied().collect();
    ids.into_iter()
        .map(|id| {
            let seen = observed.get(&id).unwrap_or(&Observed::NOTHING);
            (id, next(assigned.get(&id).copied(), seen))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DESIRED: [Option<DesiredState>; 5] = [
        None,
        Some(DesiredState::Ready),
        Some(DesiredState::Running),
        Some(DesiredState::Shutdown),
        Some(DesiredState::Remove),
    ];

    fn desired() -> impl Strategy<Value = Option<DesiredState>> {
        (0..DESIRED.len()).prop_map(|n| DESIRED[n])
    }

    fn observed() -> impl Strategy<Value = Observed> {
        let states = TaskState::ALL.len();
        let state = prop_oneof![Just(None), (0..states).prop_map(|n| Some(TaskState::ALL[n]))];
        let container = prop_oneof![Just(Container::None), Just(Container::Running), Just(Container::Ended)];
        (state, container, any::<bool>(), any::<bool>()).prop_map(
            |(state, container, prepared, leftovers)| Observed { state, container, prepared, leftovers },
        )
    }

    /// What the worker does about a step, when it works or when it doesn't; `None` once the task is forgotten.
    fn act(step: Step, mut seen: Observed, works: bool) -> Option<Observed> {
        let mut reach = |state: TaskState| {
            if seen.state.is_none_or(|now| now.may_become(state)) {
                seen.state = Some(state);
            }
        };
        match step {
            Step::Accept => reach(if works { TaskState::Accepted } else { TaskState::Rejected }),
            Step::Prepare => {
                reach(TaskState::Preparing);
                reach(if works { TaskState::Ready } else { TaskState::Failed });
                (seen.leftovers, seen.prepared) = (true, works);
            }
            Step::Start if works => seen.container = Container::Running,
            Step::Start => reach(TaskState::Failed),
            Step::Watch if works => reach(TaskState::Running),
            Step::Watch | Step::Stop => seen.container = Container::Ended,
            Step::Conclude => reach(TaskState::Shutdown),
            Step::Clean => seen = Observed { state: seen.state, ..Observed::NOTHING },
            Step::Forget => return None,
            Step::Wait => {}
        }
        Some(seen)
    }

    fn settles(desired: Option<DesiredState>, mut seen: Observed, works: &[bool]) -> Option<Observed> {
        for turn in 0..20 {
            let step = next(desired, &seen);
            assert!(step != Step::Start || desired == Some(DesiredState::Running), "started unasked");
            if step == Step::Wait {
                return Some(seen);
            }
            let works = works.get(turn).copied().unwrap_or(true);
            if step == Step::Watch && works {
                // It goes on for as long as it works.
                return act(step, seen, works);
            }
            seen = act(step, seen, works)?;
        }
        panic!("it never settles: {desired:?}, {seen:?}");
    }

    proptest! {
        #[test]
        fn every_task_settles_where_it_should(
            desired in desired(),
            seen in observed(),
            works in proptest::collection::vec(any::<bool>(), 0..10),
        ) {
            let settled = settles(desired, seen, &works);
            match (desired, settled) {
                (None, settled) => prop_assert_eq!(settled, None),
                (Some(_), None) => prop_assert!(false, "forgotten while assigned"),
                (Some(desired), Some(settled)) => {
                    let is_final = settled.state.is_some_and(TaskState::is_final);
                    let running = settled.container == Container::Running;
                    prop_assert!(desired <= DesiredState::Running || (is_final && !running));
                    prop_assert!(desired != DesiredState::Running || running != is_final);
                    prop_assert!(!is_final || (!settled.leftovers && !settled.prepared && !running));
                }
            }
        }

        #[test]
        fn a_plan_is_the_next_step_of_every_task(
            assigned in proptest::collection::btree_map((0..6u64).prop_map(TaskId), desired(), 0..6),
            observed in proptest::collection::btree_map((0..6u64).prop_map(TaskId), observed(), 0..6),
        ) {
            let assigned: BTreeMap<TaskId, DesiredState> =
                assigned.into_iter().filter_map(|(id, desired)| Some((id, desired?))).collect();
            let steps = plan(&assigned, &observed);
            let ids: BTreeSet<TaskId> = assigned.keys().chain(observed.keys()).copied().collect();
            prop_assert_eq!(steps.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>(), ids);
            for (id, step) in steps {
                let seen = observed.get(&id).unwrap_or(&Observed::NOTHING);
                prop_assert_eq!(step, next(assigned.get(&id).copied(), seen));
            }
        }
    }

    #[test]
    fn a_healthy_life_goes_through_every_step() {
        let mut seen = Observed::NOTHING;
        let mut steps = Vec::new();
        for desired in [DesiredState::Ready, DesiredState::Running, DesiredState::Shutdown] {
            loop {
                let step = next(Some(desired), &seen);
                steps.push(step);
                seen = act(step, seen, true).unwrap();
                if matches!(step, Step::Wait | Step::Watch) {
                    break;
                }
            }
        }
        let life = [
            Step::Accept,
            Step::Prepare,
            Step::Wait,
            Step::Start,
            Step::Watch,
            Step::Stop,
            Step::Conclude,
            Step::Clean,
            Step::Wait,
        ];
        assert_eq!(steps, life);
    }

    #[test]
    fn a_container_that_is_gone_after_a_restart_of_the_machine_is_not_started_again() {
        let seen = Observed { state: Some(TaskState::Running), ..Observed::NOTHING };
        assert_eq!(next(Some(DesiredState::Running), &seen), Step::Conclude);
    }
}
