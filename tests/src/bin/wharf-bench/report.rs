//! What was measured, for people and for machines.

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};
use std::{fs, path::Path, time::Duration};

/// What was measured.
pub struct Report {
    command: String,
    machine: Value,
    results: Vec<Value>,
}

impl Report {
    /// Says on what machine this is, and by what command.
    pub fn begin() -> Self {
        let cpus = std::thread::available_parallelism().map_or(0, Into::into);
        let kernel = read("/proc/sys/kernel/osrelease");
        let load = read("/proc/loadavg");
        let command = command();
        println!("machine: {cpus} cpus, kernel {}, load before {}", kernel.trim(), load.trim());
        println!("command: {command}");
        let machine = json!({ "cpus": cpus, "kernel": kernel.trim(), "load": load.trim() });
        Report { command, machine, results: Vec::new() }
    }

    /// Keeps a result for the file.
    pub fn add(&mut self, what: &str, value: &impl Serialize) {
        self.results.push(json!({ "what": what, "value": value }));
    }

    /// Writes the file, if one is wanted.
    pub fn finish(self, file: Option<&Path>) -> anyhow::Result<()> {
        let Some(file) = file else { return Ok(()) };
        let whole = json!({ "command": self.command, "machine": self.machine, "results": self.results });
        let text = serde_json::to_string_pretty(&whole).context("the results can't be encoded")?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }
}

/// The command as cargo runs it.
fn command() -> String {
    let args: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo run --release -p wharf-tests --bin wharf-bench -- {}", args.join(" "))
}

/// Several measurements of the same.
#[derive(Debug, Serialize)]
pub struct Spread {
    /// The middle one; of an even number the lower.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// How many.
    pub rounds: usize,
}

impl Spread {
    /// Of these values, which are at least one.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Spread {
            median: values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN),
            min: values.first().copied().unwrap_or(f64::NAN),
            max: values.last().copied().unwrap_or(f64::NAN),
            rounds: values.len(),
        }
    }

    /// Of times, in seconds.
    pub fn of_times(times: &[Duration]) -> Self {
        Spread::of(times.iter().map(Duration::as_secs_f64))
    }
}

/// Prints times in seconds, and keeps them.
pub fn times(report: &mut Report, what: &str, times: &[Duration]) {
    let spread = Spread::of_times(times);
    println!(
        "{what}: median {:.2} s, min {:.2} s, max {:.2} s ({} rounds)",
        spread.median, spread.min, spread.max, spread.rounds
    );
    report.add(what, &spread);
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
