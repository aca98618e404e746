//! The log of one task, asked of its node's agent.

use super::Client;
use crate::{clock, core::Core, leader::dispatch::Term};
use std::{sync::Arc, time::Duration};
use tonic::Status;
use wharf_cluster::{ids::TaskId, state::State};
use wharf_proto::v1::{LogEntry, LogsRequest, StreamData, TaskLogs, open_stream::What, stream_data::Data};

/// What is waited before an agent that has gone is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The log of one task.
pub(super) struct TaskStream {
    core: Arc<Core>,
    term: Arc<Term>,
    task: TaskId,
    request: LogsRequest,
}

/// How a stream ended.
enum End {
    /// There is no more.
    Done,
    /// The client has gone.
    ClientGone,
    /// It broke off; why.
    Broken(String),
}

impl TaskStream {
    pub(super) fn new(core: Arc<Core>, term: Arc<Term>, task: TaskId, request: LogsRequest) -> Self {
        TaskStream { core, term, task, request }
    }

    /// What there is, once.
    pub(super) async fn read(&self, client: &Client) {
        if let End::Broken(why) = self.once(self.request.clone(), &mut 0, client).await {
            self.say(client, &why).await;
        }
    }

    /// What there is and what comes, through the agent's restarts.
    pub(super) async fn follow(&self, client: &Client) {
        let mut request = self.request.clone();
        let mut last = 0;
        let mut told = false;
        loop {
            let before = last;
            match self.once(request.clone(), &mut last, client).await {
                End::Done | End::ClientGone => return,
                End::Broken(why) => {
                    if last > before {
                        told = false;
                        (request.tail, request.since) = (None, last / 1_000_000);
                    }
                    if !std::mem::replace(&mut told, true) {
                        self.say(client, &why).await;
                    }
                }
            }
            if self.core.published.state().task(self.task).is_none_or(|task| task.is_final()) {
                return;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// One stream of the agent; `last` is the time of the last line, and what isn't newer has been sent.
    async fn once(&self, mut request: LogsRequest, last: &mut u64, client: &Client) -> End {
        let state = self.core.published.state();
        let Some(node) = state.task(self.task).and_then(|task| task.node) else {
            return End::Broken("the task is forgotten".to_owned());
        };
        let (name, node_name) = self.names(&state);
        request.target.clone_from(&name);
        let what = What::Logs(TaskLogs { task: self.task.to_string(), options: Some(request) });
        let mut answer = match self.term.ask(node, what).await {
            Ok(answer) => answer,
            Err(error) => return End::Broken(error.to_string()),
        };
        let resumes_after = *last;
        loop {
            match answer.inbound.message().await {
                Ok(Some(StreamData { data: Some(Data::Log(entry)) })) => {
                    if resumes_after > 0 && entry.at <= resumes_after {
                        continue;
                    }
                    *last = (*last).max(entry.at);
                    let entry = LogEntry { task: name.clone(), node: node_name.clone(), ..entry };
                    if client.send(Ok(entry)).await.is_err() {
                        return End::ClientGone;
                    }
                }
                Ok(Some(StreamData { data: Some(Data::Error(why)) })) => return End::Broken(why),
                Ok(Some(_)) => {}
                Ok(None) => return End::Done,
                Err(status) => return End::Broken(lost(&status)),
            }
        }
    }

    fn names(&self, state: &State) -> (String, String) {
        let task = state.task(self.task);
        let name = task.map_or_else(|| self.task.to_string(), |task| state.task_name(task));
        let node = task.and_then(|task| task.node);
        let node_name =
            node.map(|id| state.node(id).map_or_else(|| id.to_string(), |node| node.name.clone()));
        (name, node_name.unwrap_or_default())
    }

    async fn say(&self, client: &Client, why: &str) {
        let (name, node) = self.names(&self.core.published.state());
        // One that has gone needs no remark.
        let _ = client.send(Ok(remark(&name, &node, &format!("logs can't be read now: {why}")))).await;
    }
}

fn lost(status: &Status) -> String {
    let reason = wharf_identity::explain(status).unwrap_or_else(|| status.message().to_owned());
    format!("the agent's stream broke off: {reason}")
}

/// A remark of ours between the lines.
pub(super) fn remark(task: &str, node: &str, text: &str) -> LogEntry {
    LogEntry {
        task: task.to_owned(),
        node: node.to_owned(),
        stream: "wharf".to_owned(),
        at: clock::now().0.saturating_mul(1_000_000),
        line: text.to_owned().into(),
    }
}
