//! Waits until services are as they should be, and shows how it goes.

mod display;
mod verdict;

use crate::{
    client::{Client, all, services, tasks},
    failure::{Failure, Result},
    watch::{Update, Watch},
};
use display::Display;
use futures::StreamExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::Duration,
};
use tokio::time::{Instant, timeout_at};
pub use verdict::is_final;
use verdict::{Verdict, judge};
use wharf_proto::v1::{GetRequest, Kind, Object, Service, Task, object};

/// Updates that are looked at together, if so many are there.
const BATCH: usize = 1024;
/// Reasons that a failure names.
const REASONS: usize = 10;

/// Which services are followed.
#[derive(Debug, Clone)]
pub enum Scope {
    /// These, which must be there and stay.
    Services(Vec<String>),
    /// All of a stack. Those named must come to be there; those being removed are waited for until they are gone.
    Stack {
        /// The stack.
        name: String,
        /// Full names of the services that there should be.
        services: Vec<String>,
    },
}

impl Scope {
    fn request(&self, kind: Kind) -> GetRequest {
        match (self, kind) {
            (Scope::Stack { name, .. }, _) => GetRequest { stack: name.clone(), all: true, ..all(kind) },
            (Scope::Services(names), Kind::Service) => GetRequest { names: names.clone(), ..all(kind) },
            (Scope::Services(names), _) => match &names[..] {
                [one] => GetRequest { service: one.clone(), all: true, ..all(kind) },
                _ => GetRequest { all: true, ..all(kind) },
            },
        }
    }

    fn expected(&self) -> &[String] {
        match self {
            Scope::Services(names) => names,
            Scope::Stack { services, .. } => services,
        }
    }
}

/// What was there before a change: an old rollout, or an old failure, isn't the change's own.
#[derive(Debug, Default)]
pub struct Before {
    /// When each service's last rollout came into its state.
    rollouts: BTreeMap<String, u64>,
    /// Tasks that had ended.
    ended: BTreeSet<String>,
}

/// What there is of `stacks` before a change.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn before<'a>(client: &Client, stacks: impl IntoIterator<Item = &'a str>) -> Result<Before> {
    let mut found = Before::default();
    for stack in stacks.into_iter().collect::<BTreeSet<_>>() {
        for service in services_of(client, stack).await? {
            if let Some(rollout) = service.rollout {
                found.rollouts.insert(service.name, rollout.since);
            }
        }
        let request = GetRequest { stack: stack.to_owned(), all: true, ..all(Kind::Task) };
        let ended = tasks(client.get(&request).await?).into_iter().filter(is_final);
        found.ended.extend(ended.map(|task| task.id));
    }
    Ok(found)
}

/// Waits until every service has the tasks it should have, all of its current version, and none that it shouldn't.
///
/// # Errors
/// When an update is paused or rolled back, tasks fail again and again, or time is up; the message names the reasons.
pub async fn until_running(client: &Client, scope: &Scope, before: &Before, wait: Duration) -> Result<()> {
    let mut follower = Follower {
        scope,
        before,
        services: BTreeMap::new(),
        tasks: BTreeMap::new(),
        display: Display::new(),
    };
    let ended = timeout_at(Instant::now() + wait, follower.run(client)).await;
    follower.display.finish();
    ended.unwrap_or_else(|_| {
        let message = format!("not everything runs after {}", humantime::format_duration(wait));
        Err(Failure::failed(format!("{message}{}", follower.reasons())))
    })
}

/// Waits until the services of a scope, which are being removed, are gone, and their tasks with them.
///
/// # Errors
/// When somebody made them anew meanwhile, or time is up.
pub async fn until_gone(client: &Client, scope: &Scope, what: &str, wait: Duration) -> Result<()> {
    let mut updates = pin!(Watch::new(client, scope.request(Kind::Service)).updates());
    let mut left: BTreeMap<String, Service> = BTreeMap::new();
    let mut display = Display::new();
    let mut listed = false;
    let gone = timeout_at(Instant::now() + wait, async {
        while let Some(update) = updates.next().await {
            match update? {
                Update::Listed => listed = true,
                Update::Set(Object { object: Some(object::Object::Service(service)) })
                    if scope.expected().is_empty() || scope.expected().contains(&service.name) =>
                {
                    if !service.removing {
                        return Err(Failure::failed(format!("service {} was made anew", service.name)));
                    }
                    display.show(&service, &judge(&service, &[], |_| false));
                    left.insert(service.id.clone(), service);
                }
                Update::Removed(Object { object: Some(object::Object::Service(service)) }) => {
                    if left.remove(&service.id).is_some() {
                        display.gone(&service.name);
                    }
                }
                Update::Set(_) | Update::Removed(_) => {}
            }
            if listed && left.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    });
    let gone = gone.await;
    display.finish();
    gone.unwrap_or_else(|_| {
        let names: Vec<&str> = left.values().map(|service| service.name.as_str()).collect();
        let names = names.join(", ");
        Err(Failure::failed(format!(
            "{what} is not gone yet: tasks of {names} are left (wharf get tasks --all)"
        )))
    })
}

struct Follower<'a> {
    scope: &'a Scope,
    before: &'a Before,
    services: BTreeMap<String, Service>,
    tasks: BTreeMap<String, Task>,
    display: Display,
}

