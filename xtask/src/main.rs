//! Checks of the tree that a compiler can't make: `cargo run -p xtask -- tidy`, run by CI before the tests.

mod arrows;
mod purity;
mod sources;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy(),
        _ => bail!("usage: cargo run -p xtask -- tidy"),
    }
}

/// Every check; all that is wrong is listed before it fails.
fn tidy() -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec().context("read the workspace")?;
    let root = metadata.workspace_root.as_std_path();
    let mut problems = arrows::check(&metadata);
    problems.extend(purity::check(&metadata, root)?);
    problems.extend(sources::check(root)?);
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    if !problems.is_empty() {
        bail!("{} problem(s)", problems.len());
    }
    println!(
        "tidy: {} crates keep the arrows, the pure ones are pure, every file says what it is for",
        metadata.packages.len()
    );
    Ok(())
}
