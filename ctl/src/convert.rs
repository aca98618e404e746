//! From a Compose project to a stack, as the cluster's model has it.

use crate::failure::{Failure, Result};
use wharf_cluster::model as cluster;
use wharf_compose as compose;

/// Docker's defaults for a health check, in milliseconds.
const INTERVAL: u64 = 30_000;
const START_INTERVAL: u64 = 5_000;
const RETRIES: u32 = 3;
/// Docker's default time between the stop signal and SIGKILL, in milliseconds.
const STOP_GRACE: u64 = 10_000;

/// Flags of a tmpfs that can be said; the last three are always in force.
const TMPFS_FLAGS: [&str; 5] = ["rw", "ro", "noexec", "nosuid", "nodev"];

/// The stack that `project` declares, and remarks for people.
///
/// # Errors
/// When something can't be carried out yet.
pub fn stack(project: &compose::Project) -> Result<(cluster::StackSpec, Vec<String>)> {
    let mut remarks = Vec::new();
    let mut services = std::collections::BTreeMap::new();
    for (name, declared) in &project.services {
        let converted = service(project, declared)
            .map_err(|reason| Failure::usage(format!("services.{name}: {reason}")))?;
        if declared.ports.iter().any(|port| port.mode == compose::PublishMode::Ingress) {
            remarks.push(format!(
                "ports of {name} are published on the node that runs each task (mode: host), until ingress networks are there"
            ));
        }
        services.insert(name.clone(), converted);
    }
    let volumes = project
        .volumes
        .values()
        .map(|volume| {
            (volume.name.clone(), cluster::VolumeSpec { labels: volume.labels.clone(), external: false })
        })
        .collect();
    Ok((cluster::StackSpec { name: project.name.clone(), services, volumes }, remarks))
}

type Converted<T> = std::result::Result<T, String>;

fn service(project: &compose::Project, service: &compose::Service) -> Converted<cluster::ServiceSpec> {
    let deploy = &service.deploy;
    let replicas = deploy.replicas.unwrap_or(1);
    let mode = match deploy.mode {
        compose::DeployMode::Replicated => cluster::Mode::Replicated { replicas },
        compose::DeployMode::Global => cluster::Mode::Global,
        compose::DeployMode::ReplicatedJob => {
            cluster::Mode::ReplicatedJob { completions: replicas, concurrent: replicas }
        }
        compose::DeployMode::GlobalJob => cluster::Mode::GlobalJob,
    };
    let update =
        |config: &Option<compose::UpdateConfig>| config.as_ref().map(update_config).unwrap_or_default();
    let restart = match &deploy.restart_policy {
        Some(policy) => restart_policy(policy),
        None if mode.is_job() => {
            cluster::RestartPolicy { condition: cluster::RestartCondition::OnFailure, ..Default::default() }
        }
        None => cluster::RestartPolicy::default(),
    };
    Ok(cluster::ServiceSpec {
        mode,
        labels: deploy.labels.clone(),
        template: cluster::TaskTemplate {
            container: container(project, service)?,
            resources: resources(&deploy.resources),
            restart,
            placement: placement(&deploy.placement)?,
            restarted: 0,
        },
        update: update(&deploy.update_config),
        rollback: update(&deploy.rollback_config),
        endpoint_mode: match deploy.endpoint_mode {
            compose::EndpointMode::Vip => cluster::EndpointMode::Vip,
            compose::EndpointMode::Dnsrr => cluster::EndpointMode::Dnsrr,
        },
    })
}

