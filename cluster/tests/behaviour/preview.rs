//! What a plan says is what happens.

use crate::world::{
    World,
    spec::{global, port, replicated, update, with},
};
use std::collections::BTreeMap;
use wharf_cluster::{
    model::{FailureAction, Order, ServiceName, ServiceSpec, StackSpec, UpdateConfig},
    preview::{Action, Difference, PlannedTask, Preview, preview},
    state::Rejected,
};

fn stack(services: &[(&str, &ServiceSpec)]) -> StackSpec {
    let services = services.iter().map(|(name, spec)| ((*name).to_owned(), (*spec).clone())).collect();
    StackSpec { name: "shop".to_owned(), services, ..StackSpec::default() }
}

/// Previews and applies; what was foreseen must be what comes.
fn foresee(world: &mut World, services: &[(&str, &ServiceSpec)]) -> Preview {
    let foreseen = preview(&world.state, &stack(services)).unwrap();
    let before = world.state.clone();
    let services = services.iter().map(|(name, spec)| (*name, (*spec).clone())).collect();
    world.apply("shop", services).unwrap();
    world.settle();
    let mut came = Vec::new();
    for service in world.state.services_of("shop") {
        for task in world.state.tasks_of(service.id) {
            if let Some(node) = task.node
                && task.is_wanted()
                && before.task(task.id).is_none_or(|before| before.node.is_none())
            {
                let node_name = world.state.node(node).unwrap().name.clone();
                came.push(PlannedTask { service: service.name.clone(), slot: task.slot, node, node_name });
            }
        }
    }
    assert_eq!(foreseen.placements, came);
    foreseen
}

fn actions(preview: &Preview) -> BTreeMap<&str, Action> {
    preview.changes.iter().map(|change| (&*change.service.service, change.action)).collect()
}

#[test]
fn a_stack_comes_changes_and_goes_as_foreseen() {
    let mut world = World::with_nodes(3);
    let web = with(replicated("web:1", 5), |spec| {
        spec.update = update(2, Order::StopFirst, FailureAction::Pause);
    });
    let agent = global("agent:1");
    let cache = with(replicated("cache:1", 4), |spec| spec.template.container.ports.push(port(6379)));
    let first = foresee(&mut world, &[("web", &web), ("agent", &agent), ("cache", &cache)]);
    assert_eq!(first.version, 0);
    assert_eq!(first.placements.len(), 5 + 3 + 3);
    let cache_name = ServiceName::new("shop", "cache");
    assert_eq!(first.unplaced, [(cache_name, "3 of 3 nodes: port 6379/tcp is taken".to_owned())]);
    assert!(first.changes.iter().all(|change| change.action == Action::Create));

    let web = with(web, |spec| {
        spec.template.container.image = "web:2".to_owned();
        spec.template.container.environment.insert("A".to_owned(), "1".to_owned());
    });
    let agent = with(agent, |spec| spec.update = UpdateConfig { delay: 5, ..spec.update.clone() });
    let second = foresee(&mut world, &[("web", &web), ("agent", &agent), ("new", &replicated("new:1", 2))]);
    assert_eq!(second.version, 1);
    assert_eq!(
        actions(&second),
        BTreeMap::from([
            ("agent", Action::Configure),
            ("cache", Action::Remove),
            ("new", Action::Create),
            ("web", Action::Update),
        ])
    );
    let difference = |path: &str, from: &str, to: &str| Difference {
        path: path.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let web_change = second.changes.iter().find(|change| &*change.service.service == "web").unwrap();
    assert_eq!(
        web_change.fields,
        [
            difference("template.container.environment.A", "", "1"),
            difference("template.container.image", "web:1", "web:2"),
        ]
    );

    let web = with(web, |spec| spec.mode = wharf_cluster::model::Mode::Replicated { replicas: 8 });
    let third = foresee(&mut world, &[("web", &web), ("agent", &agent)]);
    assert_eq!(actions(&third)["web"], Action::Scale);
    assert_eq!(actions(&third)["agent"], Action::Unchanged);
    assert_eq!(third.placements.len(), 3);
}

#[test]
fn a_preview_changes_nothing_and_refuses_what_apply_would() {
    let mut world = World::with_nodes(2);
    world.apply("shop", vec![("web", replicated("web:1", 2))]).unwrap();
    world.settle();
    let before = world.state.clone();
    assert!(preview(&world.state, &stack(&[("web", &replicated("web:2", 9))])).is_ok());
    let refused = preview(&world.state, &stack(&[("web", &global("web:1"))]));
    assert!(matches!(refused, Err(Rejected::Precondition(_))));
    assert_eq!(world.state, before);
}

#[test]
fn a_large_rollout_is_previewed_in_few_batches() {
    let mut world = World::with_nodes(5);
    let web = |image| {
        with(replicated(image, 400), |spec| {
            let config = update(1, Order::StopFirst, FailureAction::Pause);
            spec.update = UpdateConfig { delay: 1_000, ..config };
        })
    };
    world.apply("shop", vec![("web", web("web:1"))]).unwrap();
    world.settle();
    let foreseen = preview(&world.state, &stack(&[("web", &web("web:2"))])).unwrap();
    assert_eq!(foreseen.placements.len(), 400);
}
