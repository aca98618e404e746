//! What can happen to controllers.

use crate::{Cluster, Direction, Starved, Strace};
use nix::sys::signal::Signal;
use std::fmt;

/// Processor time of a starved controller, in thousandths of one processor.
const STARVED: u64 = 10;
/// What a slow disk adds to each flush, as strace takes it.
const SLOW: &str = "fdatasync,fsync:delay_enter=150000";
/// What a broken disk does to each flush.
const BROKEN: &str = "fdatasync,fsync:error=EIO";
/// Packets lost by a bad network, of a hundred.
const LOST: u8 = 25;

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
    /// A controller hardly gets to run.
    Starve(usize),
    /// A controller's disk takes its time.
    SlowDisk(usize),
    /// A controller's disk takes nothing any more; it is started again with a sound one.
    BreakDisk(usize),
    /// These can't speak to the others, nor the others to them; clients reach everybody.
    Partition(Vec<usize>),
    /// Two can't speak to each other, but both to everybody else.
    CutLink(usize, usize),
    /// A controller can't hear its peers (or they can't hear it), but the other way goes on.
    OneWay(usize, Direction),
    /// Of what a controller says and hears, much is lost.
    Lossy(usize),
    /// A controller's cable is pulled: nobody reaches it.
    Unplug(usize),
    /// The leadership is handed to this controller.
    Transfer(usize),
    /// A controller is removed, and a new one joins in its place.
    Replace(usize),
}

/// What goes on until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Held {
    _starved: Option<Starved>,
    _disk: Option<Strace>,
}

impl Fault {
    /// Whether it can't be had at the same time: a program has one tracer, and one share of the processor.
    pub(super) fn excludes(&self, other: &Fault) -> bool {
        let disk = |fault: &Fault| match fault {
            Fault::SlowDisk(index) | Fault::BreakDisk(index) => Some(*index),
            _ => None,
        };
        let alone = |fault: &Fault| matches!(fault, Fault::Replace(_));
        // A change of members needs the others.
        if alone(self) || alone(other) {
            return true;
        }
        self == other || disk(self).is_some_and(|index| disk(other) == Some(index))
    }

    /// Makes it begin.
    pub(super) fn begin(&self, cluster: &mut Cluster) -> Held {
        let pid = |cluster: &Cluster, index: usize| cluster.controller(index).map(crate::Process::pid);
        match self {
            Fault::Kill(index) => cluster.kill_controller(*index),
            Fault::KillAll => all(cluster).for_each(|index| cluster.kill_controller(index)),
            Fault::Restart(index) => {
                // One that is frozen doesn't hear.
                signal(cluster, *index, Signal::SIGCONT);
                cluster.stop_controller(*index);
            }
            Fault::Pause(index) => signal(cluster, *index, Signal::SIGSTOP),
            Fault::PauseAll => all(cluster).for_each(|index| signal(cluster, index, Signal::SIGSTOP)),
            Fault::Starve(index) => {
                let starved = pid(cluster, *index).map(|pid| Starved::begin(pid, STARVED));
                return Held { _starved: starved, _disk: None };
            }
            Fault::SlowDisk(index) | Fault::BreakDisk(index) => {
                let how = if matches!(self, Fault::SlowDisk(_)) { SLOW } else { BROKEN };
                let host = cluster.controller_host(*index);
                let disk = pid(cluster, *index).map(|pid| Strace::attach(host, pid, Some(how)));
                return Held { _starved: None, _disk: disk };
            }
            Fault::Partition(some) => cluster.partition(some),
            Fault::CutLink(one, other) => cluster.cut_link(*one, *other),
            Fault::OneWay(index, direction) => cluster.cut_off(*index, *direction, 100),
            Fault::Lossy(index) => cluster.cut_off(*index, Direction::Both, LOST),
            Fault::Unplug(index) => cluster.controller_host(*index).cut(),
            Fault::Transfer(index) => {
                // It may be refused: it is the leader already, or there is no leader.
                cluster.run(&["controller", "transfer", &format!("c{}", index + 1), "--timeout", "2s"]);
            }
            Fault::Replace(index) => cluster.replace_controller(*index),
        }
        Held::default()
    }

    /// Mends it.
    pub(super) fn mend(&self, cluster: &mut Cluster) {
        match self {
            Fault::Kill(index) | Fault::Restart(index) => start(cluster, *index),
            Fault::BreakDisk(index) => {
                cluster.kill_controller(*index);
                start(cluster, *index);
            }
            Fault::KillAll => all(cluster).for_each(|index| start(cluster, index)),
            Fault::Pause(index) => signal(cluster, *index, Signal::SIGCONT),
            Fault::PauseAll => all(cluster).for_each(|index| signal(cluster, index, Signal::SIGCONT)),
            Fault::Partition(_) | Fault::CutLink(..) | Fault::OneWay(..) | Fault::Lossy(_) => {
                cluster.heal_partition();
            }
            Fault::Unplug(index) => cluster.controller_host(*index).heal(),
            Fault::Starve(_) | Fault::SlowDisk(_) | Fault::Transfer(_) | Fault::Replace(_) => {}
        }
    }
}

fn all(cluster: &Cluster) -> std::ops::Range<usize> {
    0..cluster.controller_addresses().len()
}

fn signal(cluster: &Cluster, index: usize, signal: Signal) {
    if let Some(process) = cluster.controller(index) {
        process.signal(signal);
    }
}

fn start(cluster: &mut Cluster, index: usize) {
    if cluster.controller(index).is_none() {
        cluster.start_controller(index);
    }
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
            Fault::Starve(index) => write!(f, "starve {}", name(index)),
            Fault::SlowDisk(index) => write!(f, "slow down the disk of {}", name(index)),
            Fault::BreakDisk(index) => write!(f, "break the disk of {}", name(index)),
            Fault::Partition(some) => {
                let names: Vec<String> = some.iter().map(name).collect();
                write!(f, "partition {} from the others", names.join(" "))
            }
            Fault::CutLink(one, other) => write!(f, "cut the link of {} and {}", name(one), name(other)),
            Fault::OneWay(index, Direction::Inbound) => write!(f, "{} hears nobody", name(index)),
            Fault::OneWay(index, Direction::Outbound) => write!(f, "nobody hears {}", name(index)),
            Fault::OneWay(index, Direction::Both) => write!(f, "{} is alone", name(index)),
            Fault::Lossy(index) => write!(f, "lose packets of {}", name(index)),
            Fault::Unplug(index) => write!(f, "unplug {}", name(index)),
            Fault::Transfer(index) => write!(f, "transfer the leadership to {}", name(index)),
            Fault::Replace(index) => write!(f, "replace {}", name(index)),
        }
    }
}
