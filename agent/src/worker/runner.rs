//! Moves one task along, a step at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wharf_cluster::ids::TaskId;
use wharf_cluster::model::{DesiredState, Exit as TaskExit, TaskState};
use wharf_runtime::api::{Exit, RuntimeError, Started, Status as ContainerStatus};

use super::{Idle, Prepared, Wanted, Worker};
use crate::health::Checked;
use crate::plan::{Container, Observed, Step, next};
use crate::task::{Assigned, Status, millis, now};

/// Pauses between attempts at something that failed for no reason of the task's.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How a container is stopped of which nothing is known any more.
const UNKNOWN_GRACE: Duration = Duration::from_secs(10);

/// One task's way through the worker.
pub(super) struct Runner {
    pub(super) worker: Arc<Worker>,
    pub(super) id: TaskId,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) seen: Observed,
    pub(super) prepared: Option<Prepared>,
    /// When and as what the container started.
    pub(super) started: Option<Started>,
    /// How the container ended.
    pub(super) exit: Option<Exit>,
    /// Why the container was stopped, if not because it was told.
    failure: Option<String>,
    pause: Duration,
}

pub(super) fn spawn(worker: Arc<Worker>, id: TaskId, idle: Idle, wanted: watch::Receiver<Wanted>) {
    let prepared = Prepared::load(&worker.parts.places.folder(id));
    let Idle { seen, started } = idle;
    let (exit, failure, pause) = (None, None, FIRST_PAUSE);
    let runner = Runner { worker, id, wanted, seen, prepared, started, exit, failure, pause };
    tokio::spawn(runner.run());
}

