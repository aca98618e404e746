//! The thread that writes the log: everything that waits goes into one transaction, so one fsync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use tokio::sync::mpsc::UnboundedSender;

use super::driver::Event;
use super::node::Write;
use super::state_machine::StateMachine;
use super::storage::{Store, StoreError};

/// Work for the writer.
#[allow(clippy::large_enum_variant)] // nearly all of it is writes
pub(super) enum Work {
    /// A step of the log.
    Write(Write),
    /// A snapshot that isn't needed.
    Discard(u64),
}

/// At most this many steps in a transaction, to bound its memory.
const MAX_STEPS: usize = 256;

/// Starts the writer. It ends when the sender is dropped and everything is written, or when writing
/// fails.
pub(super) fn spawn<D: Store, S: StateMachine>(
    store: Arc<D>,
    events: UnboundedSender<Event<S>>,
) -> std::io::Result<(Sender<Work>, JoinHandle<()>)> {
    let (sender, receiver) = channel();
    let thread = Builder::new().name("raft-writer".to_owned()).spawn(move || {
        if let Err(error) = run(&*store, &receiver, &events) {
            // The driver being gone, there is nobody to stop.
            let _ = events.send(Event::WriteFailed(error));
        }
    })?;
    Ok((sender, thread))
}

fn run<S: StateMachine>(
    store: &impl Store,
    work: &Receiver<Work>,
    events: &UnboundedSender<Event<S>>,
) -> Result<(), StoreError> {
    while let Ok(first) = work.recv() {
        let (mut batches, mut discard, mut last) = (Vec::new(), Vec::new(), None);
        for item in std::iter::once(first).chain(std::iter::from_fn(|| work.try_recv().ok())) {
            match item {
                Work::Write(write) => {
                    last = Some(write.id);
                    batches.push(write.batch);
                }
                Work::Discard(slot) => discard.push(slot),
            }
            if batches.len() >= MAX_STEPS {
                break;
            }
        }
        if let Some(id) = last {
            store.persist(&batches)?;
            // Only a driver that is being dropped doesn't listen.
            let _ = events.send(Event::Persisted(id));
        }
        for slot in discard {
            store.discard(slot)?;
        }
    }
    Ok(())
}
