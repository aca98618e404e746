//! Logs of a task, or of all tasks of a service: asked of the agents that hold them, and merged.

mod merge;
mod target;
mod task;

use super::Answers;
use crate::{core::Core, leader::dispatch::Term, replica::Changes};
use std::{collections::BTreeSet, sync::Arc};
use target::Target;
use task::TaskStream;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use wharf_cluster::{ids::TaskId, state::State};
use wharf_proto::v1::{LogEntry, LogsRequest};

/// Lines that wait for the client.
const QUEUE: usize = 256;

/// What is sent to the client.
type Client = mpsc::Sender<Result<LogEntry, Status>>;

pub(super) async fn logs(core: &Arc<Core>, request: LogsRequest) -> Result<Answers<LogEntry>, Status> {
    let leads = || Status::unavailable("this controller does not lead yet, or any more; try again");
    let term = core.dispatcher.active().ok_or_else(leads)?;
    let changes = core.published.subscribe();
    let state = core.published.state();
    let target = Target::find(&state, &request.target)?;
    let (client, stream) = mpsc::channel(QUEUE);
    let reader = Reader { core: core.clone(), term, target, request };
    tokio::spawn(async move {
        let mut leadership = reader.core.leadership.clone();
        let stopping = reader.core.stopping.clone();
        let last = tokio::select! {
            () = reader.run(&state, changes, &client) => return,
            () = client.closed() => return,
            _ = leadership.wait_for(|now| !now.leading) => leads(),
            () = stopping.cancelled() => Status::unavailable("this controller is stopping; ask another"),
        };
        // One that has gone needs no reason.
        let _ = client.send(Err(last)).await;
    });
    Ok(Box::pin(ReceiverStream::new(stream)))
}

struct Reader {
    core: Arc<Core>,
    term: Arc<Term>,
    target: Target,
    request: LogsRequest,
}

impl Reader {
    async fn run(&self, state: &State, changes: Changes, client: &Client) {
        let tasks = self.target.tasks(state);
        if let Some(remark) = self.target.why_silent(state, &tasks) {
            // A client that has gone is noticed elsewhere.
            let _ = client.send(Ok(remark)).await;
        }
        if self.request.follow {
            self.follow(tasks, changes, client).await;
        } else {
            merge::merge(tasks.into_iter().map(|task| self.stream(task, false)).collect(), client).await;
        }
    }

    /// As lines come, from tasks that come later too.
    async fn follow(&self, tasks: Vec<TaskId>, mut changes: Changes, client: &Client) {
        let mut streams = JoinSet::new();
        let mut seen: BTreeSet<TaskId> = BTreeSet::new();
        let start = |task, later, streams: &mut JoinSet<()>| {
            let (stream, client) = (self.stream(task, later), client.clone());
            streams.spawn(async move { stream.follow(&client).await });
        };
        for task in tasks {
            seen.insert(task);
            start(task, false, &mut streams);
        }
        loop {
            tokio::select! {
                change = changes.next() => {
                    if change.is_none() {
                        return;
                    }
                    let state = self.core.published.state();
                    for task in self.target.tasks(&state) {
                        if seen.insert(task) {
                            start(task, true, &mut streams);
                        }
                    }
                    seen.retain(|task| state.task(*task).is_some());
                    if streams.is_empty() && self.target.is_over(&state) {
                        return;
                    }
                }
                Some(_) = streams.join_next() => {
                    if streams.is_empty() && self.target.is_over(&self.core.published.state()) {
                        return;
                    }
                }
            }
        }
    }

    fn stream(&self, task: TaskId, later: bool) -> TaskStream {
        let mut request = self.request.clone();
        if later {
            // It has begun since: all of it is wanted.
            (request.tail, request.since) = (None, 0);
        }
        TaskStream::new(self.core.clone(), self.term.clone(), task, request)
    }
}
