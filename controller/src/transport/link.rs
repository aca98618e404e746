//! The stream of Raft's messages to one peer: opened when there is something to send, opened again with growing pauses.

use super::{MAX_FRAME, Peers, reason::reason};
use crate::raft::{
    Unreachable,
    budget::{Budget, Share},
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};
use wharf_cluster::ids::ControllerId;
use wharf_proto::v1::{RaftMessages, raft_api_client::RaftApiClient};

/// Batches that wait for a peer; more are lost, and Raft is told.
const QUEUE: usize = 512;
/// Bytes that wait for a peer, likewise: a peer that is slow or gone must not fill the memory of those who go on.
const QUEUE_BYTES: usize = 16 << 20;
/// Frames that wait in the stream itself.
const FRAMES: usize = 8;
/// What one frame holds, unless a single message is larger.
const FRAME_BYTES: usize = 1 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Messages that wait for a peer, and their part of what may wait.
type Batch = (Vec<Bytes>, Share);

/// The sending end of the queue to a peer.
#[derive(Clone)]
pub(super) struct Link {
    queue: mpsc::Sender<Batch>,
    budget: Budget,
}

impl Link {
    fn new() -> (Self, mpsc::Receiver<Batch>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Link { queue, budget: Budget::new(QUEUE_BYTES) }, receiver)
    }

    /// Queues messages, unless too much waits already.
    pub(super) fn send(&self, messages: Vec<Bytes>) -> Result<(), Unreachable> {
        let share = self.budget.take(messages.iter().map(Bytes::len).sum()).ok_or(Unreachable)?;
        self.queue.try_send((messages, share)).map_err(|_| Unreachable)
    }
}

/// The link to a peer, which is made if there is none.
pub(super) fn to(peers: &Arc<Peers>, to: u64) -> Link {
    let mut links = peers.links.lock();
    if let Some(link) = links.get(&to)
        && !link.queue.is_closed()
    {
        return link.clone();
    }
    let (link, receiver) = Link::new();
    // Called by the replica's thread, whose own runtime is the one that this runs on: what the replica says goes out
    // without waking another thread, and behind nobody's requests.
    tokio::spawn(run(peers.clone(), to, receiver));
    links.insert(to, link.clone());
    link
}

async fn run(peers: Arc<Peers>, to: u64, mut queue: mpsc::Receiver<Batch>) {
    let controller = ControllerId(to);
    let mut pause = FIRST_PAUSE;
    let mut silent = false;
    while let Some(first) = queue.recv().await {
        let opened = tokio::time::Instant::now();
        let Err(reason) = exchange(&peers, to, first, &mut queue).await else { return };
        // Told once, not at each attempt while a peer is down.
        if silent {
            tracing::debug!(%controller, reason = reason.message(), "no stream to a controller");
        } else {
            tracing::warn!(%controller, reason = reason.message(), "lost the stream to a controller");
        }
        silent = opened.elapsed() < LONGEST_PAUSE;
        pause = if silent { (pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        peers.doubt(to);
        peers.report_unreachable(to).await;
        tokio::time::sleep(pause).await;
        while queue.try_recv().is_ok() {}
        peers.report_unreachable(to).await;
    }
}

/// Sends until the stream breaks, or nobody sends any more.
async fn exchange(
    peers: &Peers,
    to: u64,
    first: Batch,
    queue: &mut mpsc::Receiver<Batch>,
) -> Result<(), Status> {
    let channel = peers.dial(to).map_err(|error| Status::unavailable(error.to_string()))?;
    let mut client = RaftApiClient::new(channel).max_encoding_message_size(MAX_FRAME);
    let (frames, stream) = mpsc::channel(FRAMES);
    let mut request = Request::new(ReceiverStream::new(stream));
    peers.introduce(request.metadata_mut());
    let answer = client.exchange(request);
    tokio::pin!(answer);
    let ended = |answer: Result<_, Status>| match answer {
        Ok(_) => Status::unavailable("the peer ended the stream"),
        Err(status) => {
            peers.heed(&status);
            Status::unavailable(reason(&status))
        }
    };
    let mut next = Some(first);
    while let Some(messages) = next {
        let frame = fill(messages, queue);
        tokio::select! {
            sent = frames.send(frame) => if sent.is_err() {
                return Err(ended(answer.await));
            },
            result = &mut answer => return Err(ended(result)),
        }
        next = tokio::select! {
            messages = queue.recv() => messages,
            result = &mut answer => return Err(ended(result)),
        };
    }
    Ok(())
}

/// One frame from what waits.
fn fill((mut messages, _): Batch, queue: &mut mpsc::Receiver<Batch>) -> RaftMessages {
    let mut bytes: usize = messages.iter().map(Bytes::len).sum();
    while bytes < FRAME_BYTES
        && let Ok((more, _)) = queue.try_recv()
    {
        bytes += more.iter().map(Bytes::len).sum::<usize>();
        messages.extend(more);
    }
    RaftMessages { messages }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_peer_that_takes_nothing_is_bounded_in_bytes() {
        let (link, mut queue) = Link::new();
        let message = || vec![Bytes::from(vec![0; 256 << 10])];
        let sent = (0..1000).take_while(|_| link.send(message()).is_ok()).count();
        assert_eq!(sent, QUEUE_BYTES / (256 << 10));
        let frame = fill(queue.try_recv().unwrap(), &mut queue);
        assert_eq!(frame.messages.len(), 4);
        assert_eq!((0..1000).take_while(|_| link.send(message()).is_ok()).count(), 4);
        drop(queue);
        assert!(link.send(message()).is_err());
    }
}
