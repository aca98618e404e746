//! Faults, one after another and some at the same time, chosen by a seed.

use super::fault::Fault;
use crate::{Cluster, Direction};
use std::{thread::sleep, time::Duration};

/// Makes faults.
#[derive(Debug)]
pub struct Nemesis {
    random: fastrand::Rng,
    controllers: usize,
}

impl Nemesis {
    /// The faults of `seed`, for so many controllers (more than one).
    #[must_use]
    pub fn new(seed: u64, controllers: usize) -> Self {
        Nemesis { random: fastrand::Rng::with_seed(seed), controllers }
    }

    fn time(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.random.u64(least..=most))
    }

    /// The next fault; every other one strikes the leader, where there is a choice.
    fn next(&mut self, leader: Option<usize>) -> Fault {
        let any = self.random.usize(..self.controllers);
        let victim = leader.filter(|_| self.random.bool()).unwrap_or(any);
        let other = (victim + self.random.usize(1..self.controllers)) % self.controllers;
        match self.random.u8(..20) {
            0..3 => Fault::Kill(victim),
            3 => Fault::KillAll,
            4 => Fault::Restart(victim),
            5 | 6 => Fault::Pause(victim),
            7 => Fault::PauseAll,
            8 => Fault::Starve(victim),
            9 => Fault::SlowDisk(victim),
            10 | 11 => {
                let mut all: Vec<usize> = (0..self.controllers).filter(|index| *index != victim).collect();
                self.random.shuffle(&mut all);
                all.truncate(self.random.usize(..self.controllers.div_ceil(2)));
                all.push(victim);
                Fault::Partition(all)
            }
            12 => Fault::CutLink(victim, other),
            13 => Fault::OneWay(victim, Direction::Inbound),
            14 => Fault::OneWay(victim, Direction::Outbound),
            15 => Fault::Lossy(victim),
            16 => Fault::Unplug(victim),
            17 => Fault::BreakDisk(victim),
            18 => Fault::Replace(victim),
            _ => Fault::Transfer(any),
        }
    }

    /// Makes a fault, at times another one while it goes on, and mends them; says which.
    pub fn strike(&mut self, cluster: &mut Cluster, leader: Option<usize>) -> String {
        let first = self.next(leader);
        let second =
            (self.random.u8(..3) == 0).then(|| self.next(leader)).filter(|second| !second.excludes(&first));
        let (between, long) = (self.time(50, 1500), self.time(300, 3500));
        let mut held = vec![first.begin(cluster)];
        if let Some(second) = &second {
            sleep(between);
            held.push(second.begin(cluster));
        }
        sleep(long);
        if let Some(second) = &second {
            second.mend(cluster);
            held.pop();
            sleep(between);
        }
        drop(held);
        first.mend(cluster);
        second.map_or_else(|| first.to_string(), |second| format!("{first}; then {second}"))
    }

    /// A while without faults.
    pub fn rest(&mut self) {
        sleep(self.time(300, 2000));
    }
}
