//! How far a rollout is, read off the slots' tasks.

use super::Seen;
use crate::{
    ids::Timestamp,
    model::{RestartCondition, Task, TaskState},
    orchestrator::{
        context::Context,
        restart::{Tended, ended_by_itself, next_start},
    },
};
use std::sync::Arc;

/// How far one slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its task is of the new template, and was seen running or failing.
    Updated,
    /// Its new task is not there yet, or not long enough.
    UnderWay {
        /// When it will have been there for long enough.
        until: Option<Timestamp>,
    },
    /// Its old task goes on because a new one failed, and another new one is under way.
    Retrying,
    /// Its old task goes on because a new one failed, and another new one may start.
    Retry {
        /// From then on.
        at: Timestamp,
    },
    /// Its old task goes on because new ones failed as often as they may.
    Exhausted,
    /// Its task is of an old template.
    Outdated {
        /// Whether that task runs.
        runs: bool,
    },
}

pub(super) fn standing(context: &Context<'_>, seen: &Seen<'_>) -> Standing {
    let target = context.service.template;
    let slot = &seen.slot;
    let attempts: Vec<&Arc<Task>> = attempts(context, seen).collect();
    let failed = attempts.iter().any(|task| ended_by_itself(task));
    let under_way = || {
        if failed {
            return None;
        }
        let first = attempts.iter().filter_map(|task| task.status.running).min();
        match first.map(|running| running.plus(context.update().delay)) {
            _ if attempts.is_empty() => None,
            Some(until) if until <= context.now => None,
            until => Some(Standing::UnderWay { until }),
        }
    };
    if seen.tended == Tended::Changed {
        return under_way().unwrap_or(Standing::Retrying);
    }
    let has_old = slot.wanted().any(|task| task.template != target);
    if let Some(new) = slot.wanted().find(|task| task.template == target) {
        let alone = !has_old || new.status.state == TaskState::Running;
        return under_way().unwrap_or(if alone { Standing::Updated } else { Standing::Retrying });
    }
    if has_old {
        let last = slot.unhandled().filter(|task| is_attempt(context, task)).last();
        return match last.map(|last| next_start(context, slot, last)) {
            None => {
                let runs = slot.wanted().any(|task| task.status.state == TaskState::Running);
                Standing::Outdated { runs }
            }
            Some(None) => Standing::Exhausted,
            Some(Some(at)) => Standing::Retry { at },
        };
    }
    // No task, and none follows: what ended last says for which template that holds.
    match slot.unhandled().next() {
        Some(ended) if is_attempt(context, ended) => Standing::Updated,
        Some(_) => Standing::Outdated { runs: false },
        None => Standing::Updated,
    }
}

/// Why the rollout has failed, if it has: more slots failed than are borne.
pub(super) fn verdict(context: &Context<'_>, slots: &[Seen<'_>]) -> Option<String> {
    let slots: Vec<&Seen<'_>> = slots.iter().filter(|seen| seen.updatable).collect();
    let mut count: u64 = 0;
    let mut first: Option<&Task> = None;
    for seen in &slots {
        if let Some(task) = attempts(context, seen).find(|task| is_failure(context, task)) {
            count += 1;
            first = first.or(Some(task));
        }
    }
    let borne = u64::from(context.update().max_failure_ppm).saturating_mul(slots.len() as u64);
    let task = first.filter(|_| count.saturating_mul(1_000_000) > borne)?;
    let name = context.state.task_name(task);
    let why = match &*task.status.message {
        "" => String::new(),
        message => format!(": {message}"),
    };
    Some(format!("{count} of {} failed; {name} {}{why}", slots.len(), task.status.state))
}

/// Until when the newest of the new tasks is watched.
pub(super) fn monitored_until(context: &Context<'_>, slots: &[Seen<'_>]) -> Option<Timestamp> {
    let running = slots
        .iter()
        .flat_map(|seen| attempts(context, seen))
        .filter(|task| task.is_wanted())
        .filter_map(|task| task.status.running)
        .max()?;
    Some(running.plus(context.update().monitor))
}

/// The tasks that this rollout made in a slot.
fn attempts<'a>(context: &Context<'_>, seen: &Seen<'a>) -> impl Iterator<Item = &'a Arc<Task>> {
    seen.slot.tasks.iter().copied().filter(|task| is_attempt(context, task))
}

fn is_attempt(context: &Context<'_>, task: &Task) -> bool {
    let target = context.service.template;
    task.template == target && task.created >= context.since(target)
}

/// Whether a task's end counts against the rollout that made it.
fn is_failure(context: &Context<'_>, task: &Task) -> bool {
    let failed = match task.status.state {
        TaskState::Failed | TaskState::Rejected => true,
        TaskState::Complete => context
            .template(task.template)
            .is_some_and(|template| template.restart.condition == RestartCondition::Any),
        _ => false,
    };
    let early = |running| task.status.since.since(running) <= context.update().monitor;
    failed && task.status.running.is_none_or(early)
}
