//! Jobs: tasks that are meant to complete.

use crate::world::{
    World,
    spec::{job, with},
};
use wharf_cluster::{
    command::Command,
    model::{Mode, RestartCondition, ServiceSpec, TaskState},
};

fn completed(world: &World) -> usize {
    world.tasks("shop/job").iter().filter(|task| task.status.state == TaskState::Complete).count()
}

fn apply(world: &mut World, spec: ServiceSpec) {
    world.apply("shop", vec![("job", spec)]).unwrap();
}

#[test]
fn a_job_completes_so_often_and_no_more_than_so_many_at_a_time() {
    for (completions, concurrent, most) in [(7, 2, 2), (3, 5, 3), (4, 0, 4)] {
        let mut world = World::with_nodes(3);
        apply(&mut world, job("job:1", completions, concurrent));
        let mut seen = 0;
        while world.round() {
            let active = world.tasks("shop/job").iter().filter(|task| task.is_wanted()).count();
            seen = seen.max(active);
        }
        assert_eq!(seen, most);
        assert_eq!(completed(&world), completions as usize);
        assert_eq!(world.tasks("shop/job").len(), completions as usize);
    }
}

#[test]
fn a_failed_attempt_is_repeated_as_often_as_the_policy_says() {
    let mut world = World::with_nodes(2);
    let spec = with(job("bad:1", 2, 1), |spec| spec.template.restart.max_attempts = Some(2));
    apply(&mut world, spec.clone());
    world.settle();
    assert_eq!(world.tasks("shop/job").len(), 6);
    assert_eq!(completed(&world), 0);
    // A new version of the job runs anew, and the old attempts are forgotten.
    apply(&mut world, with(spec, |spec| spec.template.container.image = "job:2".to_owned()));
    world.settle();
    assert_eq!(completed(&world), 2);
    assert_eq!(world.tasks("shop/job").len(), 2);
}

#[test]
fn a_global_job_completes_once_on_every_node() {
    let mut world = World::with_nodes(3);
    let spec = with(job("job:1", 0, 0), |spec| {
        spec.mode = Mode::GlobalJob;
        spec.template.restart.condition = RestartCondition::OnFailure;
    });
    apply(&mut world, spec);
    world.settle();
    assert_eq!(completed(&world), 3);
    world.add_node(1_000_000_000, 1_000);
    world.settle();
    assert_eq!(completed(&world), 4);
    world.request(Command::RestartService { service: "shop/job".parse().unwrap() }).unwrap();
    world.settle();
    assert_eq!(completed(&world), 4);
    assert!(world.tasks("shop/job").iter().all(|task| task.template == 2));
}

#[test]
fn a_job_on_a_lost_node_is_done_elsewhere() {
    let mut world = World::with_nodes(2);
    apply(&mut world, job("web:1", 2, 2));
    world.settle();
    let lost = world.node(0);
    world.lose(lost);
    world.run_for(1_000);
    assert_eq!(world.running("shop/job").len(), 2);
    assert!(world.running("shop/job").iter().all(|task| task.node != Some(lost)));
}
