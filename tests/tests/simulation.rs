//! The control plane under faults, seed after seed.
//!
//! `WHARF_SIM_SEEDS` says how many seeds, `WHARF_SIM_FIRST` which is the first, `WHARF_SIM_SEED` runs one alone.

use wharf_tests::sim::{
    run::{run, run_traced},
    stats::Stats,
    trace::Mode,
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn no_seed_breaks_the_control_plane() {
    let (first, count) = match number("WHARF_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (number("WHARF_SIM_FIRST").unwrap_or(1), number("WHARF_SIM_SEEDS").unwrap_or(3)),
    };
    let mut stats = Stats::default();
    for seed in first..first + count {
        let outcome = run(seed);
        stats.add(&outcome.stats);
        if let Some(failure) = outcome.failure {
            panic!("{failure}");
        }
    }
    println!("{stats}");
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let everything = Mode::Last(usize::MAX);
    for seed in 1..2 {
        let (once, again) = (run_traced(seed, everything), run_traced(seed, everything));
        assert_eq!(once.stats, again.stats);
        let difference = once.lines.iter().zip(&again.lines).find(|(one, other)| one != other);
        assert_eq!(difference, None);
        assert_eq!(once.lines.len(), again.lines.len());
    }
}
