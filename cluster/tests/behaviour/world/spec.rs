//! Service specs for tests.

use wharf_cluster::model::{
    FailureAction, Mode, Order, Port, Protocol, RestartCondition, RestartPolicy, ServiceSpec, UpdateConfig,
};

/// So many replicas of an image, restarted at once when they end, updated one by one without being watched.
pub fn replicated(image: &str, replicas: u32) -> ServiceSpec {
    let mut spec = ServiceSpec { mode: Mode::Replicated { replicas }, ..ServiceSpec::default() };
    spec.template.container.image = image.to_owned();
    spec.template.restart = restart(RestartCondition::Any, 0, None);
    spec.update = UpdateConfig { monitor: 0, ..UpdateConfig::default() };
    spec.rollback = UpdateConfig { monitor: 0, ..UpdateConfig::default() };
    spec
}

pub fn global(image: &str) -> ServiceSpec {
    ServiceSpec { mode: Mode::Global, ..replicated(image, 0) }
}

pub fn job(image: &str, completions: u32, concurrent: u32) -> ServiceSpec {
    ServiceSpec { mode: Mode::ReplicatedJob { completions, concurrent }, ..replicated(image, 0) }
}

pub fn restart(condition: RestartCondition, delay: u64, max_attempts: Option<u32>) -> RestartPolicy {
    RestartPolicy { condition, delay, max_attempts, window: 0 }
}

/// A spec that is changed by a function.
pub fn with(mut spec: ServiceSpec, change: impl FnOnce(&mut ServiceSpec)) -> ServiceSpec {
    change(&mut spec);
    spec
}

pub fn update(parallelism: u32, order: Order, failure_action: FailureAction) -> UpdateConfig {
    UpdateConfig { parallelism, order, failure_action, monitor: 5_000, ..UpdateConfig::default() }
}

pub fn port(published: u16) -> Port {
    Port { target: 80, published: Some(published), host_ip: None, protocol: Protocol::Tcp }
}