fn container(project: &compose::Project, service: &compose::Service) -> Converted<cluster::ContainerSpec> {
    let mut mounts = Vec::new();
    for mount in &service.volumes {
        mounts.push(volume(project, mount)?);
    }
    for tmpfs in &service.tmpfs {
        if tmpfs.uid.is_some()
            || tmpfs.gid.is_some()
            || tmpfs.flags.iter().any(|flag| !TMPFS_FLAGS.contains(&flag.as_str()))
        {
            return Err(format!(
                "tmpfs {}: only the options size, mode, rw, ro, noexec, nosuid and nodev are supported yet",
                tmpfs.target
            ));
        }
        mounts.push(cluster::Mount {
            kind: cluster::MountKind::Tmpfs { size: tmpfs.size, mode: tmpfs.mode },
            target: tmpfs.target.clone(),
            read_only: tmpfs.flags.iter().any(|flag| flag == "ro"),
        });
    }
    let logging = service.logging.clone().unwrap_or_default();
    let default = cluster::LogConfig::default();
    Ok(cluster::ContainerSpec {
        image: service.image.clone(),
        entrypoint: service.entrypoint.clone(),
        command: service.command.clone(),
        environment: service.environment.clone(),
        labels: service.labels.clone(),
        user: service.user.clone(),
        working_dir: service.working_dir.clone(),
        hostname: service.hostname.clone(),
        stop_signal: service.stop_signal.clone(),
        stop_grace_period: service.stop_grace_period.map_or(STOP_GRACE, millis),
        init: service.init,
        read_only: service.read_only,
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        ulimits: service
            .ulimits
            .iter()
            .map(|(name, limit)| (name.clone(), cluster::Ulimit { soft: limit.soft, hard: limit.hard }))
            .collect(),
        sysctls: service.sysctls.clone(),
        extra_hosts: service
            .extra_hosts
            .iter()
            .map(|entry| (entry.host.clone(), entry.address.to_string()))
            .collect(),
        mounts,
        ports: service.ports.iter().map(port).collect(),
        network_mode: match service.network_mode {
            compose::NetworkMode::Bridge => cluster::NetworkMode::Bridge,
            compose::NetworkMode::Host => cluster::NetworkMode::Host,
            compose::NetworkMode::None => cluster::NetworkMode::None,
        },
        healthcheck: service.healthcheck.as_ref().map(health_check).transpose()?,
        logging: cluster::LogConfig {
            max_size: logging.max_size.unwrap_or(default.max_size),
            max_file: logging.max_file.unwrap_or(default.max_file),
        },
        runtime: service.runtime.clone(),
    })
}

fn volume(project: &compose::Project, mount: &compose::Mount) -> Converted<cluster::Mount> {
    let kind = match &mount.kind {
        compose::MountKind::Bind { source, propagation, create_host_path } => cluster::MountKind::Bind {
            source: source.clone(),
            create_host_path: *create_host_path,
            propagation: propagation.map(|kind| format!("{kind:?}").to_lowercase()),
        },
        compose::MountKind::Volume { source: None, nocopy } => {
            cluster::MountKind::Volume { name: None, nocopy: *nocopy }
        }
        compose::MountKind::Volume { source: Some(key), nocopy } => {
            let volume = project.volumes.get(key).ok_or_else(|| format!("volume {key} is not declared"))?;
            cluster::MountKind::Volume { name: Some(volume.name.clone()), nocopy: *nocopy }
        }
        compose::MountKind::Tmpfs { size, mode } => cluster::MountKind::Tmpfs { size: *size, mode: *mode },
    };
    Ok(cluster::Mount { kind, target: mount.target.clone(), read_only: mount.read_only })
}

fn port(port: &compose::Port) -> cluster::Port {
    cluster::Port {
        target: port.target,
        published: port.published,
        host_ip: port.host_ip.map(|address| address.to_string()),
        protocol: match port.protocol {
            compose::Protocol::Tcp => cluster::Protocol::Tcp,
            compose::Protocol::Udp => cluster::Protocol::Udp,
        },
    }
}

