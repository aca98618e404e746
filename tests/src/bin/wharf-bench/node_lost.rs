//! How long it takes until a lost node's tasks run elsewhere.

use crate::{
    node::parent,
    report::{Report, times},
};
use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::time::Instant;
use wharf_tests::{Cluster, Options, TaskView, import_busybox, stack, within};

/// How to measure it.
#[derive(Args, Debug)]
pub struct NodeLostArgs {
    /// How often a node is lost; by turns it is cut off, and killed with all its containers
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Tasks, spread over three nodes
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(3..=1000))]
    tasks: u32,
}

const SERVICE: &str = "idle/sleeper";
const PATIENCE: u64 = 120;

/// How a node is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Cut,
    Killed,
}

/// Measures and prints it.
pub fn measure(args: &NodeLostArgs, report: &mut Report) {
    let mut cluster = Cluster::with(Options::default());
    let image = import_busybox(&cluster, "1");
    cluster.apply(&stack::sleeper(&image, args.tasks));
    let (mut cut, mut killed) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        let loss = if round % 2 == 0 { Loss::Cut } else { Loss::Killed };
        let tasks = cluster.await_running(SERVICE, args.tasks as usize, PATIENCE);
        let index = (round / 2 % 3) as usize;
        let name = format!("a{}", index + 1);
        let on_it: Vec<&TaskView> = tasks.iter().filter(|task| task.node == name).collect();
        if on_it.is_empty() {
            // All its tasks went elsewhere when it was lost before.
            cluster.ok(&["rollout", "restart", SERVICE]);
            continue;
        }
        let began = Instant::now();
        match loss {
            Loss::Cut => cluster.agent_host(index).cut(),
            Loss::Killed => {
                cluster.kill_agent(index);
                on_it.iter().filter_map(|task| task.pid).for_each(kill_with_shim);
            }
        }
        within(
            PATIENCE,
            "the lost node's tasks run elsewhere",
            || cluster.running(SERVICE),
            |running| running.len() == args.tasks as usize && running.iter().all(|task| task.node != name),
        );
        let took = began.elapsed();
        println!(
            "round {}: {name} {loss:?} with {} tasks: all run elsewhere after {:.2} s",
            round + 1,
            on_it.len(),
            took.as_secs_f64()
        );
        match loss {
            Loss::Cut => {
                cut.push(took);
                cluster.agent_host(index).heal();
            }
            Loss::Killed => {
                killed.push(took);
                cluster.start_agent(index);
            }
        }
        within(
            PATIENCE,
            "the node is back",
            || cluster.nodes(),
            |nodes| nodes.iter().all(|node| node.state == "ready"),
        );
        // New tasks spread over all three nodes again.
        cluster.ok(&["rollout", "restart", SERVICE]);
    }
    for (what, taken) in [("cut off", &cut), ("killed with its containers", &killed)] {
        if !taken.is_empty() {
            times(report, &format!("a node is {what}, until its tasks run elsewhere"), taken);
        }
    }
}

/// Kills a container's shim and then the container, as the loss of the machine would.
fn kill_with_shim(pid: u32) {
    for victim in [parent(pid), Some(pid)].into_iter().flatten() {
        if let Err(error) = kill(Pid::from_raw(victim.cast_signed()), Signal::SIGKILL) {
            eprintln!("kill {victim}: {error}");
        }
    }
}
