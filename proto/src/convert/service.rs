//! Stacks, services and what surrounds the container in a task's template.

use super::Invalid;
use crate::{limits, names::Word, v1};
use wharf_cluster::model::{
    Mode, Placement, Platform, Preference, Reservation, Resources, RestartPolicy, ServiceSpec, StackSpec,
    TaskTemplate, UpdateConfig, VolumeSpec,
};

impl TryFrom<v1::StackSpec> for StackSpec {
    type Error = Invalid;

    fn try_from(message: v1::StackSpec) -> Result<Self, Invalid> {
        limits::name("name", &message.name)?;
        if message.services.len() > limits::SERVICES {
            let reason =
                format!("has {} services; at most {} are taken", message.services.len(), limits::SERVICES);
            return Err(Invalid::new("services", reason));
        }
        limits::entries("volumes", message.volumes.len())?;
        let services = message
            .services
            .into_iter()
            .map(|(name, service)| {
                limits::name("services", &name)?;
                let service =
                    service.try_into().map_err(|error: Invalid| error.within(&format!("services.{name}")))?;
                Ok((name, service))
            })
            .collect::<Result<_, Invalid>>()?;
        let volumes = message
            .volumes
            .into_iter()
            .map(|(name, volume)| {
                limits::name("volumes", &name)?;
                limits::texts("volumes", volume.labels.values())?;
                Ok((name, VolumeSpec { labels: volume.labels, external: volume.external }))
            })
            .collect::<Result<_, Invalid>>()?;
        Ok(StackSpec { name: message.name, services, volumes })
    }
}

impl From<&StackSpec> for v1::StackSpec {
    fn from(stack: &StackSpec) -> Self {
        v1::StackSpec {
            name: stack.name.clone(),
            services: stack.services.iter().map(|(name, service)| (name.clone(), service.into())).collect(),
            volumes: stack.volumes.iter().map(|(name, volume)| (name.clone(), volume.into())).collect(),
        }
    }
}

impl From<&VolumeSpec> for v1::VolumeSpec {
    fn from(volume: &VolumeSpec) -> Self {
        v1::VolumeSpec { labels: volume.labels.clone(), external: volume.external }
    }
}

impl TryFrom<v1::ServiceSpec> for ServiceSpec {
    type Error = Invalid;

    fn try_from(message: v1::ServiceSpec) -> Result<Self, Invalid> {
        limits::texts("labels", message.labels.values())?;
        let template = message.template.ok_or_else(|| Invalid::new("template", "is missing"))?;
        let update = |field: &str, config: Option<v1::UpdateConfig>| {
            config.map_or_else(
                || Ok(UpdateConfig::default()),
                |config| config.try_into().map_err(|error: Invalid| error.within(field)),
            )
        };
        Ok(ServiceSpec {
            mode: mode(message.mode)?,
            labels: message.labels,
            template: template.try_into()?,
            update: update("update", message.update)?,
            rollback: update("rollback", message.rollback)?,
            endpoint_mode: Word::parse("endpoint_mode", &message.endpoint_mode)?,
        })
    }
}

fn mode(message: Option<v1::service_spec::Mode>) -> Result<Mode, Invalid> {
    use v1::service_spec::Mode as Message;
    let count = |value: u32| {
        if value > limits::REPLICAS {
            return Err(Invalid::new(
                "mode",
                format!("{value} replicas; at most {} are taken", limits::REPLICAS),
            ));
        }
        Ok(value)
    };
    Ok(match message {
        None => Mode::default(),
        Some(Message::Replicated(mode)) => Mode::Replicated { replicas: count(mode.replicas)? },
        Some(Message::Global(_)) => Mode::Global,
        Some(Message::GlobalJob(_)) => Mode::GlobalJob,
        Some(Message::ReplicatedJob(mode)) => {
            let completions = count(mode.completions)?;
            let concurrent = if mode.concurrent == 0 { completions } else { mode.concurrent };
            Mode::ReplicatedJob { completions, concurrent }
        }
    })
}

impl From<&ServiceSpec> for v1::ServiceSpec {
    fn from(service: &ServiceSpec) -> Self {
        use v1::service_spec::Mode as Message;
        let mode = match service.mode {
            Mode::Replicated { replicas } => Message::Replicated(v1::Replicated { replicas }),
            Mode::Global => Message::Global(v1::Global {}),
            Mode::GlobalJob => Message::GlobalJob(v1::GlobalJob {}),
            Mode::ReplicatedJob { completions, concurrent } => {
                Message::ReplicatedJob(v1::ReplicatedJob { completions, concurrent })
            }
        };
        v1::ServiceSpec {
            mode: Some(mode),
            labels: service.labels.clone(),
            template: Some((&service.template).into()),
            update: Some((&service.update).into()),
            rollback: Some((&service.rollback).into()),
            endpoint_mode: service.endpoint_mode.word().to_owned(),
        }
    }
}

impl TryFrom<v1::TaskTemplate> for TaskTemplate {
    type Error = Invalid;

