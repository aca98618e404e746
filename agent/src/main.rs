//! The program `wharf-agent`.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tracing_subscriber::EnvFilter;
use wharf_agent::{cli::Cli, node};

/// Threads that wait for disks and kernels; each keeps some memory.
const BLOCKING_THREADS: usize = 64;
const STACK: usize = 1 << 20;
/// For what threads are at when the agent ends.
const LAST_WORK: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_new(&cli.log).with_context(|| format!("--log {}", cli.log))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    limit_arenas();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .context("can't start the threads")?;
    let result = runtime.block_on(node::run(cli));
    // What is half done is found and finished, or cleared, by the next agent.
    runtime.shutdown_timeout(LAST_WORK);
    result
}

/// The C library gives every thread its own heap, up to eight a processor, and each keeps what was freed in it.
fn limit_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: only sets a number that the allocator reads when it makes its next arena.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
