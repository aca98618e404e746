//! `deploy`, and the keys of a service that Compose has for the same things.

use super::field::{Field, Object};
use crate::model::{
    Constraint, ConstraintOperator, Deploy, DeployMode, EndpointMode, FailureAction, Limits, Placement,
    Preference, Reservations, Resources, RestartCondition, RestartPolicy, Strategy, UpdateConfig,
    UpdateOrder,
};
use crate::report::Report;
use crate::schema::nearest;

/// The least memory a container can be held to; below it none starts.
const LEAST_MEMORY: u64 = 6 << 20;

/// What constraints and preferences can look at.
const NODE_KEYS: &[&str] = &[
    "node.id",
    "node.hostname",
    "node.role",
    "node.platform.os",
    "node.platform.arch",
    "node.labels.<label>",
    "engine.labels.<label>",
];

/// Reads the `deploy` section of a service.
pub(super) fn read(service: &Object<'_>, report: &mut Report) -> Deploy {
    let section = service.field("deploy").and_then(|field| field.object(report));
    let part = |key: &str| section.as_ref().and_then(|section| section.field(key));
    let modes = [
        ("replicated", DeployMode::Replicated),
        ("global", DeployMode::Global),
        ("replicated-job", DeployMode::ReplicatedJob),
        ("global-job", DeployMode::GlobalJob),
    ];
    let mode = part("mode").and_then(|field| field.choice(report, &modes)).unwrap_or_default();
    let endpoints = [("vip", EndpointMode::Vip), ("dnsrr", EndpointMode::Dnsrr)];
    let deploy = Deploy {
        mode,
        replicas: replicas(part("replicas"), mode, report),
        labels: part("labels").map(|field| field.pairs(report)).unwrap_or_default(),
        resources: resources(service, part("resources"), report),
        placement: part("placement").and_then(|field| placement(&field, mode, report)).unwrap_or_default(),
        restart_policy: restart(service, part("restart_policy"), mode, report),
        update_config: part("update_config").and_then(|field| update(&field, Replacing::Update, report)),
        rollback_config: part("rollback_config")
            .and_then(|field| update(&field, Replacing::Rollback, report)),
        endpoint_mode: part("endpoint_mode")
            .and_then(|field| field.choice(report, &endpoints))
            .unwrap_or_default(),
    };
    if is_job(mode) {
        for key in ["update_config", "rollback_config"] {
            if let Some(field) = part(key) {
                field.error(report, "a job is not updated: it runs anew");
            }
        }
    }
    deploy
}

fn is_job(mode: DeployMode) -> bool {
    matches!(mode, DeployMode::ReplicatedJob | DeployMode::GlobalJob)
}

fn replicas(field: Option<Field<'_>>, mode: DeployMode, report: &mut Report) -> Option<u32> {
    match field {
        Some(field) if mode.is_global() => {
            field.error_hint(
                report,
                "a global service has one task on every node and no number of replicas",
                "remove it, or use mode: replicated",
            );
            None
        }
        None if mode.is_global() => None,
        Some(field) => field.count(report).or(Some(1)),
        None => Some(1),
    }
}

/// Reads `resources`, and the service's own keys for limits. Both may say the same, but not different things.
fn resources(service: &Object<'_>, section: Option<Field<'_>>, report: &mut Report) -> Resources {
    let section = section.and_then(|field| field.object(report));
    let mut part = |key: &str| {
        section.as_ref().and_then(|section| section.field(key)).and_then(|field| field.object(report))
    };
    let (limits, reservations) = (part("limits"), part("reservations"));
    let mut one = |section: &Option<Object<'_>>, key: &str, alias: &str, read: Reader| {
        let long = section.as_ref().and_then(|section| section.field(key));
        let short = service.field(alias);
        let value = |field: &Option<Field<'_>>, report: &mut Report| {
            field.as_ref().map(|field| read(field, report).unwrap_or_default())
        };
        match (value(&long, report), value(&short, report)) {
            (Some(a), Some(b)) if a != b => {
                if let (Some(long), Some(short)) = (&long, &short) {
                    short.error(report, format_args!("differs from {}: give one of them", long.path()));
                }
                a
            }
            (Some(a), _) => a,
            (None, b) => b.flatten(),
        }
    };
    let limits = Limits {
        nano_cpus: one(&limits, "cpus", "cpus", |field, report| field.cpus(report).map(non_zero)),
        memory: one(&limits, "memory", "mem_limit", memory_limit),
        pids: one(&limits, "pids", "pids_limit", |field, report| {
            field.integer(report, -1..=i64::MAX).map(|pids| u64::try_from(pids).ok().and_then(non_zero))
        }),
    };
    let nothing = "";
    let reservations_read = Reservations {
        nano_cpus: one(&reservations, "cpus", nothing, |field, report| field.cpus(report).map(non_zero)),
        memory: one(&reservations, "memory", "mem_reservation", |field, report| {
            field.bytes(report).map(non_zero)
        }),
    };
    let exceeds = |reserved: Option<u64>, limit: Option<u64>| {
        reserved.zip(limit).is_some_and(|(reserved, limit)| reserved > limit)
    };
    for (key, exceeds) in [
        ("memory", exceeds(reservations_read.memory, limits.memory)),
        ("cpus", exceeds(reservations_read.nano_cpus, limits.nano_cpus)),
    ] {
        if exceeds {
            let field = reservations.as_ref().and_then(|section| section.field(key));
            let message = "more is reserved than the limit allows";
            match field.or_else(|| service.field("mem_reservation")) {
                Some(field) => field.error(report, message),
                None => report.error(service.pos(), format!("{}: {message}", service.path())),
            }
        }
    }
    Resources { limits, reservations: reservations_read }
}

