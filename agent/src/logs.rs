//! Sends tasks' output to the controller that asks for it in the session.

mod cursor;
mod entry;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use wharf_cluster::ids::TaskId;
use wharf_proto::v1::agent_api_client::AgentApiClient;
use wharf_proto::v1::open_stream::What;
use wharf_proto::v1::stream_data::Data;
use wharf_proto::v1::{LogEntry, LogsRequest, OpenStream, StreamData};

use crate::worker::Worker;
use cursor::Cursor;

/// Streams that are sent at a time.
const STREAMS: usize = 64;
/// Entries that wait to be sent.
const QUEUE: usize = 64;
/// How often a log that is followed is looked at.
const POLL: Duration = Duration::from_millis(150);

/// Sends tasks' output. Cheap to clone.
#[derive(Clone)]
pub struct Logs {
    worker: Arc<Worker>,
    streams: Arc<Semaphore>,
}

/// Why a task's output can't be sent.
#[derive(Debug, Error)]
enum LogError {
    #[error("task {0} is not on this node")]
    NoTask(String),
    #[error("this version of the agent doesn't know what is asked for")]
    Unknown,
    #[error("the agent sends {STREAMS} streams already")]
    TooMany,
    #[error("can't read the log: {0}")]
    Read(#[from] std::io::Error),
}

impl Logs {
    /// Sends the output of this worker's tasks.
    pub fn new(worker: Arc<Worker>) -> Self {
        Logs { worker, streams: Arc::new(Semaphore::new(STREAMS)) }
    }

    /// Opens the stream that a controller asked for, and sends what it wants until one end has had enough.
    pub fn answer(&self, mut client: AgentApiClient<Channel>, node: String, open: OpenStream) {
        let logs = self.clone();
        tokio::spawn(async move {
            let (sender, queue) = mpsc::channel(QUEUE);
            let first = StreamData { data: Some(Data::StreamId(open.stream_id)) };
            // The queue is empty, and its other end is here.
            let _ = sender.send(first).await;
            let mut answer = match client.answer(ReceiverStream::new(queue)).await {
                Ok(answer) => answer.into_inner(),
                Err(status) => {
                    tracing::debug!(reason = status.message(), "nobody waits for a stream any more");
                    return;
                }
            };
            tokio::select! {
                () = logs.send(open.what, &node, &sender) => {
                    drop(sender);
                    // Until the controller has taken it all.
                    while let Ok(Some(_)) = answer.message().await {}
                }
                () = async { while let Ok(Some(_)) = answer.message().await {} } => {}
            }
        });
    }

    async fn send(&self, what: Option<What>, node: &str, to: &mpsc::Sender<StreamData>) {
        let Ok(_permit) = self.streams.try_acquire() else {
            return fail(&LogError::TooMany, to).await;
        };
        let Some(What::Logs(asked)) = what else {
            return fail(&LogError::Unknown, to).await;
        };
        let Some((task, name)) = self.worker.find(&asked.task) else {
            return fail(&LogError::NoTask(asked.task), to).await;
        };
        let options = asked.options.unwrap_or_default();
        if let Err(error) = self.copy(task, &name, node, &options, to).await {
            fail(&error, to).await;
        }
    }

    async fn copy(
        &self,
        task: TaskId,
        name: &str,
        node: &str,
        options: &LogsRequest,
        to: &mpsc::Sender<StreamData>,
    ) -> Result<(), LogError> {
        let (path, tail) = (self.worker.log_path(task), options.tail);
        let mut cursor = blocking(move || Cursor::open(path, tail)).await?;
        loop {
            // Known before the file's end is seen, so that nothing is written behind our back.
            let ended = !options.follow || self.worker.has_ended(task);
            let (entries, read_on) = blocking(move || {
                let entries = cursor.read()?;
                Ok((entries, cursor))
            })
            .await?;
            cursor = read_on;
            let nothing = entries.is_empty();
            for entry in entries {
                let millis = entry.at / 1_000_000;
                if options.until > 0 && millis > options.until {
                    return Ok(());
                }
                if millis < options.since {
                    continue;
                }
                let (task, node) = (name.to_owned(), node.to_owned());
                let log =
                    LogEntry { task, node, stream: entry.stream, at: entry.at, line: entry.line.into() };
                if to.send(StreamData { data: Some(Data::Log(log)) }).await.is_err() {
                    return Ok(());
                }
            }
            if nothing {
                if ended {
                    return Ok(());
                }
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

async fn fail(error: &LogError, to: &mpsc::Sender<StreamData>) {
    // The other end may have gone.
    let _ = to.send(StreamData { data: Some(Data::Error(error.to_string())) }).await;
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?.map_err(LogError::Read)
}
