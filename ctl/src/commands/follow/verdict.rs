//! Whether a service has got where it should be, is on its way, or will not get there by itself.

use std::collections::BTreeMap;
use wharf_proto::v1::{Rollout, Service, Task};

/// Failures of one slot after which nobody believes that the next attempt will do better.
const ENOUGH: u32 = 3;

/// What can be seen of a service's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Done,
    /// It is on its way; the text says what it waits for, if anything is known.
    Going(String),
    /// It will not get there by itself.
    Failed(String),
}

/// Judges a service by its own record and its tasks; `old` says which tasks had ended before it began to count.
pub fn judge(service: &Service, tasks: &[&Task], old: impl Fn(&Task) -> bool) -> Verdict {
    if service.removing {
        return Verdict::Going("removing".to_owned());
    }
    if let Some(rollout) = &service.rollout
        && let Some(verdict) = judge_rollout(rollout)
    {
        match verdict {
            Verdict::Going(_) if !continues_whatever_fails(service) => return verdict,
            Verdict::Failed(_) => return verdict,
            _ => {}
        }
    }
    let stopping = tasks.iter().filter(|task| is_stopping(task)).count();
    let reached = reached(service) + ended_for_good(service, tasks);
    let surplus = !is_job(service) && service.running > service.desired;
    if reached >= service.desired && !surplus && stopping == 0 {
        return Verdict::Done;
    }
    if reached < service.desired
        && let Some(why) = hopeless(service, tasks, old)
    {
        return Verdict::Failed(why);
    }
    Verdict::Going(match service.unplaced.get(&service.template) {
        Some(why) => format!("no node yet: {why}"),
        None if reached >= service.desired && stopping > 0 => format!("{stopping} tasks are stopping"),
        None => String::new(),
    })
}

/// How many tasks are where they should be.
pub fn reached(service: &Service) -> u32 {
    if is_job(service) { service.completed } else { service.up_to_date }
}

fn is_job(service: &Service) -> bool {
    service.mode.ends_with("-job")
}

fn judge_rollout(rollout: &Rollout) -> Option<Verdict> {
    let because = if rollout.message.is_empty() { String::new() } else { format!(": {}", rollout.message) };
    match rollout.state.as_str() {
        "updating" | "rolling back" => Some(Verdict::Going(format!("{}{because}", rollout.state))),
        "paused" | "rollback paused" | "rolled back" => {
            Some(Verdict::Failed(format!("the update is {}{because}", rollout.state)))
        }
        _ => None,
    }
}

/// Whether an update goes on though tasks fail: then the cluster gives no verdict of its own.
fn continues_whatever_fails(service: &Service) -> bool {
    let update = service.spec.as_ref().and_then(|spec| spec.update.as_ref());
    update.is_some_and(|update| update.failure_action == "continue")
}

/// Whether a task has ended.
pub fn is_final(task: &Task) -> bool {
    matches!(task.state.as_str(), "complete" | "failed" | "rejected" | "shutdown" | "orphaned")
}

/// Not ended, on a node that would tell if it had.
fn is_live(task: &Task) -> bool {
    !is_final(task) && task.node_state != "down"
}

fn is_stopping(task: &Task) -> bool {
    is_live(task) && matches!(task.desired.as_str(), "shutdown" | "remove")
}

type Slot<'a> = (u32, &'a str);

fn slot(task: &Task) -> Slot<'_> {
    // A global service's tasks have no number, but each has its node.
    (task.slot, if task.slot == 0 { &task.node_id } else { "" })
}

fn restart_condition(service: &Service) -> (&str, Option<u32>) {
    let template = service.spec.as_ref().and_then(|spec| spec.template.as_ref());
    match template.and_then(|template| template.restart.as_ref()) {
        Some(restart) => (&restart.condition, restart.max_attempts),
        None => ("any", None),
    }
}

/// Slots of a service that isn't a job whose task completed and is not to be started again.
fn ended_for_good(service: &Service, tasks: &[&Task]) -> u32 {
    if is_job(service) || restart_condition(service).0 == "any" {
        return 0;
    }
    let current = |task: &&&Task| task.template == service.template;
    let ended = tasks.iter().filter(current).filter(|task| task.state == "complete").count();
    u32::try_from(ended).unwrap_or(u32::MAX)
}

