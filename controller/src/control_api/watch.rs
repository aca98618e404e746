//! Watching: first what there is, then every change, until the client goes. A watcher remembers what it has shown and
//! compares; one that falls behind compares everything, so that nothing is ever missed, only merged.

use super::{
    Answer, Answers,
    get::relay,
    selection::{Key, Selection},
};
use crate::{
    core::{Core, LEADER_PATIENCE},
    replica::{Change, Changes},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use wharf_cluster::{event::Event, ids::TaskId, state::State};
use wharf_proto::v1::{GetRequest, Kind, Object, WatchResponse, watch_response};

/// Changes that wait for the client; more make its watcher wait, and merge.
const QUEUE: usize = 64;
/// What changes within this time after something was shown is shown as one.
const PACE: Duration = Duration::from_millis(20);

pub(super) async fn watch(core: &Arc<Core>, request: Request<GetRequest>) -> Answer<Answers<WatchResponse>> {
    if let Some((mut leader, request)) = relay(core, &request).await? {
        let answers = leader.watch(request).await?;
        return Ok(answers.map(|stream| Box::pin(stream) as Answers<WatchResponse>));
    }
    let request = request.into_inner();
    let stale = request.stale;
    let selection = Selection::of(request)?;
    let changes = core.published.subscribe();
    let view = if stale { core.published.view() } else { core.read().await? };
    let shown = selection.objects(core, &view.state);
    selection.check_names(&view.state, &shown)?;
    let (client, stream) = mpsc::channel(QUEUE);
    let watcher = Watcher { core: core.clone(), selection, shown, client };
    tokio::spawn(watcher.run(changes, view.index));
    Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
}

/// The client has gone.
struct Gone;

struct Watcher {
    core: Arc<Core>,
    selection: Selection,
    shown: BTreeMap<Key, Object>,
    client: mpsc::Sender<Result<WatchResponse, Status>>,
}

/// What a change may have made different.
#[derive(Debug, Default, PartialEq, Eq)]
struct Affected {
    everything: bool,
    tasks: BTreeSet<TaskId>,
}

impl Watcher {
    async fn run(mut self, changes: Changes, index: u64) {
        let core = self.core.clone();
        let ended = tokio::select! {
            ended = self.follow(changes, index) => ended,
            () = core.stopping.cancelled() => Err(Status::unavailable("this controller is stopping; watch another")),
            () = leaderless(&core) => {
                Err(Status::unavailable("this controller has lost the leader, and what it has may be old; watch another"))
            }
        };
        if let Err(status) = ended {
            // One that has gone needs no reason.
            let _ = self.client.send(Err(status)).await;
        }
    }

    async fn follow(&mut self, mut changes: Changes, index: u64) -> Result<(), Status> {
        let first: Vec<Object> = self.shown.values().cloned().collect();
        for object in first {
            if self.tell(watch_response::Change::Added, Some(object), index).await.is_err() {
                return Ok(());
            }
        }
        if self.tell(watch_response::Change::Bookmark, None, index).await.is_err() {
            return Ok(());
        }
        let mut status = self.core.raft.status();
        let of_controllers = self.selection.kind == Kind::Controller;
        let mut shown = Instant::now();
        loop {
            let mut affected = Affected::default();
            tokio::select! {
                change = changes.next() => match change {
                    Some(change) => affected.add(&self.selection, &change, &self.core.published.state()),
                    None => return Err(Status::unavailable("this controller has stopped")),
                },
                Ok(()) = status.changed(), if of_controllers => affected.everything = true,
                () = self.client.closed() => return Ok(()),
            }
            if affected == Affected::default() {
                continue;
            }
            tokio::time::sleep_until(shown + PACE).await;
            while let Some(change) = changes.try_next() {
                affected.add(&self.selection, &change, &self.core.published.state());
            }
            status.mark_unchanged();
            if self.show(affected).await.is_err() {
                return Ok(());
            }
            shown = Instant::now();
        }
    }

    /// Shows what differs from what has been shown.
    async fn show(&mut self, affected: Affected) -> Result<(), Gone> {
        let view = self.core.published.view();
        let state = &view.state;
        let mut differences = Vec::new();
        if affected.everything {
            let now = self.selection.objects(&self.core, state);
            for (key, before) in &self.shown {
                if !now.contains_key(key) && self.selection.kind != Kind::Event {
                    differences.push((watch_response::Change::Removed, before.clone()));
                }
            }
            for (key, object) in &now {
                differences.extend(difference(self.shown.get(key), object));
            }
            self.shown = now;
        } else {
            let before = self.tasks_shown(&affected.tasks);
            for (key, _) in before.iter().filter(|(_, id)| self.selection.task(state, *id).is_none()) {
                differences
                    .extend(self.shown.remove(key).map(|gone| (watch_response::Change::Removed, gone)));
            }
            for (key, object) in affected.tasks.iter().filter_map(|id| self.selection.task(state, *id)) {
                differences.extend(difference(self.shown.get(&key), &object));
                self.shown.insert(key, object);
            }
        }
        for (change, object) in differences {
            self.tell(change, Some(object), view.index).await?;
        }
        Ok(())
    }

    /// Which of these tasks have been shown, and under which key.
    fn tasks_shown(&self, tasks: &BTreeSet<TaskId>) -> Vec<(Key, TaskId)> {
        self.shown
            .keys()
            .filter_map(|key| {
                Some(TaskId(u64::MAX - key.2)).filter(|id| tasks.contains(id)).map(|id| (key.clone(), id))
            })
            .collect()
    }

    async fn tell(
        &self,
        change: watch_response::Change,
        object: Option<Object>,
        index: u64,
    ) -> Result<(), Gone> {
        let response = WatchResponse { change: change.into(), object, index };
        self.client.send(Ok(response)).await.map_err(|_| Gone)
    }
}

fn difference(before: Option<&Object>, now: &Object) -> Option<(watch_response::Change, Object)> {
    match before {
        None => Some((watch_response::Change::Added, now.clone())),
        Some(before) if before != now => Some((watch_response::Change::Modified, now.clone())),
        Some(_) => None,
    }
}

impl Affected {
    fn add(&mut self, selection: &Selection, change: &Change, state: &State) {
        let Change::Batch(batch) = change else {
            self.everything = true;
            return;
        };
        for event in &batch.events {
            match selection.kind {
                Kind::Task => self.tasks(event, state),
                Kind::Unspecified => {}
                Kind::Stack | Kind::Service | Kind::Event | Kind::Node => self.everything = true,
                Kind::Controller => {
                    self.everything |= matches!(
                        event,
                        Event::ControllerRecorded { .. }
                            | Event::ControllerRemoved { .. }
                            | Event::LevelRaised { .. }
                    );
                }
            }
        }
    }

    fn tasks(&mut self, event: &Event, state: &State) {
        match event {
            Event::TaskCreated { service, slot, .. } => {
                self.tasks.extend(state.tasks_in(*service, *slot).map(|task| task.id));
            }
            Event::TaskPending { id }
            | Event::TaskPlaced { id, .. }
            | Event::TaskDesired { id, .. }
            | Event::TaskEnded { id, .. }
            | Event::TaskRemoved { id } => self.with_slot(*id, state),
            Event::TaskReported { report } => self.with_slot(report.task, state),
            Event::UnplacedExplained { id, .. } => {
                let waiting = state.unplaced_tasks().filter(|task| task.service == *id);
                self.tasks.extend(waiting.map(|task| task.id));
            }
            Event::NodeStateChanged { node, .. } => {
                self.tasks.extend(state.load(*node).tasks.iter().copied());
            }
            Event::NodeRemoved { .. } => self.everything = true,
            _ => {}
        }
    }

    /// A task, and those of its slot: whether they are shown depends on it.
    fn with_slot(&mut self, id: TaskId, state: &State) {
        self.tasks.insert(id);
        if let Some(task) = state.task(id) {
            self.tasks.extend(state.tasks_in(task.service, task.slot).map(|other| other.id));
        }
    }
}

/// Waits until this controller has known no leader for as long as an election may take.
async fn leaderless(core: &Core) {
    let mut leadership = core.leadership.clone();
    loop {
        // An error means that the replica has stopped: there will be no leader.
        let _ = leadership.wait_for(|now| now.leader.is_none()).await;
        let found = leadership.wait_for(|now| now.leader.is_some());
        match tokio::time::timeout(LEADER_PATIENCE, found).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