fn health_check(check: &compose::Healthcheck) -> Converted<cluster::HealthCheck> {
    let test = match &check.test {
        Some(compose::HealthTest::Disabled) => cluster::HealthTest::Disabled,
        Some(compose::HealthTest::Command(words)) => cluster::HealthTest::Exec(words.clone()),
        Some(compose::HealthTest::Shell(line)) => cluster::HealthTest::Shell(line.clone()),
        None => {
            return Err("healthcheck needs a test: taking over the image's is not supported yet".to_owned());
        }
    };
    Ok(cluster::HealthCheck {
        test,
        interval: check.interval.map_or(INTERVAL, millis),
        timeout: check.timeout.map_or(INTERVAL, millis),
        retries: check.retries.unwrap_or(RETRIES),
        start_period: check.start_period.map_or(0, millis),
        start_interval: check.start_interval.map_or(START_INTERVAL, millis),
    })
}

fn resources(resources: &compose::Resources) -> cluster::Resources {
    cluster::Resources {
        limits: cluster::Reservation {
            nano_cpus: resources.limits.nano_cpus.unwrap_or(0),
            memory: resources.limits.memory.unwrap_or(0),
        },
        pids_limit: resources.limits.pids.unwrap_or(0),
        reservations: cluster::Reservation {
            nano_cpus: resources.reservations.nano_cpus.unwrap_or(0),
            memory: resources.reservations.memory.unwrap_or(0),
        },
    }
}

fn restart_policy(policy: &compose::RestartPolicy) -> cluster::RestartPolicy {
    let default = cluster::RestartPolicy::default();
    cluster::RestartPolicy {
        condition: match policy.condition {
            compose::RestartCondition::None => cluster::RestartCondition::None,
            compose::RestartCondition::OnFailure => cluster::RestartCondition::OnFailure,
            compose::RestartCondition::Any => cluster::RestartCondition::Any,
        },
        delay: policy.delay.map_or(default.delay, millis),
        max_attempts: policy.max_attempts,
        window: policy.window.map_or(default.window, millis),
    }
}

fn update_config(config: &compose::UpdateConfig) -> cluster::UpdateConfig {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "compose holds it between 0 and 1"
    )]
    let max_failure_ppm = (config.max_failure_ratio.clamp(0.0, 1.0) * 1e6).round() as u32;
    cluster::UpdateConfig {
        parallelism: config.parallelism,
        delay: millis(config.delay),
        failure_action: match config.failure_action {
            compose::FailureAction::Pause => cluster::FailureAction::Pause,
            compose::FailureAction::Continue => cluster::FailureAction::Continue,
            compose::FailureAction::Rollback => cluster::FailureAction::Rollback,
        },
        monitor: millis(config.monitor),
        max_failure_ppm,
        order: match config.order {
            compose::UpdateOrder::StopFirst => cluster::Order::StopFirst,
            compose::UpdateOrder::StartFirst => cluster::Order::StartFirst,
        },
    }
}

fn placement(placement: &compose::Placement) -> Converted<cluster::Placement> {
    let constraints = placement
        .constraints
        .iter()
        .map(|constraint| {
            Ok(cluster::Constraint {
                key: constraint.key.parse()?,
                comparison: match constraint.operator {
                    compose::ConstraintOperator::Equal => cluster::Comparison::Equal,
                    compose::ConstraintOperator::NotEqual => cluster::Comparison::NotEqual,
                },
                value: constraint.value.clone(),
            })
        })
        .collect::<Converted<_>>()?;
    let preferences = placement
        .preferences
        .iter()
        .map(|preference| Ok(cluster::Preference { spread: preference.spread.parse()? }))
        .collect::<Converted<_>>()?;
    Ok(cluster::Placement {
        constraints,
        preferences,
        max_replicas_per_node: placement.max_replicas_per_node.unwrap_or(0),
        platforms: Vec::new(),
        strategy: match placement.strategy {
            compose::Strategy::Spread => cluster::Strategy::Spread,
            compose::Strategy::Binpack => cluster::Strategy::Binpack,
        },
    })
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
