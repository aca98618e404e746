//! One service.

use std::collections::BTreeSet;
use std::net::IpAddr;

use indexmap::IndexMap;

use super::field::{Field, Object};
use super::{command, deploy, environment, health, limits, mounts, ports};
use crate::interpolate::Variables;
use crate::model::{ExtraHost, LogDriver, Logging, NetworkMode, Port, Service, Volume};
use crate::report::Report;
use crate::session::Session;

/// Reads a service. Nothing when there is no image to run.
pub(super) fn read(
    session: &mut Session<'_>,
    name: &str,
    field: &Field<'_>,
    variables: &Variables,
    declared: &IndexMap<String, Volume>,
) -> Option<Service> {
    let object = field.object(&mut session.report)?;
    let environment = environment::read(session, &object, variables);
    let report = &mut session.report;
    let part = |key: &str| object.field(key);
    let mut targets = BTreeSet::new();
    let network_mode = network_mode(&object, report);
    let service = Service {
        name: name.to_owned(),
        cap_add: part("cap_add").map(|field| limits::capabilities(&field, report)).unwrap_or_default(),
        cap_drop: part("cap_drop").map(|field| limits::capabilities(&field, report)).unwrap_or_default(),
        command: part("command").and_then(|field| command::read(&field, report)),
        deploy: deploy::read(&object, report),
        entrypoint: part("entrypoint").and_then(|field| command::read(&field, report)),
        environment,
        extra_hosts: part("extra_hosts").map(|field| extra_hosts(&field, report)).unwrap_or_default(),
        healthcheck: part("healthcheck").and_then(|field| health::read(&field, report)),
        hostname: part("hostname").and_then(|field| hostname(&field, report)),
        image: image(field, &object, report).unwrap_or_default(),
        init: part("init").and_then(|field| field.boolean(report)).unwrap_or(false),
        labels: part("labels").map(|field| field.pairs(report)).unwrap_or_default(),
        logging: part("logging").and_then(|field| logging(&field, report)),
        network_mode,
        ports: part("ports").map(|field| published_ports(&field, network_mode, report)).unwrap_or_default(),
        read_only: part("read_only").and_then(|field| field.boolean(report)).unwrap_or(false),
        runtime: part("runtime").and_then(|field| field.filled_text(report)),
        stop_grace_period: part("stop_grace_period").and_then(|field| field.duration(report)),
        stop_signal: part("stop_signal").and_then(|field| limits::signal(&field, report)),
        sysctls: part("sysctls").map(|field| limits::sysctls(&field, report)).unwrap_or_default(),
        tmpfs: part("tmpfs").map(|field| mounts::tmpfs(&field, report, &mut targets)).unwrap_or_default(),
        ulimits: part("ulimits").map(|field| limits::ulimits(&field, report)).unwrap_or_default(),
        user: part("user").and_then(|field| user(&field, report)),
        volumes: part("volumes")
            .map(|field| mounts::read(&field, report, &mut targets, declared))
            .unwrap_or_default(),
        working_dir: part("working_dir").and_then(|field| working_dir(&field, report)),
    };
    Some(service)
}

fn image(service: &Field<'_>, object: &Object<'_>, report: &mut Report) -> Option<String> {
    let Some(field) = object.field("image") else {
        service.error_hint(report, "image: is missing", "name the image that the service runs");
        return None;
    };
    let image = field.filled_text(report)?;
    if image.contains(|c: char| c.is_whitespace() || c.is_control()) || image.len() > 1_024 {
        field.error(report, format_args!("{image:?} is no image reference"));
        return None;
    }
    Some(image)
}

fn network_mode(object: &Object<'_>, report: &mut Report) -> NetworkMode {
    let attached = object.field("networks");
    if let Some(networks) = &attached {
        default_network(networks, report);
    }
    let Some(field) = object.field("network_mode") else { return NetworkMode::Bridge };
    if attached.is_some() {
        field.error(report, "does not go with networks:");
    }
    let Some(text) = field.text(report) else { return NetworkMode::Bridge };
    if text.starts_with("service:") || text.starts_with("container:") {
        field.error(report, "sharing another container's network is not supported yet");
        return NetworkMode::Bridge;
    }
    let modes = [("bridge", NetworkMode::Bridge), ("host", NetworkMode::Host), ("none", NetworkMode::None)];
    field.choice(report, &modes).unwrap_or_default()
}

