//! Faults, one after another, chosen by a seed.

use crate::{Cluster, host::Direction};
use nix::sys::signal::Signal;
use std::{fmt, thread::sleep, time::Duration};

/// A fault, and whom it strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A crash; the controller is started again afterwards.
    Kill(usize),
    /// All controllers crash at once.
    KillAll,
    /// A controller is told to end, and started again.
    Restart(usize),
    /// A controller is frozen and thawed.
    Pause(usize),
    /// All controllers are frozen and thawed.
    PauseAll,
    /// These can't speak to the others, nor the others to them; clients reach everybody.
    Partition(Vec<usize>),
    /// A controller can't hear its peers (or they can't hear it), but the other way goes on.
    OneWay(usize, Direction),
    /// A controller's cable is pulled: nobody reaches it.
    Unplug(usize),
    /// The leadership is handed to this controller.
    Transfer(usize),
    /// Cut off from its peers and, while it is, frozen and thawed: it comes back with everything it still has to say.
    PauseCutOff(usize),
    /// Cut off from its peers and, while it is, crashed and started again.
    KillCutOff(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |index: &usize| format!("c{}", index + 1);
        match self {
            Fault::Kill(index) => write!(f, "kill {}", name(index)),
            Fault::KillAll => f.write_str("kill all"),
            Fault::Restart(index) => write!(f, "restart {}", name(index)),
            Fault::Pause(index) => write!(f, "pause {}", name(index)),
            Fault::PauseAll => f.write_str("pause all"),
            Fault::Partition(some) => {
                let names: Vec<String> = some.iter().map(name).collect();
                write!(f, "partition {} from the others", names.join(" "))
            }
            Fault::OneWay(index, Direction::Inbound) => write!(f, "{} hears nobody", name(index)),
            Fault::OneWay(index, Direction::Outbound) => write!(f, "nobody hears {}", name(index)),
            Fault::OneWay(index, Direction::Both) => write!(f, "{} is alone", name(index)),
            Fault::Unplug(index) => write!(f, "unplug {}", name(index)),
            Fault::Transfer(index) => write!(f, "transfer the leadership to {}", name(index)),
            Fault::PauseCutOff(index) => write!(f, "cut {} off and pause it", name(index)),
            Fault::KillCutOff(index) => write!(f, "cut {} off and kill it", name(index)),
        }
    }
}

/// Makes faults.
#[derive(Debug)]
pub struct Nemesis {
    random: fastrand::Rng,
    controllers: usize,
}

impl Nemesis {
    /// The faults of `seed`, for so many controllers.
    #[must_use]
    pub fn new(seed: u64, controllers: usize) -> Self {
        Nemesis { random: fastrand::Rng::with_seed(seed), controllers }
    }

    fn time(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.random.u64(least..=most))
    }

    /// The next fault; every other one strikes the leader, where there is a choice.
    pub fn next(&mut self, leader: Option<usize>) -> Fault {
        let any = self.random.usize(..self.controllers);
        let victim = leader.filter(|_| self.random.bool()).unwrap_or(any);
        match self.random.u8(..13) {
            0 | 1 => Fault::Kill(victim),
            2 => Fault::KillAll,
            3 => Fault::Restart(victim),
            4 => Fault::Pause(victim),
            5 => Fault::PauseAll,
            6 => {
                let mut all: Vec<usize> = (0..self.controllers).filter(|index| *index != victim).collect();
                self.random.shuffle(&mut all);
                all.truncate(self.random.usize(..self.controllers.div_ceil(2)));
                all.push(victim);
                Fault::Partition(all)
            }
            7 => Fault::OneWay(victim, Direction::Inbound),
            8 => Fault::OneWay(victim, Direction::Outbound),
            9 => Fault::Unplug(victim),
            10 => Fault::Transfer(any),
            11 => Fault::PauseCutOff(victim),
            _ => Fault::KillCutOff(victim),
        }
    }

    /// Makes a fault and mends it again.
    pub fn strike(&mut self, cluster: &mut Cluster, fault: &Fault) {
        let (short, long) = (self.time(100, 1500), self.time(500, 3500));
        match fault {
            Fault::Kill(index) => {
                cluster.kill_controller(*index);
                sleep(short);
                cluster.start_controller(*index);
            }
            Fault::KillAll => {
                for index in 0..self.controllers {
                    cluster.kill_controller(index);
                }
                for index in 0..self.controllers {
                    cluster.start_controller(index);
                }
            }
            Fault::Restart(index) => {
                cluster.stop_controller(*index);
                sleep(short);
                cluster.start_controller(*index);
            }
            Fault::Pause(index) => {
                signal(cluster, *index, Signal::SIGSTOP);
                sleep(long);
                signal(cluster, *index, Signal::SIGCONT);
            }
            Fault::PauseAll => {
                (0..self.controllers).for_each(|index| signal(cluster, index, Signal::SIGSTOP));
                sleep(long);
                (0..self.controllers).for_each(|index| signal(cluster, index, Signal::SIGCONT));
            }
            Fault::Partition(some) => {
                cluster.partition(some);
                sleep(long);
                cluster.heal_partition();
            }
            Fault::OneWay(index, direction) => {
                cluster.cut_off(*index, *direction);
                sleep(long);
                cluster.heal_partition();
            }
            Fault::Unplug(index) => {
                cluster.controller_host(*index).cut();
                sleep(long);
                cluster.controller_host(*index).heal();
            }
            Fault::Transfer(index) => {
                // It may be refused: it is the leader already, or there is no leader.
                cluster.run(&["controller", "transfer", &format!("c{}", index + 1), "--timeout", "2s"]);
            }
            Fault::PauseCutOff(index) => {
                cluster.cut_off(*index, Direction::Both);
                sleep(short);
                signal(cluster, *index, Signal::SIGSTOP);
                sleep(long);
                cluster.heal_partition();
                signal(cluster, *index, Signal::SIGCONT);
            }
            Fault::KillCutOff(index) => {
                cluster.cut_off(*index, Direction::Both);
                sleep(short);
                cluster.kill_controller(*index);
                cluster.start_controller(*index);
                sleep(long);
                cluster.heal_partition();
            }
        }
    }

    /// A while without faults.
    pub fn rest(&mut self) {
        sleep(self.time(300, 2000));
    }
}

fn signal(cluster: &Cluster, index: usize, signal: Signal) {
    if let Some(process) = cluster.controller(index) {
        process.signal(signal);
    }
}
