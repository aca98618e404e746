//! The container part of a template.

use super::Invalid;
use crate::{limits, names::Word, v1};
use wharf_cluster::model::{
    ContainerSpec, HealthCheck, HealthTest, LogConfig, Mount, MountKind, Port, Ulimit,
};

impl TryFrom<v1::ContainerSpec> for ContainerSpec {
    type Error = Invalid;

    fn try_from(message: v1::ContainerSpec) -> Result<Self, Invalid> {
        if message.image.is_empty() {
            return Err(Invalid::new("image", "must not be empty"));
        }
        check_texts(&message)?;
        let mounts = message.mounts.into_iter().map(mount).collect::<Result<Vec<_>, _>>()?;
        let ports = message.ports.into_iter().map(port).collect::<Result<Vec<_>, _>>()?;
        Ok(ContainerSpec {
            image: message.image,
            entrypoint: message.entrypoint.map(|list| list.items),
            command: message.command.map(|list| list.items),
            environment: message.environment,
            labels: message.labels,
            user: message.user,
            working_dir: message.working_dir,
            hostname: message.hostname,
            stop_signal: message.stop_signal,
            stop_grace_period: limits::duration("stop_grace_period", message.stop_grace_period)?,
            init: message.init,
            read_only: message.read_only,
            cap_add: message.cap_add,
            cap_drop: message.cap_drop,
            ulimits: message
                .ulimits
                .into_iter()
                .map(|(name, limit)| (name, Ulimit { soft: limit.soft, hard: limit.hard }))
                .collect(),
            sysctls: message.sysctls,
            extra_hosts: message.extra_hosts.into_iter().map(|entry| (entry.name, entry.address)).collect(),
            mounts,
            ports,
            network_mode: Word::parse("network_mode", &message.network_mode)?,
            healthcheck: message.healthcheck.map(health_check).transpose()?,
            logging: message.logging.map_or_else(LogConfig::default, |config| LogConfig {
                max_size: config.max_size.max(4096),
                max_file: config.max_file.max(1),
            }),
            runtime: message.runtime,
        })
    }
}

/// Every text of the message within bounds.
fn check_texts(message: &v1::ContainerSpec) -> Result<(), Invalid> {
    limits::text("image", &message.image)?;
    for (field, value) in [
        ("user", &message.user),
        ("working_dir", &message.working_dir),
        ("hostname", &message.hostname),
        ("stop_signal", &message.stop_signal),
        ("runtime", &message.runtime),
    ] {
        if let Some(value) = value {
            limits::text(field, value)?;
        }
    }
    for (field, list) in [("entrypoint", &message.entrypoint), ("command", &message.command)] {
        if let Some(list) = list {
            limits::texts(field, list.items.iter())?;
        }
    }
    for (field, map) in
        [("environment", &message.environment), ("labels", &message.labels), ("sysctls", &message.sysctls)]
    {
        limits::texts(field, map.keys())?;
        limits::texts(field, map.values())?;
        if map.keys().any(|key| key.is_empty() || (field == "environment" && key.contains('='))) {
            return Err(Invalid::new(field, "has a name that is empty or holds '='"));
        }
    }
    limits::texts("cap_add", message.cap_add.iter())?;
    limits::texts("cap_drop", message.cap_drop.iter())?;
    limits::texts("ulimits", message.ulimits.keys())?;
    limits::entries("extra_hosts", message.extra_hosts.len())?;
    for entry in &message.extra_hosts {
        limits::text("extra_hosts", &entry.name)?;
        limits::text("extra_hosts", &entry.address)?;
    }
    limits::entries("ports", message.ports.len())?;
    limits::entries("volumes", message.mounts.len())
}

impl From<&ContainerSpec> for v1::ContainerSpec {
    fn from(spec: &ContainerSpec) -> Self {
        let list = |items: &Option<Vec<String>>| items.clone().map(|items| v1::StringList { items });
        v1::ContainerSpec {
            image: spec.image.clone(),
            entrypoint: list(&spec.entrypoint),
            command: list(&spec.command),
            environment: spec.environment.clone(),
            labels: spec.labels.clone(),
            user: spec.user.clone(),
            working_dir: spec.working_dir.clone(),
            hostname: spec.hostname.clone(),
            stop_signal: spec.stop_signal.clone(),
            stop_grace_period: spec.stop_grace_period,
            init: spec.init,
            read_only: spec.read_only,
            cap_add: spec.cap_add.clone(),
            cap_drop: spec.cap_drop.clone(),
            ulimits: spec
                .ulimits
                .iter()
                .map(|(name, limit)| (name.clone(), v1::Ulimit { soft: limit.soft, hard: limit.hard }))
                .collect(),
            sysctls: spec.sysctls.clone(),
            extra_hosts: spec
                .extra_hosts
                .iter()
                .map(|(name, address)| v1::HostEntry { name: name.clone(), address: address.clone() })
                .collect(),
            mounts: spec.mounts.iter().map(v1::Mount::from).collect(),
            ports: spec.ports.iter().map(v1::Port::from).collect(),
            network_mode: spec.network_mode.word().to_owned(),
            healthcheck: spec.healthcheck.as_ref().map(v1::HealthCheck::from),
            logging: Some(v1::LogConfig { max_size: spec.logging.max_size, max_file: spec.logging.max_file }),
            runtime: spec.runtime.clone(),
        }
    }
}

