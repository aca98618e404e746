//! May a task run on a node? The one answer, asked by the scheduler and again when a placement is applied, so that a
//! placement can't be accepted by one and refused by the other.

use crate::{
    model::{Comparison, Constraint, ConstraintKey, Node, NodeState, Protocol, Slot, TaskTemplate},
    state::NodeLoad,
};
use std::{borrow::Cow, fmt};

/// Why a node can't take a task. Filters are asked in this order; the first that refuses is the reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The node doesn't answer.
    NotReady,
    /// The node is cordoned or drained.
    Unavailable,
    /// A global service's task for another node.
    OtherNode,
    /// The image is for other platforms.
    Platform,
    /// The runtime that the service asks for isn't there.
    Runtime(String),
    /// A constraint doesn't hold.
    Constraint(String),
    /// Not enough unreserved processors.
    Cpus,
    /// Not enough unreserved memory.
    Memory,
    /// A published port is taken.
    HostPort(u16, Protocol),
    /// The service has as many tasks there as it allows.
    MaxReplicas,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotReady => f.write_str("not ready"),
            Reason::Unavailable => f.write_str("cordoned or drained"),
            Reason::OtherNode => f.write_str("not the node that this task is for"),
            Reason::Platform => f.write_str("image is for another platform"),
            Reason::Runtime(name) => write!(f, "no runtime \"{name}\""),
            Reason::Constraint(text) => write!(f, "constraint {text}"),
            Reason::Cpus => f.write_str("not enough cpus"),
            Reason::Memory => f.write_str("not enough memory"),
            Reason::HostPort(port, Protocol::Tcp) => write!(f, "port {port}/tcp is taken"),
            Reason::HostPort(port, Protocol::Udp) => write!(f, "port {port}/udp is taken"),
            Reason::MaxReplicas => f.write_str("max_replicas_per_node reached"),
        }
    }
}

/// A task that wants a node: what it runs, and the place it fills.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What it runs.
    pub template: &'a TaskTemplate,
    /// Its service.
    pub service: crate::ids::ServiceId,
    /// The place it fills.
    pub slot: Slot,
}

/// Whether `candidate` may run on `node`, which already carries `load`.
///
/// # Errors
/// The first filter that refuses.
pub fn feasible(candidate: Candidate<'_>, node: &Node, load: &NodeLoad) -> Result<(), Reason> {
    eligible(candidate, node)?;
    let template = candidate.template;
    let wanted = template.resources.reservations;
    if load.reserved.nano_cpus.saturating_add(wanted.nano_cpus) > node.description.nano_cpus
        && wanted.nano_cpus > 0
    {
        return Err(Reason::Cpus);
    }
    if load.reserved.memory.saturating_add(wanted.memory) > node.description.memory && wanted.memory > 0 {
        return Err(Reason::Memory);
    }
    for port in &template.container.ports {
        if let Some(published) = port.published
            && load.ports.contains_key(&(published, port.protocol))
        {
            return Err(Reason::HostPort(published, port.protocol));
        }
    }
    let bound = template.placement.max_replicas_per_node;
    if bound > 0 && load.tasks_of(candidate.service) >= bound {
        return Err(Reason::MaxReplicas);
    }
    Ok(())
}

/// Whether `candidate` may run on `node` when nothing else does: the part of [`feasible`] that doesn't depend on what
/// the node carries. A global service has a task on each node that is eligible.
///
/// # Errors
/// The first filter that refuses.
pub fn eligible(candidate: Candidate<'_>, node: &Node) -> Result<(), Reason> {
    if node.status.state != NodeState::Ready {
        return Err(Reason::NotReady);
    }
    if !node.is_schedulable() {
        return Err(Reason::Unavailable);
    }
    fits(candidate, node)
}

/// The part of [`eligible`] that holds whether the node answers or not: platform, runtime, constraints.
///
/// # Errors
/// The first filter that refuses.
pub fn fits(candidate: Candidate<'_>, node: &Node) -> Result<(), Reason> {
    if let Slot::Node(id) = candidate.slot
        && id != node.id
    {
        return Err(Reason::OtherNode);
    }
    let template = candidate.template;
    let platforms = &template.placement.platforms;
    if !platforms.is_empty() && !platforms.contains(&node.description.platform) {
        return Err(Reason::Platform);
    }
    if let Some(runtime) = &template.container.runtime
        && !node.description.runtimes.contains(runtime)
    {
        return Err(Reason::Runtime(runtime.clone()));
    }
    match template.placement.constraints.iter().find(|constraint| !holds(constraint, node)) {
        Some(constraint) => Err(Reason::Constraint(constraint.to_string())),
        None => Ok(()),
    }
}

/// What `key` is on `node`; empty when it isn't there.
#[must_use]
pub fn value_of<'a>(key: &ConstraintKey, node: &'a Node) -> Cow<'a, str> {
    let label = |labels: &'a std::collections::BTreeMap<String, String>, name: &str| {
        labels.get(name).map_or("", String::as_str)
    };
    Cow::Borrowed(match key {
        ConstraintKey::Id => return Cow::Owned(node.id.to_string()),
        ConstraintKey::Hostname => &node.description.hostname,
        ConstraintKey::Os => &node.description.platform.os,
        ConstraintKey::Architecture => &node.description.platform.architecture,
        ConstraintKey::Role => "worker",
        ConstraintKey::Label(name) => label(&node.labels, name),
        ConstraintKey::EngineLabel(name) => label(&node.description.labels, name),
    })
}

