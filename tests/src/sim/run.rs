//! One run: faults for a while, then peace, and what must have come of it.

use super::{
    checks::{Check, Violation},
    options::Options,
    rng::Rng,
    stats::Stats,
    time::SECOND,
    trace::Mode,
    world::World,
};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Lines of the trace that a failure shows.
const LAST_LINES: usize = 60;

/// A seed that broke something.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The event at which it showed.
    pub step: u64,
    /// What is broken.
    pub violation: Violation,
    /// The last lines of the trace.
    pub lines: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {} fails at step {}: {}", self.seed, self.step, self.violation.check)?;
        writeln!(f, "{}", self.violation.what)?;
        writeln!(f, "again: WHARF_SIM_SEED={} cargo test -p wharf-tests --test simulation", self.seed)?;
        write!(
            f,
            "every line: cargo run --release -p wharf-tests --bin wharf-sim -- --seed {} --trace",
            self.seed
        )
    }
}

/// What became of a seed.
pub struct Outcome {
    /// What happened, in numbers.
    pub stats: Stats,
    /// What was found broken, if anything was.
    pub failure: Option<Failure>,
    /// The trace, as far as it was kept.
    pub lines: Vec<String>,
}

/// Runs a seed, and again with its last lines kept if it breaks something.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let outcome = run_traced(seed, Mode::Off);
    if outcome.failure.is_some() { run_traced(seed, Mode::Last(LAST_LINES)) } else { outcome }
}

/// Runs a seed.
#[must_use]
pub fn run_traced(seed: u64, mode: Mode) -> Outcome {
    // The options have numbers of their own, so that a change of them leaves the rest of a seed as it was.
    let options = Options::choose(&mut Rng::new(!seed));
    let mut world = World::new(seed, options, mode);
    let ran = catch_unwind(AssertUnwindSafe(|| live(&mut world)));
    if let Err(panic) = ran {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        world.violate(Check::Panic, text.unwrap_or_default());
    }
    let mut stats = std::mem::take(&mut world.stats);
    stats.seeds = 1;
    stats.simulated = world.now;
    stats.steps = world.steps;
    stats.commands = world.checks.reference.commands;
    stats.writes = world.checks.calls.writes;
    stats.reads = world.checks.calls.reads;
    if world.net.lost > 0 {
        stats.faults.insert("message lost", world.net.lost);
    }
    if world.net.repeated > 0 {
        stats.faults.insert("message repeated", world.net.repeated);
    }
    let lines = world.trace.lines();
    let step = world.steps;
    let failure =
        world.violation.take().map(|violation| Failure { seed, step, violation, lines: lines.clone() });
    Outcome { stats, failure, lines }
}

fn live(world: &mut World) {
    world.set_up();
    world.run_until(world.options.troubled);
    if world.violation.is_some() {
        return;
    }
    world.heal();
    let deadline = world.now + world.options.settling;
    let mut missing = String::new();
    while world.now < deadline && world.violation.is_none() {
        world.run_until(world.now + 2 * SECOND);
        match world.settled() {
            Ok(()) => return,
            Err(what) => missing = what,
        }
    }
    world.violate(Check::NotSettled, missing);
}
