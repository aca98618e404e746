//! One task's way on a node, step by step as the real planner says; what each step does is the simulation's.

use super::{
    agent_disk::Write,
    node::{Container, Flush, NodeEvent},
    time::{MILLI, Micros, SECOND},
    world::{Event, World, trace},
};
use wharf_agent::{
    plan::{Container as Seen, Observed, Step, next},
    task::Assigned,
};
use wharf_cluster::{
    ids::TaskId,
    model::{DesiredState, TaskState},
};

/// Work that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Its image is pulled, its container prepared.
    Prepare,
    /// Its container is started.
    Start,
    /// Its container is stopped.
    Stop,
    /// What it doesn't need is taken away, once its end is on the disk.
    Clean,
}

/// A task on a node.
#[derive(Debug)]
pub struct Runner {
    /// What is wanted of it; nothing, if it isn't assigned.
    pub wanted: Option<Assigned>,
    /// What there is of it.
    pub seen: Observed,
    /// What is under way for it.
    pub busy: Option<(u64, Work)>,
    /// How its container ended.
    pub exit: Option<i32>,
}

impl Runner {
    /// How far it should go.
    #[must_use]
    pub fn desired(&self) -> Option<DesiredState> {
        self.wanted.as_ref().map(|task| task.desired)
    }

    /// What its container does: `bad…` fails, `job…` completes, anything else goes on.
    #[must_use]
    pub fn image(&self) -> String {
        let spec = self.wanted.as_ref().and_then(|task| task.container.as_ref().ok());
        spec.map(|spec| spec.image.clone()).unwrap_or_default()
    }
}

impl World {
    fn runner(&mut self, node: usize, task: TaskId) -> Option<&mut Runner> {
        self.nodes[node].agent.as_mut()?.tasks.get_mut(&task)
    }

    fn work(&mut self, node: usize, task: TaskId, work: Work, takes: Micros) {
        let run = self.number();
        if let Some(runner) = self.runner(node, task) {
            runner.busy = Some((run, work));
            self.at_node(node, takes, NodeEvent::Done { task, run });
        }
    }

    /// Does what comes next for a task, until that takes time or there is nothing to do.
    pub fn advance(&mut self, node: usize, task: TaskId) {
        loop {
            let Some(runner) = self.runner(node, task) else { return };
            let desired = runner.desired();
            let wanted = desired.is_some_and(|desired| desired <= DesiredState::Running);
            match runner.busy {
                // A pull is given up when nobody wants it any more.
                Some((_, Work::Prepare)) if !wanted => runner.busy = None,
                Some(_) => return,
                None => {}
            }
            match next(desired, &runner.seen) {
                Step::Accept => self.report(node, task, TaskState::Accepted, None),
                Step::Prepare => {
                    runner.seen.leftovers = true;
                    self.report(node, task, TaskState::Preparing, None);
                    let takes = self.rng.around(self.options.pull);
                    return self.work(node, task, Work::Prepare, takes);
                }
                Step::Start => {
                    let takes = self.rng.around(100 * MILLI);
                    return self.work(node, task, Work::Start, takes);
                }
                Step::Watch => return self.report(node, task, TaskState::Running, None),
                Step::Stop => {
                    let checked = self.checks.agents.stops(&self.checks.reference, node, task);
                    self.check(checked);
                    trace!(self, "agent {node} stops task {task}");
                    let takes = self.rng.around(SECOND);
                    return self.work(node, task, Work::Stop, takes);
                }
                Step::Conclude => {
                    let exit = runner.exit;
                    let state = match exit {
                        _ if !wanted => TaskState::Shutdown,
                        Some(0) => TaskState::Complete,
                        _ => TaskState::Failed,
                    };
                    self.report(node, task, state, exit);
                }
                Step::Clean => {
                    let run = self.number();
                    if let Some(runner) = self.runner(node, task) {
                        runner.busy = Some((run, Work::Clean));
                    }
                    return self.flush(node, Flush::Clean(task));
                }
                Step::Forget => {
                    if let Some(agent) = self.nodes[node].agent.as_mut() {
                        agent.tasks.remove(&task);
                        agent.reports.forget(task);
                    }
                    return self.write(node, Write::Forget(task));
                }
                Step::Wait => return,
            }
        }
    }