fn holds(constraint: &Constraint, node: &Node) -> bool {
    let value = value_of(&constraint.key, node);
    // Docker's names for architectures go both ways.
    let same = if constraint.key == ConstraintKey::Architecture {
        canonical_architecture(&value) == canonical_architecture(&constraint.value)
    } else {
        value.eq_ignore_ascii_case(&constraint.value)
    };
    same == (constraint.comparison == Comparison::Equal)
}

fn canonical_architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{NodeId, ServiceId, TaskId, Timestamp},
        model::{Availability, NodeDescription, NodeStatus, Platform, Port, Reservation},
    };
    use std::sync::Arc;

    fn node() -> Node {
        let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        Node {
            id: NodeId(37),
            name: "node-1".to_owned(),
            labels: label("disk", "SSD"),
            availability: Availability::Active,
            status: NodeStatus { state: NodeState::Ready, since: Timestamp(0), message: String::new() },
            description: Arc::new(NodeDescription {
                hostname: "host-1".to_owned(),
                platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() },
                nano_cpus: 2_000,
                memory: 1_000,
                runtimes: vec!["wharf".to_owned(), "runc".to_owned()],
                labels: label("rack", "7"),
                ..NodeDescription::default()
            }),
            joined: Timestamp(0),
        }
    }

    fn check(template: &TaskTemplate, slot: Slot, node: &Node, load: &NodeLoad) -> Result<(), Reason> {
        feasible(Candidate { template, service: ServiceId(1), slot }, node, load)
    }

    #[test]
    fn constraints_are_compared_as_docker_does() {
        let cases = [
            ("node.id==11", true),
            ("node.id!=11", false),
            ("node.hostname==HOST-1", true),
            ("node.hostname == host-2", false),
            ("node.role==worker", true),
            ("node.role==manager", false),
            ("node.platform.os==linux", true),
            ("node.platform.arch==x86_64", true),
            ("node.platform.arch!=amd64", false),
            ("node.platform.arch==arm64", false),
            ("node.labels.disk==ssd", true),
            ("node.labels.disk!=ssd", false),
            ("node.labels.absent==x", false),
            ("node.labels.absent!=x", true),
            ("engine.labels.rack==7", true),
        ];
        for (text, holds) in cases {
            let mut template = TaskTemplate::default();
            template.placement.constraints.push(text.parse().unwrap());
            let result = check(&template, Slot::Replica(1), &node(), &NodeLoad::default());
            assert_eq!(result.is_ok(), holds, "{text}: {result:?}");
        }
    }

    #[test]
    fn each_filter_refuses_what_it_should() {
        type Change = fn(&mut TaskTemplate, &mut Node);
        let cases: [(Change, Result<(), Reason>); 11] = [
            (|_, _| {}, Ok(())),
            (|_, node| node.status.state = NodeState::Unknown, Err(Reason::NotReady)),
            (|_, node| node.availability = Availability::Cordoned, Err(Reason::Unavailable)),
            (|template, _| template.placement.platforms.push(Platform::default()), Err(Reason::Platform)),
            (
                |template, _| template.container.runtime = Some("kata".to_owned()),
                Err(Reason::Runtime("kata".to_owned())),
            ),
            (|template, _| template.container.runtime = Some("runc".to_owned()), Ok(())),
            (|template, _| template.resources.reservations.nano_cpus = 1_501, Err(Reason::Cpus)),
            (|template, _| template.resources.reservations.nano_cpus = 1_500, Ok(())),
            (|template, _| template.resources.reservations.memory = u64::MAX, Err(Reason::Memory)),
            (
                |template, _| template.container.ports = vec![port(Protocol::Tcp)],
                Err(Reason::HostPort(80, Protocol::Tcp)),
            ),
            (|template, _| template.container.ports = vec![port(Protocol::Udp)], Ok(())),
        ];
        let mut other = TaskTemplate::default();
        other.resources.reservations = Reservation { nano_cpus: 500, memory: 500 };
        other.container.ports = vec![port(Protocol::Tcp)];
        let mut load = NodeLoad::default();
        load.add(TaskId(1), ServiceId(2), &other);
        for (index, (change, expected)) in cases.into_iter().enumerate() {
            let (mut template, mut node) = (TaskTemplate::default(), node());
            change(&mut template, &mut node);
            assert_eq!(check(&template, Slot::Replica(1), &node, &load), expected, "case {index}");
        }
        let elsewhere = Slot::Node(NodeId(1));
        let refused = check(&TaskTemplate::default(), elsewhere, &node(), &load);
        assert_eq!(refused, Err(Reason::OtherNode));
    }

    #[test]
    fn a_full_machine_takes_what_reserves_nothing() {
        let mut load = NodeLoad::default();
        let mut hungry = TaskTemplate::default();
        hungry.resources.reservations = Reservation { nano_cpus: 9_000, memory: 9_000 };
        load.add(TaskId(1), ServiceId(1), &hungry);
        let mut bounded = TaskTemplate::default();
        assert_eq!(check(&bounded, Slot::Replica(1), &node(), &load), Ok(()));
        bounded.placement.max_replicas_per_node = 1;
        assert_eq!(check(&bounded, Slot::Replica(1), &node(), &load), Err(Reason::MaxReplicas));
        load.remove(TaskId(1), ServiceId(1), &hungry);
        assert_eq!(load, NodeLoad::default());
    }

    fn port(protocol: Protocol) -> Port {
        Port { target: 80, published: Some(80), host_ip: None, protocol }
    }
}
