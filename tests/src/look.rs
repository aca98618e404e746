//! What a cluster's client says of its objects.

use crate::{
    cluster::Cluster,
    view::{ControllerView, EventView, NodeView, ServiceView, TaskView},
    wait::within,
};
use serde::de::DeserializeOwned;

impl Cluster {
    pub(crate) fn try_json<T: DeserializeOwned>(&self, args: &[&str]) -> Option<T> {
        let output = self.run(args);
        serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
    }

    fn list<T: DeserializeOwned>(&self, args: &[&str]) -> Vec<T> {
        let printed = self.ok(args);
        serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("wharf {}: {error}: {printed}", args.join(" ")))
    }

    /// The controllers.
    #[must_use]
    pub fn controllers(&self) -> Vec<ControllerView> {
        self.list(&["get", "controllers", "-o", "json"])
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeView> {
        self.list(&["get", "nodes", "-o", "json"])
    }

    /// What happened lately.
    #[must_use]
    pub fn events(&self) -> Vec<EventView> {
        self.list(&["events", "-o", "json"])
    }

    /// A service.
    ///
    /// # Panics
    /// When there is no such service.
    #[must_use]
    pub fn service(&self, name: &str) -> ServiceView {
        self.list(&["get", "services", name, "-o", "json"]).pop().expect("a named service is listed")
    }

    /// A service's tasks that have not ended.
    #[must_use]
    pub fn tasks(&self, service: &str) -> Vec<TaskView> {
        self.list(&["get", "tasks", "--service", service, "-o", "json"])
    }

    /// A service's tasks, those that have ended too.
    #[must_use]
    pub fn all_tasks(&self, service: &str) -> Vec<TaskView> {
        self.list(&["get", "tasks", "--service", service, "--all", "-o", "json"])
    }

    /// A service's running tasks, by name.
    #[must_use]
    pub fn running(&self, service: &str) -> Vec<TaskView> {
        let mut tasks = self.tasks(service);
        tasks.retain(|task| {
            task.state == "running" && task.desired == "running" && task.node_state == "ready"
        });
        tasks.sort_by(|a, b| a.name.cmp(&b.name));
        tasks
    }

    /// Waits until a service has so many running tasks and no other, and gives them.
    pub fn await_running(&self, service: &str, count: usize, seconds: u64) -> Vec<TaskView> {
        let what = format!("{service} has {count} running tasks and no other");
        within(
            seconds,
            &what,
            || self.tasks(service),
            |tasks| {
                tasks.iter().all(|task| task.state == "running" && task.desired == "running")
                    && tasks.len() == count
            },
        );
        self.running(service)
    }

    /// Waits until a node is down, and so many tasks of a service run on the others.
    ///
    /// # Panics
    /// When that takes longer than it may.
    pub fn await_moved(&self, node: &str, service: &str, count: usize) {
        within(
            30,
            &format!("{node} is down"),
            || self.nodes(),
            |nodes| nodes.iter().any(|one| one.name == node && one.state == "down"),
        );
        within(
            30,
            &format!("{count} tasks run on the other nodes"),
            || self.running(service),
            |tasks| tasks.len() == count && tasks.iter().all(|task| task.node != node),
        );
    }
}