/// Why no further attempt is worth waiting for.
fn hopeless(service: &Service, tasks: &[&Task], old: impl Fn(&Task) -> bool) -> Option<String> {
    let condition = restart_condition(service);
    let limit = match condition {
        ("none", _) => 1,
        (_, Some(attempts)) => ENOUGH.min(attempts.saturating_add(1)),
        (_, None) => ENOUGH,
    };
    // Where nothing is ever started again, an old failure is as good as a new one.
    let counts = |task: &&&Task| task.template == service.template && (condition.0 == "none" || !old(task));
    let mut failures: BTreeMap<Slot<'_>, (u32, &Task)> = BTreeMap::new();
    for task in tasks.iter().filter(counts) {
        if matches!(task.state.as_str(), "failed" | "rejected") {
            let entry = failures.entry(slot(task)).or_insert((0, task));
            entry.0 += 1;
            if task.since >= entry.1.since {
                entry.1 = task;
            }
        }
    }
    let (count, last) = failures.into_values().find(|(count, _)| *count >= limit)?;
    let times = if count == 1 { String::new() } else { format!(" {count} times") };
    let why = if last.message.is_empty() { "no reason is known" } else { &last.message };
    Some(format!("{} {}{times}: {why}", last.name, last.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_proto::v1::{RestartPolicy, ServiceSpec, TaskTemplate, UpdateConfig};

    fn service(rollout: &str, up_to_date: u32) -> Service {
        let rollout = Rollout { state: rollout.to_owned(), ..Rollout::default() };
        Service {
            name: "shop/web".to_owned(),
            mode: "replicated".to_owned(),
            template: 2,
            rollout: Some(rollout).filter(|rollout| !rollout.state.is_empty()),
            running: up_to_date,
            desired: 3,
            up_to_date,
            ..Service::default()
        }
    }

    fn with_restart(mut service: Service, condition: &str, max_attempts: Option<u32>) -> Service {
        let restart = RestartPolicy { condition: condition.to_owned(), max_attempts, ..Default::default() };
        let template = TaskTemplate { restart: Some(restart), ..Default::default() };
        service.spec = Some(ServiceSpec { template: Some(template), ..Default::default() });
        service
    }

    fn task(slot: u32, state: &str, since: u64) -> Task {
        Task {
            id: format!("{slot}-{since}"),
            name: format!("shop/web.{slot}"),
            slot,
            template: 2,
            state: state.to_owned(),
            desired: "running".to_owned(),
            message: format!("reason {since}"),
            since,
            ..Task::default()
        }
    }

    fn verdict(service: &Service, tasks: &[Task]) -> Verdict {
        judge(service, &tasks.iter().collect::<Vec<_>>(), |task| task.since < 10)
    }

    #[test]
    fn an_update_is_followed_to_its_end() {
        let going = Verdict::Going("updating".to_owned());
        assert_eq!(verdict(&service("updating", 3), &[]), going);
        assert_eq!(verdict(&service("completed", 2), &[]), Verdict::Going(String::new()));
        assert_eq!(verdict(&service("completed", 3), &[]), Verdict::Done);
        assert!(matches!(verdict(&service("rolled back", 3), &[]), Verdict::Failed(_)));
        assert!(matches!(verdict(&service("paused", 1), &[]), Verdict::Failed(_)));
        assert!(matches!(verdict(&service("rollback paused", 1), &[]), Verdict::Failed(_)));
    }

    #[test]
    fn a_slot_that_fails_again_and_again_is_hopeless() {
        let twice = [task(1, "failed", 11), task(1, "failed", 12), task(2, "failed", 11)];
        assert_eq!(verdict(&service("", 1), &twice), Verdict::Going(String::new()));
        let thrice = [&twice[..], &[task(1, "rejected", 13)]].concat();
        let Verdict::Failed(why) = verdict(&service("", 1), &thrice) else { panic!("it is hopeless") };
        assert_eq!(why, "shop/web.1 rejected 3 times: reason 13");
        // While an update is under way, the cluster is the judge.
        assert_eq!(verdict(&service("updating", 1), &thrice), Verdict::Going("updating".to_owned()));
    }

    #[test]
    fn an_update_that_goes_on_whatever_fails_is_judged_here() {
        let mut service = service("updating", 1);
        let update = UpdateConfig { failure_action: "continue".to_owned(), ..Default::default() };
        service.spec = Some(ServiceSpec { update: Some(update), ..Default::default() });
        let tasks = [task(1, "failed", 11), task(1, "failed", 12), task(1, "failed", 13)];
        assert!(matches!(verdict(&service, &tasks), Verdict::Failed(_)));
    }

    #[test]
    fn what_failed_before_or_in_another_version_does_not_count() {
        let mut tasks =
            [task(1, "failed", 7), task(1, "failed", 11), task(1, "failed", 12), task(1, "failed", 13)];
        tasks[3].template = 1;
        assert_eq!(verdict(&service("", 1), &tasks), Verdict::Going(String::new()));
    }

    #[test]
    fn the_restart_policy_says_how_many_failures_are_enough() {
        let one = [task(1, "failed", 11)];
        assert!(matches!(verdict(&with_restart(service("", 1), "none", None), &one), Verdict::Failed(_)));
        let never = with_restart(service("", 1), "none", None);
        assert!(matches!(verdict(&never, &[task(1, "failed", 7)]), Verdict::Failed(_)));
        let once = with_restart(service("", 1), "any", Some(1));
        assert!(matches!(verdict(&once, &one), Verdict::Going(_)));
        assert!(matches!(
            verdict(&once, &[task(1, "failed", 11), task(1, "failed", 12)]),
            Verdict::Failed(_)
        ));
    }

    #[test]
    fn a_task_that_completes_and_is_not_restarted_has_got_there() {
        let service = with_restart(service("", 2), "on-failure", None);
        assert_eq!(verdict(&service, &[task(3, "complete", 11)]), Verdict::Done);
    }

    #[test]
    fn what_is_too_much_is_waited_for_but_not_on_a_node_that_is_down() {
        let mut stopping = task(4, "running", 11);
        stopping.desired = "shutdown".to_owned();
        let going = Verdict::Going("1 tasks are stopping".to_owned());
        assert_eq!(verdict(&service("", 3), std::slice::from_ref(&stopping)), going);
        stopping.node_state = "down".to_owned();
        assert_eq!(verdict(&service("", 3), &[stopping]), Verdict::Done);
    }

    #[test]
    fn a_reason_for_waiting_is_told() {
        let mut service = service("", 1);
        service.unplaced.insert(2, "3 of 3 nodes: not enough memory".to_owned());
        let going = Verdict::Going("no node yet: 3 of 3 nodes: not enough memory".to_owned());
        assert_eq!(verdict(&service, &[]), going);
    }

    #[test]
    fn a_job_is_done_when_it_has_completed() {
        let mut service = service("", 0);
        service.mode = "replicated-job".to_owned();
        assert_eq!(verdict(&service, &[]), Verdict::Going(String::new()));
        service.completed = 3;
        assert_eq!(verdict(&service, &[]), Verdict::Done);
    }
}
