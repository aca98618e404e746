//! Waits until services are as they should be, and shows how it goes.

use crate::{
    client::{Client, all, services, tasks},
    failure::{Failure, Result},
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, stderr},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};
use tonic::Streaming;
use wharf_proto::v1::{GetRequest, Kind, Service, Task, WatchResponse, object, watch_response::Change};

/// What can be seen of a service's way.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is as it should be.
    Done,
    /// It is on its way.
    Going,
    /// It will not get there by itself.
    Failed(String),
}

/// When each service's last rollout came into its state: taken before a change, so that an old one isn't taken for
/// the change's own.
pub type Before = BTreeMap<String, u64>;

/// The rollouts of the services of `stacks`, before a change.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn before<'a>(client: &Client, stacks: impl IntoIterator<Item = &'a str>) -> Result<Before> {
    let mut found = Before::new();
    for stack in stacks {
        for service in services_of(client, stack).await? {
            if let Some(rollout) = service.rollout {
                found.insert(service.name, rollout.since);
            }
        }
    }
    Ok(found)
}

/// Waits until every service has the tasks it should have, all of its current version.
///
/// # Errors
/// When an update is paused or rolled back, or time is up; the message names the reasons.
pub async fn until_running(client: &Client, names: &[String], before: &Before, wait: Duration) -> Result<()> {
    let deadline = Instant::now() + wait;
    let display = Display::new(names);
    loop {
        match timeout_at(deadline, watch(client, names, before, &display)).await {
            Ok(Ok(true)) => return Ok(()),
            // The watch broke: another controller will tell how it goes on.
            Ok(Ok(false)) => {}
            Ok(Err(failure)) => return Err(failure),
            Err(_) => {
                let reasons = reasons(client, names).await?;
                return Err(Failure::failed(format!("not everything runs after {wait:?}{reasons}")));
            }
        }
    }
}

/// Follows one watch; true when all is done, false when the watch ended before.
async fn watch(client: &Client, names: &[String], before: &Before, display: &Display) -> Result<bool> {
    let request = GetRequest { names: names.to_vec(), ..all(Kind::Service) };
    let opened = client
        .call(|mut api| {
            let request = request.clone();
            async move { api.watch(request).await }
        })
        .await;
    let mut stream: Streaming<WatchResponse> = opened?;
    let mut known: BTreeMap<String, Service> = BTreeMap::new();
    let mut complete = false;
    while let Ok(Some(change)) = stream.message().await {
        let kind = change.change();
        complete |= kind == Change::Bookmark;
        if let Some(object::Object::Service(mut service)) = change.object.and_then(|object| object.object) {
            let old = before.get(&service.name).copied();
            service.rollout =
                service.rollout.filter(|rollout| rollout.state == "updating" || Some(rollout.since) != old);
            if kind == Change::Removed {
                return Err(Failure::failed(format!("service {} was removed meanwhile", service.name)));
            }
            display.show(&service);
            known.insert(service.name.clone(), service);
        }
        if !complete {
            continue;
        }
        let mut done = true;
        for service in known.values() {
            match verdict(service) {
                Verdict::Done => {}
                Verdict::Going => done = false,
                Verdict::Failed(why) => {
                    let reasons = reasons(client, names).await?;
                    return Err(Failure::failed(format!("service {}: {why}{reasons}", service.name)));
                }
            }
        }
        if done {
            return Ok(true);
        }
    }
    Ok(false)
}

fn verdict(service: &Service) -> Verdict {
    if let Some(rollout) = &service.rollout {
        match rollout.state.as_str() {
            "updating" | "rolling back" => return Verdict::Going,
            "paused" | "rollback paused" | "rolled back" => {
                return Verdict::Failed(format!("the update is {}: {}", rollout.state, rollout.message));
            }
            _ => {}
        }
    }
    let job = service.mode.ends_with("-job");
    let reached = if job { service.completed } else { service.up_to_date };
    let surplus = !job && service.running > service.desired;
    if reached >= service.desired && !surplus { Verdict::Done } else { Verdict::Going }
}

/// Why tasks of these services don't run, each reason once.
async fn reasons(client: &Client, names: &[String]) -> Result<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        let request = GetRequest { service: name.clone(), all: true, ..all(Kind::Task) };
        for task in tasks(client.get(&request).await?) {
            let text = reason(&task);
            if !text.is_empty() && !found.contains(&text) {
                found.push(text);
            }
        }
    }
    found.truncate(10);
    Ok(found.iter().map(|reason| format!("\n  {reason}")).collect())
}

fn reason(task: &Task) -> String {
    let telling = matches!(task.state.as_str(), "failed" | "rejected" | "pending" | "preparing" | "starting");
    if telling && !task.message.is_empty() {
        format!("{} is {}: {}", task.name, task.state, task.message)
    } else {
        String::new()
    }
}

/// A bar for each service on a terminal, a line for each change elsewhere.
struct Display {
    bars: BTreeMap<String, ProgressBar>,
    lines: std::cell::RefCell<BTreeMap<String, String>>,
    _all: MultiProgress,
}

impl Display {
    fn new(names: &[String]) -> Self {
        let every = MultiProgress::new();
        let mut bars = BTreeMap::new();
        if stderr().is_terminal() {
            let style = ProgressStyle::with_template("{prefix:24} [{bar:24}] {pos}/{len} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ");
            for name in names {
                let bar = every.add(ProgressBar::new(0).with_style(style.clone()).with_prefix(name.clone()));
                bars.insert(name.clone(), bar);
            }
        }
        Display { bars, lines: std::cell::RefCell::default(), _all: every }
    }

    fn show(&self, service: &Service) {
        let job = service.mode.ends_with("-job");
        let reached = if job { service.completed } else { service.up_to_date };
        let state = match &service.rollout {
            Some(rollout) if rollout.state != "completed" => rollout.state.clone(),
            _ => service.unplaced.get(&service.template).cloned().unwrap_or_default(),
        };
        if let Some(bar) = self.bars.get(&service.name) {
            bar.set_length(u64::from(service.desired));
            bar.set_position(u64::from(reached));
            bar.set_message(state);
            if verdict(service) == Verdict::Done {
                bar.finish();
            }
            return;
        }
        let line = format!("{}: {reached} of {} {state}", service.name, service.desired);
        let line = line.trim_end().to_owned();
        if self.lines.borrow().get(&service.name) != Some(&line) {
            eprintln!("{line}");
            self.lines.borrow_mut().insert(service.name.clone(), line);
        }
    }
}

/// The services of a stack.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn services_of(client: &Client, stack: &str) -> Result<Vec<Service>> {
    Ok(services(client.get(&GetRequest { stack: stack.to_owned(), ..all(Kind::Service) }).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_proto::v1::Rollout;

    fn service(state: &str, up_to_date: u32) -> Service {
        let rollout = Rollout { state: state.to_owned(), ..Rollout::default() };
        Service {
            mode: "replicated".to_owned(),
            rollout: Some(rollout),
            running: 3,
            desired: 3,
            up_to_date,
            ..Service::default()
        }
    }

    #[test]
    fn an_update_is_followed_to_its_end() {
        assert_eq!(verdict(&service("updating", 3)), Verdict::Going);
        assert_eq!(verdict(&service("completed", 2)), Verdict::Going);
        assert_eq!(verdict(&service("completed", 3)), Verdict::Done);
        assert!(matches!(verdict(&service("rolled back", 3)), Verdict::Failed(_)));
        assert!(matches!(verdict(&service("paused", 1)), Verdict::Failed(_)));
    }
}