    /// What was under way for a task is done.
    pub fn work_done(&mut self, node: usize, task: TaskId, run: u64) {
        let (fails, failing) = (self.rng.chance(0.01), self.options.failing);
        let Some(runner) = self.runner(node, task) else { return };
        let Some((_, work)) = runner.busy.take_if(|(number, _)| *number == run) else { return };
        let image = runner.image();
        match work {
            Work::Prepare if fails && failing => self.report(node, task, TaskState::Failed, None),
            Work::Prepare => {
                runner.seen.prepared = true;
                self.nodes[node].prepared.insert(task);
                self.report(node, task, TaskState::Ready, None);
            }
            Work::Start => {
                self.start_container(node, task, &image);
                let exit = self.nodes[node].containers.get(&task).and_then(|container| container.exit);
                if let Some(runner) = self.runner(node, task) {
                    runner.seen.container = if exit.is_some() { Seen::Ended } else { Seen::Running };
                    runner.exit = exit;
                }
            }
            Work::Stop => {
                self.end_container(node, task, 143);
                self.exit_noticed(node, task);
            }
            Work::Clean => {}
        }
        self.look_again(node, task);
    }

    /// A task's end is on the disk: what it doesn't need goes.
    pub fn cleaned(&mut self, node: usize, task: TaskId) {
        let Some(runner) = self.runner(node, task) else { return };
        if !matches!(runner.busy, Some((_, Work::Clean))) {
            return;
        }
        runner.busy = None;
        runner.exit = None;
        runner.seen = Observed { state: runner.seen.state, ..Observed::NOTHING };
        self.nodes[node].containers.remove(&task);
        self.nodes[node].prepared.remove(&task);
        self.look_again(node, task);
    }

    fn look_again(&mut self, node: usize, task: TaskId) {
        if let Some(agent) = self.nodes[node].agent.as_mut() {
            agent.due.insert(task);
        }
    }

    /// A container runs from now on, unless there is one already.
    pub fn start_container(&mut self, node: usize, task: TaskId, image: &str) {
        if self.nodes[node].containers.contains_key(&task) {
            return;
        }
        let run = self.number();
        self.nodes[node].containers.insert(task, Container { run, exit: None });
        trace!(self, "machine {node}: container of task {task} starts");
        self.stats.containers += 1;
        let checked = self.checks.agents.started(node, task);
        self.check(checked);
        let ends = if image.starts_with("job") {
            Some((self.rng.around(3 * SECOND), 0))
        } else if image.starts_with("bad") && self.options.failing {
            Some((self.rng.around(SECOND), 1))
        } else {
            None
        };
        if let Some((after, code)) = ends {
            self.after(after, Event::Exit { node, task, run, code });
        }
    }

    /// A container ends by itself.
    pub fn container_exits(&mut self, node: usize, task: TaskId, run: u64, code: i32) {
        let runs = self.nodes[node].containers.get(&task).is_some_and(|container| container.run == run);
        if runs {
            self.end_container(node, task, code);
            let delay = self.rng.around(20 * MILLI);
            self.at_node(node, delay, NodeEvent::Noticed(task));
        }
    }

    /// A container has ended, if it ran.
    pub fn end_container(&mut self, node: usize, task: TaskId, code: i32) {
        let Some(container) = self.nodes[node].containers.get_mut(&task) else { return };
        if container.exit.is_none() {
            container.exit = Some(code);
            trace!(self, "machine {node}: container of task {task} ends: {code}");
            self.checks.agents.ended(task);
        }
    }

    /// The agent sees that a container has ended.
    pub fn exit_noticed(&mut self, node: usize, task: TaskId) {
        let container = self.nodes[node].containers.get(&task).copied();
        let Some(runner) = self.runner(node, task) else { return };
        if runner.seen.container != Seen::Running {
            return;
        }
        match container {
            Some(Container { exit: Some(code), .. }) => {
                runner.seen.container = Seen::Ended;
                runner.exit = Some(code);
                // A stop that is under way has nothing left to do.
                runner.busy = None;
            }
            Some(_) => {}
            None => runner.seen.container = Seen::None,
        }
        self.look_again(node, task);
    }
}