impl Runner {
    async fn run(mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let desired = wanted.desired();
            let step = next(desired, &self.seen);
            tracing::debug!(task = %self.id, ?step, ?desired, seen = ?self.seen, "next");
            match (step, wanted.0) {
                (Step::Accept, Some(task)) => self.accept(&task),
                (Step::Prepare, Some(task)) => Box::pin(self.prepare(&task)).await,
                (Step::Start, Some(task)) => Box::pin(self.start(&task)).await,
                (Step::Watch, Some(_)) => Box::pin(self.watch()).await,
                (Step::Stop, _) => self.stop().await,
                (Step::Conclude, _) => self.conclude(desired).await,
                (Step::Clean, _) => self.clean().await,
                (Step::Forget, _) => {
                    if self.forget().await {
                        return;
                    }
                }
                // The other steps are of tasks that are assigned.
                (Step::Wait | Step::Accept | Step::Prepare | Step::Start | Step::Watch, _) => {
                    if self.rest() {
                        return;
                    }
                    // The sender lives as long as the entry.
                    let _ = self.wanted.changed().await;
                }
            }
        }
    }

    /// Ends the runner of a task that has ended, unless something new is wanted of it. One that waits for its start
    /// keeps its runner, to be quick.
    fn rest(&self) -> bool {
        let mut tasks = self.worker.tasks.lock();
        if !self.seen.state.is_some_and(TaskState::is_final) || self.wanted.has_changed().unwrap_or(false) {
            return false;
        }
        if let Some(entry) = tasks.get_mut(&self.id) {
            entry.idle = Some(self.seen.into());
        }
        true
    }

    /// Keeps and tells a status, if it is further than the last one.
    pub(super) fn report(&mut self, status: Status) {
        if self.seen.state.is_some_and(|state| !state.may_become(status.state)) {
            return;
        }
        self.seen.state = Some(status.state);
        if let Err(error) = self.worker.parts.store.set_status(self.id, &status) {
            tracing::error!(task = %self.id, %error, "can't keep a task's status");
        }
        if status.state >= TaskState::Running {
            tracing::info!(task = %self.id, state = %status.state, reason = status.message, "task");
        } else {
            tracing::debug!(task = %self.id, state = %status.state, reason = status.message, "task");
        }
        self.worker.parts.reports.set(self.id, status);
    }

    fn accept(&mut self, task: &Assigned) {
        let status = match self.worker.refusal(task) {
            None => Status::new(TaskState::Accepted, ""),
            Some(reason) => Status::new(TaskState::Rejected, reason),
        };
        self.report(status);
    }

    /// Whether the task is still to go on.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.borrow().desired().is_some_and(|desired| desired <= DesiredState::Running)
    }

    /// Returns when the task is no longer to go on.
    pub(super) async fn unwanted(wanted: &mut watch::Receiver<Wanted>) {
        let gone = |wanted: &Wanted| wanted.desired().is_none_or(|desired| desired > DesiredState::Running);
        // The sender lives as long as the entry.
        let _ = wanted.wait_for(gone).await;
    }

    /// Looks after a running container until it ends or should.
    async fn watch(&mut self) {
        let (runtime, id) = (self.worker.parts.runtime.clone(), self.id.to_string());
        let Some(started) = self.started.clone() else { return self.look().await };
        let health = self.prepared.as_ref().and_then(|prepared| prepared.health.clone());
        let was_healthy = self.seen.state >= Some(TaskState::Running);
        let ports = self.prepared.as_ref().map(|prepared| prepared.ports.clone()).unwrap_or_default();
        let status = |state| Status {
            pid: u32::try_from(started.pid).ok(),
            ports: ports.clone(),
            ..Status::new(state, "")
        };
        let (healthy, mut is_healthy) = watch::channel(false);
        let checked = match health {
            None => {
                self.report(Status { at: millis(started.started_at), ..status(TaskState::Running) });
                None
            }
            Some(check) => {
                self.report(Status { at: millis(started.started_at), ..status(TaskState::Starting) });
                let started = started.started_at;
                Some(Checked {
                    runtime: runtime.clone(),
                    id: id.clone(),
                    check,
                    started,
                    healthy: was_healthy,
                })
            }
        };
        let unhealthy = async {
            match checked {
                None => std::future::pending().await,
                Some(checked) => {
                    checked
                        .until_unhealthy(move || {
                            healthy.send_replace(true);
                        })
                        .await
                }
            }
        };
        tokio::pin!(unhealthy);
        let ended = runtime.wait(&id);
        tokio::pin!(ended);
        let mut wanted = self.wanted.clone();
        let gone = Self::unwanted(&mut wanted);
        tokio::pin!(gone);
        loop {
            tokio::select! {
                exit = &mut ended => {
                    match exit {
                        Ok(exit) => self.has_ended(exit),
                        Err(error) => self.lost_sight(&error).await,
                    }
                    return;
                }
                reason = &mut unhealthy => {
                    tracing::warn!(task = %self.id, reason, "stopping an unhealthy container");
                    self.failure = Some(reason);
                    return self.stop().await;
                }
                () = &mut gone => return,
                Ok(()) = is_healthy.changed() => self.report(status(TaskState::Running)),
            }
        }
    }

    /// Asks the runtime what the container does.
    pub(super) async fn look(&mut self) {
        let id = self.id.to_string();
        let listed = match self.worker.parts.runtime.clone().list().await {
            Ok(listed) => listed.into_iter().find(|one| one.id == id).map(|one| one.status),
            Err(error) => return self.lost_sight(&error).await,
        };
        match listed {
            Some(ContainerStatus::Running(started)) => {
                self.started = Some(started);
                self.seen.container = Container::Running;
            }
            Some(ContainerStatus::Exited(exit)) => self.has_ended(exit),
            Some(ContainerStatus::Failed(_)) | None => self.seen.container = Container::None,
        }
    }

    fn has_ended(&mut self, exit: Exit) {
        self.exit = Some(exit);
        self.seen.container = Container::Ended;
        self.pause = FIRST_PAUSE;
    }

    /// The runtime can't say what a container does.
    async fn lost_sight(&mut self, error: &RuntimeError) {
        if let RuntimeError::NotFound(_) = error {
            self.seen.container = Container::None;
            return;
        }
        if let RuntimeError::NotRunning(_) = error {
            self.seen.container = Container::Ended;
            return;
        }
        tracing::warn!(task = %self.id, %error, "can't see what a container does; looking again");
        self.wait_a_little().await;
    }

    pub(super) async fn wait_a_little(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    async fn stop(&mut self) {
        let (signal, grace) = match &self.prepared {
            Some(prepared) => (prepared.stop_signal, Duration::from_millis(prepared.stop_grace)),
            None => (libc::SIGTERM, UNKNOWN_GRACE),
        };
        let id = self.id.to_string();
        match self.worker.parts.runtime.clone().stop(&id, signal, grace).await {
            Ok(exit) => self.has_ended(exit),
            Err(error) => self.lost_sight(&error).await,
        }
    }

    async fn conclude(&mut self, desired: Option<DesiredState>) {
        if self.seen.container == Container::Ended && self.exit.is_none() {
            match self.worker.parts.runtime.clone().wait(&self.id.to_string()).await {
                Ok(exit) => self.exit = Some(exit),
                Err(error) => return self.lost_sight(&error).await,
            }
        }
        let told_to_stop = desired.is_none_or(|desired| desired > DesiredState::Running);
        let (state, message) = match (&self.exit, self.failure.take()) {
            (_, Some(reason)) => (TaskState::Failed, reason),
            (_, None) if told_to_stop => (TaskState::Shutdown, String::new()),
            (None, None) => (TaskState::Failed, "the container is gone: the node was restarted".to_owned()),
            (Some(exit), None) if exit.code == 0 && !exit.lost => (TaskState::Complete, String::new()),
            (Some(exit), None) => (TaskState::Failed, describe(exit)),
        };
        let mut status = Status::new(state, message);
        if let Some(exit) = &self.exit {
            status.at = millis(exit.finished_at);
            status.exit = Some(TaskExit { code: exit.code, oom_killed: exit.oom_killed });
        }
        self.report(status);
    }

    async fn clean(&mut self) {
        // How it ended is known from here on, whatever happens to the container's own record.
        let flushed = self.worker.parts.store.flush().await.map_err(|error| error.to_string());
        let cleaned = match flushed {
            Ok(()) => self.worker.clean(self.id).await,
            Err(error) => Err(error),
        };
        match cleaned {
            Ok(()) => {
                self.worker.keep_log(self.id, now()).await;
                let state = self.seen.state;
                self.seen = Observed { state, ..Observed::NOTHING };
                self.prepared = None;
                self.pause = FIRST_PAUSE;
            }
            Err(error) => {
                tracing::warn!(task = %self.id, error, "can't clean up after a task; trying again");
                self.wait_a_little().await;
            }
        }
    }

    /// Takes the last traces away; whether the task is gone.
    async fn forget(&mut self) -> bool {
        if let Err(error) = self.worker.remove_traces(self.id).await {
            tracing::warn!(task = %self.id, error, "can't remove all of a task; trying again");
            self.wait_a_little().await;
            return false;
        }
        let mut tasks = self.worker.tasks.lock();
        if self.wanted.borrow().desired().is_some() {
            // It was assigned again meanwhile.
            self.seen = Observed::NOTHING;
            return false;
        }
        tasks.remove(&self.id);
        true
    }
}

/// How a container ended, for people.
fn describe(exit: &Exit) -> String {
    if exit.lost {
        return "the process that held the container was killed, and the container with it".to_owned();
    }
    if exit.oom_killed {
        return format!("out of memory: killed by the kernel (exit code {})", exit.code);
    }
    match exit.signal {
        Some(signal) => format!("killed by signal {signal} (exit code {})", exit.code),
        None => format!("exit code {}", exit.code),
    }
}
