//! Changes of a cluster's controllers while it runs.

use crate::{
    cluster::Cluster,
    view::ControllerView,
    wait::{wait_for, within},
};

/// How long a change may take, in seconds: it waits for a leader, and for a log to be copied.
const PATIENCE: u64 = 90;

impl Cluster {
    /// The controllers, as far as the cluster answers.
    fn members(&self) -> Option<Vec<ControllerView>> {
        self.try_json(&["get", "controllers", "-o", "json", "--timeout", "5s"])
    }

    fn role(&self, name: &str) -> Option<String> {
        let member = self.members()?.into_iter().find(|one| one.name == name);
        Some(member.map_or_else(String::new, |one| one.role))
    }

    /// Takes a controller out of the cluster, and has another one of its name, with an empty disk, join in its place.
    ///
    /// # Panics
    /// When that isn't done in time.
    pub fn replace_controller(&mut self, index: usize) {
        let name = format!("c{}", index + 1);
        let remove = || {
            let output = self.run(&["controller", "rm", &name, "--yes", "--timeout", "5s"]);
            (String::from_utf8_lossy(&output.stderr).into_owned(), self.role(&name))
        };
        let removed = |(_, role): &(String, Option<String>)| role.as_ref().is_some_and(String::is_empty);
        within(PATIENCE, &format!("{name} is removed"), remove, removed);
        self.kill_controller(index);
        std::fs::remove_dir_all(self.path(&name)).expect("a data directory can be removed");
        let token = wait_for("a token", PATIENCE, || {
            let output = self.run(&["token", "show", "--role", "controller", "--timeout", "5s"]);
            let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            output.status.success().then_some(token)
        });
        let addresses = self.controller_addresses();
        let through =
            addresses.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, one)| one.as_str());
        let how = ["--join".to_owned(), through.collect::<Vec<_>>().join(",")];
        self.start_controller_with(index, &how, &[("WHARF_TOKEN", &token)]);
        wait_for(&format!("the new {name} votes"), PATIENCE, || {
            self.role(&name).filter(|role| !role.is_empty() && role != "learner")
        });
    }
}
