//! Clients that use registers all at once, from the cluster's client host, until they are told to stop.

use super::{
    client::{Client, Reading, Route},
    history::{Call, History, Operation, Outcome, Recorder},
};
use crate::Cluster;
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use wharf_identity::ClientContext;

/// Clients that stay with one controller, for each controller.
const PINNED: usize = 1;
/// Clients that go from controller to controller.
const ROTATING: usize = 4;
/// Operations on a register before the next one is taken: long enough to live through a fault, short enough to judge.
const OPERATIONS_PER_KEY: u64 = 150;
/// The longest pause between two operations of a client.
const PAUSE: Duration = Duration::from_millis(80);

/// What the clients of one run share.
#[derive(Debug)]
struct Shared {
    name: String,
    recorder: Recorder,
    stop: AtomicBool,
    tickets: AtomicU64,
    values: AtomicU64,
    clients: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

impl Shared {
    fn record(&self, operation: Operation) {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }

    fn key(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    async fn operate(&self, client: &mut Client, number: u64, key: String, call: Call) -> Outcome {
        let start = self.recorder.now();
        let (outcome, controller) = client.call(&key, call, Reading::Linearizable).await;
        let end = self.recorder.now();
        self.record(Operation { client: number, key, call, start, end, outcome, controller });
        outcome
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Workload {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Workload {
    /// Starts clients of `cluster`: some that stay with one controller each, some that go round. Registers are named
    /// after `name`.
    ///
    /// # Panics
    /// When the admin's context can't be read.
    #[must_use]
    pub fn start(cluster: &Cluster, name: &str) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            recorder: Recorder::start(),
            stop: AtomicBool::new(false),
            tickets: AtomicU64::new(0),
            values: AtomicU64::new(1),
            clients: AtomicU64::new(1),
            operations: Mutex::default(),
        });
        let context = context(cluster);
        let controllers = context.addresses.len();
        let routes: Vec<Route> = (0..controllers * PINNED)
            .map(|index| Route::Pinned(index % controllers))
            .chain((0..ROTATING).map(|_| Route::Rotating))
            .collect();
        let here = Arc::clone(&shared);
        let thread = cluster.client_host().spawn(async move {
            let clients = routes.into_iter().map(|route| work(&here, Client::new(&context, route)));
            futures::future::join_all(clients).await;
            look_back(&here, &context).await;
        });
        Workload { shared, thread }
    }

    /// The clock of the run.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        self.shared.recorder
    }

    /// The controllers through which a write was acknowledged that was asked after `moment`.
    #[must_use]
    pub fn acknowledged_since(&self, moment: u64) -> BTreeSet<usize> {
        let operations = self.shared.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations
            .iter()
            .filter(|operation| {
                operation.start >= moment && matches!(operation.outcome, Outcome::Done { .. })
            })
            .map(|operation| operation.controller)
            .collect()
    }

    /// Lets every client finish what it does, reads every register once more, and gives what they saw.
    ///
    /// # Panics
    /// When a client failed.
    #[must_use]
    pub fn finish(self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the clients run to their end");
        let operations =
            std::mem::take(&mut *self.shared.operations.lock().unwrap_or_else(PoisonError::into_inner));
        History::new(operations)
    }
}

/// The admin's context, with the addresses of all controllers.
///
/// # Panics
/// When it can't be read.
#[must_use]
pub fn context(cluster: &Cluster) -> ClientContext {
    let path = cluster.path("admin.json");
    let mut context = ClientContext::load(Path::new(&path)).expect("the admin's context can be read");
    context.addresses = cluster.controller_addresses();
    context
}

/// One client's work: half reads, the rest writes and check-and-sets against what it saw last.
async fn work(shared: &Shared, mut client: Client) {
    let mut number = shared.clients.fetch_add(1, Ordering::Relaxed);
    let mut key = u64::MAX;
    let mut seen = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let now = shared.tickets.fetch_add(1, Ordering::Relaxed) / OPERATIONS_PER_KEY;
        if now != key {
            (key, seen) = (now, 0);
        }
        let value = || shared.values.fetch_add(1, Ordering::Relaxed);
        let call = match fastrand::u8(..100) {
            0..45 => Call::Read,
            45..65 => Call::Write { value: value() },
            _ => Call::Cas { expected: seen, value: value() },
        };
        let outcome = shared.operate(&mut client, number, shared.key(key), call).await;
        match outcome {
            Outcome::Read { version, .. } | Outcome::Done { version } => seen = version,
            // Nobody may have two operations under way.
            Outcome::Unknown => number = shared.clients.fetch_add(1, Ordering::Relaxed),
            Outcome::Conflict | Outcome::Failed => {}
        }
        // Where nobody listens, asking again at once would only use registers up.
        if outcome == Outcome::Failed || fastrand::bool() {
            tokio::time::sleep(PAUSE.mul_f32(fastrand::f32())).await;
        }
    }
}

/// Reads every register once more through every controller: what was acknowledged long ago is there too.
async fn look_back(shared: &Shared, context: &ClientContext) {
    let last = shared.tickets.load(Ordering::Relaxed) / OPERATIONS_PER_KEY;
    for controller in 0..context.addresses.len() {
        let mut client = Client::new(context, Route::Pinned(controller));
        let number = shared.clients.fetch_add(1, Ordering::Relaxed);
        for key in 0..=last {
            shared.operate(&mut client, number, shared.key(key), Call::Read).await;
        }
    }
}
