//! `ports` in the long form.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::field::{Field, Object};
use crate::model::{Port, Protocol, PublishMode};
use crate::report::Report;

/// An address that a port is published on, and the target.
type Listener = (Option<IpAddr>, u16);

/// Reads the ports of a service, each once.
pub(super) fn read(field: &Field<'_>, report: &mut Report) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    let mut unpublished = BTreeSet::new();
    // By published port: on which addresses, and what for.
    let mut taken: BTreeMap<(u16, Protocol), Vec<Listener>> = BTreeMap::new();
    for item in field.items(report) {
        let Some(port) = item.object(report).and_then(|object| port(&item, &object, report)) else {
            continue;
        };
        let Some(published) = port.published else {
            if unpublished.insert(port.clone()) {
                ports.push(port);
            }
            continue;
        };
        let others = taken.entry((published, port.protocol)).or_default();
        if others.contains(&(port.host_ip, port.target)) {
            continue;
        }
        let overlaps = |address: Option<IpAddr>| {
            let all = |address: Option<IpAddr>| address.is_none_or(|address| address.is_unspecified());
            address == port.host_ip || all(address) || all(port.host_ip)
        };
        if let Some((_, target)) = others.iter().find(|(address, _)| overlaps(*address)) {
            let message = format!("the port {published} is published already, for the target {target}");
            item.error(report, message);
            continue;
        }
        others.push((port.host_ip, port.target));
        ports.push(port);
    }
    ports
}

fn port(item: &Field<'_>, object: &Object<'_>, report: &mut Report) -> Option<Port> {
    let Some(target) = object.field("target") else {
        item.error(report, "target: is missing");
        return None;
    };
    let target = target.integer(report, 1..=65_535).and_then(|number| u16::try_from(number).ok());
    let published = object.field("published").map(|field| published(&field, report));
    let protocol = object.field("protocol").map(|field| protocol(&field, report));
    let modes = [("ingress", PublishMode::Ingress), ("host", PublishMode::Host)];
    let mode = object.field("mode").map(|field| field.choice(report, &modes));
    let host_ip = object.field("host_ip").map(|field| address(&field, report));
    Some(Port {
        name: object.field("name").and_then(|field| field.text(report)),
        mode: mode.unwrap_or(Some(PublishMode::Ingress))?,
        host_ip: host_ip.unwrap_or(Some(None))?,
        target: target?,
        published: published.unwrap_or(Some(None))?,
        protocol: protocol.unwrap_or(Some(Protocol::Tcp))?,
    })
}

/// The published port; 0 and an empty text stand for any free one.
fn published(field: &Field<'_>, report: &mut Report) -> Option<Option<u16>> {
    let text = field.text(report)?;
    if text.is_empty() {
        return Some(None);
    }
    if text.contains('-') && !text.starts_with('-') {
        field.error_hint(
            report,
            "choosing one of a range of published ports is not supported yet",
            "give one port, or none for any free one",
        );
        return None;
    }
    let number = field.integer(report, 0..=65_535).and_then(|number| u16::try_from(number).ok())?;
    Some(Some(number).filter(|number| *number != 0))
}

fn protocol(field: &Field<'_>, report: &mut Report) -> Option<Protocol> {
    let text = field.text(report)?;
    if text.eq_ignore_ascii_case("sctp") {
        field.error(report, "sctp is not supported yet");
        return None;
    }
    field.choice(report, &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)])
}

fn address(field: &Field<'_>, report: &mut Report) -> Option<Option<IpAddr>> {
    let text = field.text(report)?;
    if text.is_empty() {
        return Some(None);
    }
    match text.parse() {
        Ok(address) => Some(Some(address)),
        Err(_) => {
            field.error(report, format_args!("{text:?} is no IP address"));
            None
        }
    }
}