/// Checks that a service's networks are the default one, without options.
fn default_network(networks: &Field<'_>, report: &mut Report) {
    let hint = "leave networks out: services of a stack share the default one";
    let check = |report: &mut Report, name: &str, field: &Field<'_>, plain: bool| {
        if name != "default" {
            let message = "networks other than default are not supported yet";
            field.error_hint(report, message, hint);
        } else if !plain {
            field.error(report, "options of a network are not supported yet");
        }
    };
    if networks.is_list() {
        for item in networks.items(report) {
            let name = item.text(report).unwrap_or_default();
            check(report, &name, &item, true);
        }
    } else if let Some(object) = networks.object(report) {
        for (name, _, field) in object.entries() {
            check(report, name, &field, field.is_null() || field.is_empty_mapping());
        }
    }
}

fn published_ports(field: &Field<'_>, mode: NetworkMode, report: &mut Report) -> Vec<Port> {
    let ports = ports::read(field, report);
    if mode != NetworkMode::Bridge && !ports.is_empty() {
        field.error_hint(
            report,
            "ports can't be published with network_mode host or none",
            "remove them: with host, the container's ports are the node's own",
        );
    }
    ports
}

fn extra_hosts(field: &Field<'_>, report: &mut Report) -> Vec<ExtraHost> {
    let mut hosts = Vec::new();
    for item in field.items(report) {
        let Some(text) = item.text(report) else { continue };
        let Some((host, address)) = text.split_once('=') else { continue };
        let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
        if !is_host_name(host) {
            item.error(report, format_args!("{host:?} is no host name"));
        } else if address == "host-gateway" {
            item.error(report, "host-gateway is not supported yet");
        } else if let Ok(address) = bare.parse::<IpAddr>() {
            hosts.push(ExtraHost { host: host.to_owned(), address });
        } else {
            item.error(report, format_args!("{address:?} is no IP address"));
        }
    }
    hosts
}

fn hostname(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let name = field.filled_text(report)?;
    if is_host_name(&name) && name.len() <= 63 {
        return Some(name);
    }
    let hint = "a host name is letters, digits, - and ., at most 63 characters";
    field.error_hint(report, format_args!("{name:?} is no host name"), hint);
    None
}

fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(legal)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn user(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let user = field.filled_text(report)?;
    let mut parts = user.split(':');
    let legal = |part: &str| {
        let dull = |c: char| !c.is_whitespace() && !c.is_control();
        !part.is_empty() && part.chars().all(dull)
    };
    if parts.clone().count() <= 2 && parts.all(legal) {
        return Some(user);
    }
    field.error_hint(report, format_args!("{user:?} is no user"), "write user or user:group");
    None
}

fn working_dir(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let dir = field.filled_text(report)?;
    if dir.starts_with('/') && !dir.contains('\0') {
        return Some(dir);
    }
    field.error(report, format_args!("{dir:?} is not an absolute path"));
    None
}

fn logging(field: &Field<'_>, report: &mut Report) -> Option<Logging> {
    let object = field.object(report)?;
    let drivers = [("json-file", LogDriver::JsonFile), ("local", LogDriver::Local)];
    let driver = object.field("driver").map(|field| {
        let text = field.text(report)?;
        if OTHER_DRIVERS.contains(&text.as_str()) {
            let hint = "logs are kept in files on the node: use json-file or local, or leave it out";
            field.error_hint(report, format_args!("the driver {text} is not supported yet"), hint);
            return None;
        }
        field.choice(report, &drivers)
    });
    let options = object.field("options").and_then(|field| field.object(report));
    let option = |key: &str| options.as_ref().and_then(|options| options.field(key));
    // Docker reads -1 as no limit at all.
    let max_size = option("max-size").filter(|field| field.plain_text() != Some("-1"));
    Some(Logging {
        driver: driver.flatten().unwrap_or_default(),
        max_size: max_size.and_then(|field| field.bytes(report)),
        max_file: option("max-file")
            .and_then(|field| field.integer(report, 1..=1_000))
            .and_then(|files| u32::try_from(files).ok()),
    })
}

/// Docker's other log drivers.
const OTHER_DRIVERS: [&str; 9] =
    ["awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "journald", "none", "splunk", "syslog"];