fn mount(message: v1::Mount) -> Result<Mount, Invalid> {
    use v1::mount::Kind;
    limits::text("volumes.target", &message.target)?;
    if !message.target.starts_with('/') {
        return Err(Invalid::new(
            "volumes.target",
            format!("\"{}\" is not an absolute path", message.target),
        ));
    }
    let kind = match message.kind.ok_or_else(|| Invalid::new("volumes", "has an entry of no kind"))? {
        Kind::Bind(bind) => {
            limits::text("volumes.source", &bind.source)?;
            if !bind.source.starts_with('/') {
                let reason = format!("\"{}\" is not an absolute path", bind.source);
                return Err(Invalid::new("volumes.source", reason));
            }
            MountKind::Bind {
                source: bind.source,
                create_host_path: bind.create_host_path,
                propagation: bind.propagation,
            }
        }
        Kind::Volume(volume) => {
            if let Some(name) = &volume.name {
                limits::name("volumes.source", name)?;
            }
            MountKind::Volume { name: volume.name, nocopy: volume.nocopy }
        }
        Kind::Tmpfs(tmpfs) => MountKind::Tmpfs { size: tmpfs.size, mode: tmpfs.mode },
    };
    Ok(Mount { kind, target: message.target, read_only: message.read_only })
}

impl From<&Mount> for v1::Mount {
    fn from(mount: &Mount) -> Self {
        use v1::mount::Kind;
        let kind = match &mount.kind {
            MountKind::Bind { source, create_host_path, propagation } => Kind::Bind(v1::BindMount {
                source: source.clone(),
                create_host_path: *create_host_path,
                propagation: propagation.clone(),
            }),
            MountKind::Volume { name, nocopy } => {
                Kind::Volume(v1::VolumeMount { name: name.clone(), nocopy: *nocopy })
            }
            MountKind::Tmpfs { size, mode } => Kind::Tmpfs(v1::TmpfsMount { size: *size, mode: *mode }),
        };
        v1::Mount { target: mount.target.clone(), read_only: mount.read_only, kind: Some(kind) }
    }
}

fn port(message: v1::Port) -> Result<Port, Invalid> {
    let number = |value: u32| match u16::try_from(value) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Invalid::new("ports", format!("{value} is not a port number"))),
    };
    if let Some(address) = &message.host_ip
        && address.parse::<std::net::IpAddr>().is_err()
    {
        return Err(Invalid::new("ports.host_ip", format!("\"{address}\" is not an address")));
    }
    Ok(Port {
        target: number(message.target)?,
        published: message.published.map(number).transpose()?,
        host_ip: message.host_ip,
        protocol: Word::parse("ports.protocol", &message.protocol)?,
    })
}

impl From<&Port> for v1::Port {
    fn from(port: &Port) -> Self {
        v1::Port {
            target: u32::from(port.target),
            published: port.published.map(u32::from),
            host_ip: port.host_ip.clone(),
            protocol: port.protocol.word().to_owned(),
        }
    }
}

fn health_check(message: v1::HealthCheck) -> Result<HealthCheck, Invalid> {
    limits::texts("healthcheck.test", message.test.iter())?;
    let mut words = message.test.into_iter();
    let test = match (words.next().as_deref(), words.len()) {
        (Some("NONE"), 0) => HealthTest::Disabled,
        (Some("CMD"), 1..) => HealthTest::Exec(words.collect()),
        (Some("CMD-SHELL"), 1) => HealthTest::Shell(words.next().unwrap_or_default()),
        _ => {
            let reason = "must be NONE, CMD with a program, or CMD-SHELL with one line";
            return Err(Invalid::new("healthcheck.test", reason));
        }
    };
    let positive = |field: &str, value: u64| match limits::duration(field, value)? {
        0 => Err(Invalid::new(field, "must be more than 0")),
        value => Ok(value),
    };
    let disabled = test == HealthTest::Disabled;
    Ok(HealthCheck {
        test,
        interval: if disabled {
            message.interval
        } else {
            positive("healthcheck.interval", message.interval)?
        },
        timeout: if disabled { message.timeout } else { positive("healthcheck.timeout", message.timeout)? },
        retries: message.retries.max(1),
        start_period: limits::duration("healthcheck.start_period", message.start_period)?,
        start_interval: limits::duration("healthcheck.start_interval", message.start_interval)?,
    })
}

impl From<&HealthCheck> for v1::HealthCheck {
    fn from(check: &HealthCheck) -> Self {
        let test = match &check.test {
            HealthTest::Disabled => vec!["NONE".to_owned()],
            HealthTest::Exec(words) => {
                std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect()
            }
            HealthTest::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        };
        v1::HealthCheck {
            test,
            interval: check.interval,
            timeout: check.timeout,
            retries: check.retries,
            start_period: check.start_period,
            start_interval: check.start_interval,
        }
    }
}
