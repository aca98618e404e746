//! What runs are counted by.

use std::{collections::BTreeMap, fmt};

/// What happened in one run, or in many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Runs.
    pub seeds: u64,
    /// Simulated time, in microseconds.
    pub simulated: u64,
    /// Events that happened.
    pub steps: u64,
    /// Commands in the log.
    pub commands: u64,
    /// Clients' writes that were acknowledged.
    pub writes: u64,
    /// Clients' reads that were answered.
    pub reads: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// Containers that were started.
    pub containers: u64,
    /// Sessions that began.
    pub sessions: u64,
    /// Snapshots that were made.
    pub snapshots: u64,
    /// Snapshots that were taken over from a leader.
    pub installs: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Counts a fault.
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Counts another run in.
    pub fn add(&mut self, other: &Stats) {
        self.seeds += other.seeds;
        self.simulated += other.simulated;
        self.steps += other.steps;
        self.commands += other.commands;
        self.writes += other.writes;
        self.reads += other.reads;
        self.terms += other.terms;
        self.containers += other.containers;
        self.sessions += other.sessions;
        self.snapshots += other.snapshots;
        self.installs += other.installs;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated / 36_000_000;
        writeln!(f, "seeds              {}", self.seeds)?;
        writeln!(f, "simulated hours    {}.{:02}", hours / 100, hours % 100)?;
        writeln!(f, "events             {}", self.steps)?;
        writeln!(f, "commands committed {}", self.commands)?;
        writeln!(f, "writes and reads   {} acknowledged, {} answered", self.writes, self.reads)?;
        writeln!(f, "leaders            {}", self.terms)?;
        writeln!(f, "sessions           {}", self.sessions)?;
        writeln!(f, "containers started {}", self.containers)?;
        writeln!(f, "snapshots          {} made, {} installed", self.snapshots, self.installs)?;
        writeln!(f, "faults             {}", self.faults.values().sum::<u64>())?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {kind:<24} {count}")?;
        }
        Ok(())
    }
}