impl Follower<'_> {
    async fn run(&mut self, client: &Client) -> Result<()> {
        let services = Watch::new(client, self.scope.request(Kind::Service)).updates();
        let tasks = Watch::new(client, self.scope.request(Kind::Task)).updates();
        let both = futures::stream::select(
            services.map(|update| (true, update)),
            tasks.map(|update| (false, update)),
        );
        let mut batches = pin!(both.ready_chunks(BATCH));
        let (mut services_listed, mut tasks_listed) = (false, false);
        while let Some(batch) = batches.next().await {
            for (of_services, update) in batch {
                if self.take(update?)? {
                    *if of_services { &mut services_listed } else { &mut tasks_listed } = true;
                }
            }
            if services_listed && tasks_listed && self.look()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes an update in; whether it was that everything has been listed.
    fn take(&mut self, update: Update) -> Result<bool> {
        match update {
            Update::Listed => return Ok(true),
            Update::Set(Object { object: Some(object::Object::Service(service)) }) => {
                self.services.insert(service.name.clone(), service);
            }
            Update::Set(Object { object: Some(object::Object::Task(task)) }) => {
                self.tasks.insert(task.id.clone(), task);
            }
            Update::Removed(Object { object: Some(object::Object::Service(service)) }) => {
                self.services.remove(&service.name);
                self.display.gone(&service.name);
                if self.scope.expected().contains(&service.name) {
                    return Err(Failure::failed(format!("service {} was removed meanwhile", service.name)));
                }
            }
            Update::Removed(Object { object: Some(object::Object::Task(task)) }) => {
                self.tasks.remove(&task.id);
            }
            Update::Set(_) | Update::Removed(_) => {}
        }
        Ok(false)
    }

    /// Shows how it stands; whether all is done.
    fn look(&mut self) -> Result<bool> {
        let mut by_service: BTreeMap<&str, Vec<&Task>> = BTreeMap::new();
        for task in self.tasks.values() {
            by_service.entry(&task.service).or_default().push(task);
        }
        let mut done = self.scope.expected().iter().all(|name| self.services.contains_key(name));
        let mut failed = Vec::new();
        for service in self.services.values() {
            let tasks = by_service.remove(service.name.as_str()).unwrap_or_default();
            let service = self.with_own_rollout(service);
            let verdict = judge(&service, &tasks, |task| self.before.ended.contains(&task.id));
            self.display.show(&service, &verdict);
            match verdict {
                Verdict::Done => {}
                Verdict::Going(_) => done = false,
                Verdict::Failed(why) => failed.push(format!("service {}: {why}", service.name)),
            }
        }
        if failed.is_empty() {
            return Ok(done);
        }
        Err(Failure::failed(format!("{}{}", failed.join("\n"), self.reasons())))
    }

    /// The service without a rollout that was over before.
    fn with_own_rollout(&self, service: &Service) -> Service {
        let mut service = service.clone();
        let old = self.before.rollouts.get(&service.name).copied();
        service.rollout =
            service.rollout.filter(|rollout| rollout.state == "updating" || Some(rollout.since) != old);
        service
    }

    /// Why tasks don't run, each reason once.
    fn reasons(&self) -> String {
        let mut found: BTreeMap<&str, &Task> = BTreeMap::new();
        let telling = |task: &&Task| {
            !task.message.is_empty()
                && !self.before.ended.contains(&task.id)
                && matches!(task.state.as_str(), "failed" | "rejected" | "pending" | "preparing" | "starting")
        };
        for task in self.tasks.values().filter(telling) {
            found.entry(&task.message).or_insert(task);
        }
        let lines = found.iter().take(REASONS);
        lines.map(|(message, task)| format!("\n  {} is {}: {message}", task.name, task.state)).collect()
    }
}

/// The services of a stack.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn services_of(client: &Client, stack: &str) -> Result<Vec<Service>> {
    Ok(services(client.get(&GetRequest { stack: stack.to_owned(), ..all(Kind::Service) }).await?))
}