    fn try_from(message: v1::TaskTemplate) -> Result<Self, Invalid> {
        let container = message.container.ok_or_else(|| Invalid::new("container", "is missing"))?;
        let restart = message.restart.map_or_else(|| Ok(RestartPolicy::default()), TryInto::try_into);
        let placement = message.placement.map_or_else(|| Ok(Placement::default()), TryInto::try_into);
        Ok(TaskTemplate {
            container: container.try_into()?,
            resources: message.resources.map(Resources::from).unwrap_or_default(),
            restart: restart.map_err(|error: Invalid| error.within("restart_policy"))?,
            placement: placement.map_err(|error: Invalid| error.within("placement"))?,
            restarted: message.restarted,
        })
    }
}

impl From<&TaskTemplate> for v1::TaskTemplate {
    fn from(template: &TaskTemplate) -> Self {
        v1::TaskTemplate {
            container: Some((&template.container).into()),
            resources: Some((&template.resources).into()),
            restart: Some((&template.restart).into()),
            placement: Some((&template.placement).into()),
            restarted: template.restarted,
        }
    }
}

impl From<v1::Resources> for Resources {
    fn from(message: v1::Resources) -> Self {
        let reservation = |message: Option<v1::Reservation>| {
            message.map_or_else(Reservation::default, |message| Reservation {
                nano_cpus: message.nano_cpus,
                memory: message.memory,
            })
        };
        Resources {
            limits: reservation(message.limits),
            pids_limit: message.pids_limit,
            reservations: reservation(message.reservations),
        }
    }
}

impl From<&Resources> for v1::Resources {
    fn from(resources: &Resources) -> Self {
        v1::Resources {
            limits: Some(resources.limits.into()),
            pids_limit: resources.pids_limit,
            reservations: Some(resources.reservations.into()),
        }
    }
}

impl From<Reservation> for v1::Reservation {
    fn from(reservation: Reservation) -> Self {
        v1::Reservation { nano_cpus: reservation.nano_cpus, memory: reservation.memory }
    }
}

impl TryFrom<v1::RestartPolicy> for RestartPolicy {
    type Error = Invalid;

    fn try_from(message: v1::RestartPolicy) -> Result<Self, Invalid> {
        Ok(RestartPolicy {
            condition: Word::parse("condition", &message.condition)?,
            delay: limits::duration("delay", message.delay)?,
            max_attempts: message.max_attempts,
            window: limits::duration("window", message.window)?,
        })
    }
}

impl From<&RestartPolicy> for v1::RestartPolicy {
    fn from(policy: &RestartPolicy) -> Self {
        v1::RestartPolicy {
            condition: policy.condition.word().to_owned(),
            delay: policy.delay,
            max_attempts: policy.max_attempts,
            window: policy.window,
        }
    }
}

impl TryFrom<v1::Placement> for Placement {
    type Error = Invalid;

    fn try_from(message: v1::Placement) -> Result<Self, Invalid> {
        limits::texts("constraints", message.constraints.iter())?;
        limits::texts("preferences", message.spread.iter())?;
        limits::entries("platforms", message.platforms.len())?;
        let constraints = message.constraints.iter().map(|text| text.parse());
        let preferences = message.spread.iter().map(|text| text.parse().map(|spread| Preference { spread }));
        Ok(Placement {
            constraints: constraints
                .collect::<Result<_, _>>()
                .map_err(|error| Invalid::new("constraints", error))?,
            preferences: preferences
                .collect::<Result<_, _>>()
                .map_err(|error| Invalid::new("preferences", error))?,
            max_replicas_per_node: message.max_replicas_per_node,
            platforms: message.platforms.into_iter().map(Platform::from).collect(),
            strategy: Word::parse("strategy", &message.strategy)?,
        })
    }
}

impl From<&Placement> for v1::Placement {
    fn from(placement: &Placement) -> Self {
        v1::Placement {
            constraints: placement.constraints.iter().map(ToString::to_string).collect(),
            spread: placement.preferences.iter().map(|preference| preference.spread.to_string()).collect(),
            max_replicas_per_node: placement.max_replicas_per_node,
            platforms: placement.platforms.iter().map(v1::Platform::from).collect(),
            strategy: placement.strategy.word().to_owned(),
        }
    }
}

impl TryFrom<v1::UpdateConfig> for UpdateConfig {
    type Error = Invalid;

    fn try_from(message: v1::UpdateConfig) -> Result<Self, Invalid> {
        if message.max_failure_ppm > 1_000_000 {
            return Err(Invalid::new("max_failure_ratio", "must lie between 0 and 1"));
        }
        Ok(UpdateConfig {
            parallelism: message.parallelism,
            delay: limits::duration("delay", message.delay)?,
            failure_action: Word::parse("failure_action", &message.failure_action)?,
            monitor: limits::duration("monitor", message.monitor)?,
            max_failure_ppm: message.max_failure_ppm,
            order: Word::parse("order", &message.order)?,
        })
    }
}

impl From<&UpdateConfig> for v1::UpdateConfig {
    fn from(config: &UpdateConfig) -> Self {
        v1::UpdateConfig {
            parallelism: config.parallelism,
            delay: config.delay,
            failure_action: config.failure_action.word().to_owned(),
            monitor: config.monitor,
            max_failure_ppm: config.max_failure_ppm,
            order: config.order.word().to_owned(),
        }
    }
}
