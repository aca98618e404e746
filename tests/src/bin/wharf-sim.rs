//! Runs the simulation for a while, or one seed of it line by line.
//! `cargo run --release -p wharf-tests --bin wharf-sim -- --minutes 60`

use clap::Parser;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};
use wharf_tests::sim::{
    run::{run, run_traced},
    stats::Stats,
    trace::Mode,
};

#[derive(Parser)]
#[command(about = "Simulates the control plane under faults")]
struct Cli {
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens in it.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// How long to run seeds.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// How many seeds to run, instead.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; random unless given.
    #[arg(long)]
    first: Option<u64>,
    /// How many threads run seeds.
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(seed) = cli.seed {
        let outcome = if cli.trace { run_traced(seed, Mode::Print) } else { run(seed) };
        println!("{}", outcome.stats);
        return match outcome.failure {
            Some(failure) => {
                println!("{failure}");
                ExitCode::FAILURE
            }
            None => ExitCode::SUCCESS,
        };
    }
    let first = cli.first.unwrap_or_else(|| fastrand::u64(..));
    let began = Instant::now();
    let threads = cli.threads.max(1);
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            let (minutes, seeds, keep_going) = (cli.minutes, cli.seeds, cli.keep_going);
            std::thread::spawn(move || {
                let (mut stats, mut failures) = (Stats::default(), Vec::new());
                let mut count = worker;
                loop {
                    let over = match seeds {
                        Some(seeds) => count >= seeds,
                        None => began.elapsed() >= Duration::from_secs_f64(minutes * 60.0),
                    };
                    if over || (!keep_going && !failures.is_empty()) {
                        return (stats, failures);
                    }
                    let outcome = run(first.wrapping_add(count));
                    stats.add(&outcome.stats);
                    if let Some(failure) = outcome.failure {
                        println!("{failure}\n");
                        failures.push((failure.seed, failure.violation));
                    }
                    count += threads;
                }
            })
        })
        .collect();
    let (mut stats, mut failures) = (Stats::default(), Vec::new());
    for worker in workers {
        match worker.join() {
            Ok((of, failed)) => {
                stats.add(&of);
                failures.extend(failed);
            }
            Err(_) => return ExitCode::FAILURE,
        }
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("first seed         {first}");
    print!("{stats}");
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (a_second, hours) =
        (stats.seeds as f64 / minutes / 60.0, stats.simulated as f64 / 3.6e9 / minutes / threads as f64);
    println!("machine minutes    {minutes:.2} on {threads} threads");
    println!("speed              {a_second:.1} seeds a second, {hours:.1} simulated hours a machine minute");
    println!("failures           {}", failures.len());
    for (seed, violation) in &failures {
        println!("  {seed}: {}: {}", violation.check, violation.what);
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