/// Reads a limit: nothing when it is malformed, nothing inside when it means no limit.
type Reader = fn(&Field<'_>, &mut Report) -> Option<Option<u64>>;

fn non_zero(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

fn memory_limit(field: &Field<'_>, report: &mut Report) -> Option<Option<u64>> {
    let bytes = field.bytes(report)?;
    if bytes != 0 && bytes < LEAST_MEMORY {
        field.error(report, format_args!("{bytes} bytes are too little, the least is 6m"));
        return None;
    }
    Some(non_zero(bytes))
}

fn placement(field: &Field<'_>, mode: DeployMode, report: &mut Report) -> Option<Placement> {
    let object = field.object(report)?;
    let constraints = object.field("constraints").map(|field| field.items(report)).unwrap_or_default();
    let preferences = object.field("preferences").map(|field| field.items(report)).unwrap_or_default();
    let strategies = [("spread", Strategy::Spread), ("binpack", Strategy::Binpack)];
    let most = object.field("max_replicas_per_node");
    if let Some(most) = most.as_ref().filter(|_| mode.is_global()) {
        most.error(report, "a global service has one task on every node anyway");
    }
    Some(Placement {
        constraints: constraints.iter().filter_map(|item| constraint(item, report)).collect(),
        preferences: preferences.iter().filter_map(|item| preference(item, report)).collect(),
        max_replicas_per_node: most.and_then(|field| field.count(report)).filter(|most| *most != 0),
        strategy: object
            .field("x-wharf-strategy")
            .and_then(|field| field.choice(report, &strategies))
            .unwrap_or_default(),
    })
}

fn constraint(field: &Field<'_>, report: &mut Report) -> Option<Constraint> {
    let text = field.text(report)?;
    let found = text
        .find("==")
        .map(|at| (at, ConstraintOperator::Equal))
        .into_iter()
        .chain(text.find("!=").map(|at| (at, ConstraintOperator::NotEqual)))
        .min_by_key(|(at, _)| *at);
    let Some((at, operator)) = found else {
        field.error_hint(
            report,
            format_args!("expected key==value or key!=value, found the text {text:?}"),
            "an example: node.labels.disk==ssd",
        );
        return None;
    };
    let (key, value) = (text[..at].trim(), text[at + 2..].trim());
    if value.is_empty() {
        field.error(report, "there is no value to compare with");
        return None;
    }
    check_node_key(field, key, report)?;
    Some(Constraint { key: key.to_owned(), operator, value: value.to_owned() })
}

/// Checks what a constraint or a preference looks at.
fn check_node_key(field: &Field<'_>, key: &str, report: &mut Report) -> Option<()> {
    let label = key.strip_prefix("node.labels.").or_else(|| key.strip_prefix("engine.labels."));
    let known = match label {
        Some(label) => !label.is_empty() && !label.contains(char::is_whitespace),
        None => NODE_KEYS.contains(&key),
    };
    if known {
        return Some(());
    }
    let message = format!("{key:?} is nothing that a node has");
    match nearest(key, NODE_KEYS.iter().copied()) {
        Some(near) => field.error_hint(report, message, format!("did you mean {near:?}?")),
        None => field.error_hint(report, message, format!("it has {}", NODE_KEYS.join(", "))),
    }
    None
}

fn preference(field: &Field<'_>, report: &mut Report) -> Option<Preference> {
    let object = field.object(report)?;
    let Some(spread) = object.field("spread") else {
        field.error(report, "spread: is missing");
        return None;
    };
    let key = spread.filled_text(report)?;
    check_node_key(&spread, &key, report)?;
    Some(Preference { spread: key })
}

/// Reads `restart_policy`, or the service's own `restart`.
fn restart(
    service: &Object<'_>,
    section: Option<Field<'_>>,
    mode: DeployMode,
    report: &mut Report,
) -> Option<RestartPolicy> {
    let short = service.field("restart");
    let Some(section) = section else {
        let short = short?;
        let policy = short_restart(&short, report)?;
        check_job(&short, policy.condition, mode, report);
        return Some(policy);
    };
    if let Some(short) = short {
        let message = format!("{}: has no effect beside {}", short.path(), section.path());
        report.warn(short.pos(), message, Some("remove one of the two".to_owned()));
    }
    let object = section.object(report)?;
    let conditions = [
        ("any", RestartCondition::Any),
        ("on-failure", RestartCondition::OnFailure),
        ("none", RestartCondition::None),
    ];
    let condition = object.field("condition");
    let policy = RestartPolicy {
        condition: match &condition {
            Some(field) => field.choice(report, &conditions).unwrap_or_default(),
            None if is_job(mode) => RestartCondition::OnFailure,
            None => RestartCondition::Any,
        },
        delay: object.field("delay").and_then(|field| field.duration(report)),
        max_attempts: object.field("max_attempts").and_then(|field| field.count(report)),
        window: object.field("window").and_then(|field| field.duration(report)),
    };
    if let Some(condition) = condition {
        check_job(&condition, policy.condition, mode, report);
    }
    Some(policy)
}

fn check_job(field: &Field<'_>, condition: RestartCondition, mode: DeployMode, report: &mut Report) {
    if is_job(mode) && condition == RestartCondition::Any {
        field.error_hint(report, "a job that is always restarted never ends", "use on-failure or none");
    }
}

fn short_restart(field: &Field<'_>, report: &mut Report) -> Option<RestartPolicy> {
    let text = field.text(report)?;
    if let Some(attempts) = text.strip_prefix("on-failure:") {
        let Ok(attempts) = attempts.parse() else {
            field.error(report, format_args!("{attempts:?} is no number of attempts"));
            return None;
        };
        return Some(RestartPolicy {
            condition: RestartCondition::OnFailure,
            max_attempts: Some(attempts),
            ..RestartPolicy::default()
        });
    }
    let words = [
        ("no", RestartCondition::None),
        ("always", RestartCondition::Any),
        ("on-failure", RestartCondition::OnFailure),
        ("unless-stopped", RestartCondition::Any),
    ];
    let condition = field.choice(report, &words)?;
    Some(RestartPolicy { condition, ..RestartPolicy::default() })
}

/// Which of two replacements a config is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replacing {
    Update,
    Rollback,
}

fn update(field: &Field<'_>, replacing: Replacing, report: &mut Report) -> Option<UpdateConfig> {
    let object = field.object(report)?;
    let default = UpdateConfig::default();
    let actions = [
        ("pause", FailureAction::Pause),
        ("continue", FailureAction::Continue),
        ("rollback", FailureAction::Rollback),
    ];
    let actions = if replacing == Replacing::Rollback { &actions[..2] } else { &actions[..] };
    let orders = [("stop-first", UpdateOrder::StopFirst), ("start-first", UpdateOrder::StartFirst)];
    let part = |key: &str| object.field(key);
    Some(UpdateConfig {
        parallelism: part("parallelism").and_then(|field| field.count(report)).unwrap_or(default.parallelism),
        delay: part("delay").and_then(|field| field.duration(report)).unwrap_or(default.delay),
        failure_action: part("failure_action")
            .and_then(|field| field.choice(report, actions))
            .unwrap_or(default.failure_action),
        monitor: part("monitor").and_then(|field| field.duration(report)).unwrap_or(default.monitor),
        max_failure_ratio: part("max_failure_ratio")
            .and_then(|field| field.ratio(report))
            .unwrap_or(default.max_failure_ratio),
        order: part("order").and_then(|field| field.choice(report, &orders)).unwrap_or(default.order),
    })
}
