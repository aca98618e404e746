//! Starts N containers on this machine, one alone and then all at once, and prints what it took.
//!
//! `cargo build --release -p wharf-runtime && cargo run --release -p wharf-runtime --example start_many -- 50`
//! (as root; uses /bin/busybox; a second argument names another OCI runtime's program, such as /usr/sbin/runc)

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use wharf_runtime::api::{ContainerRuntime, CreateRequest, LogOptions};
use wharf_runtime::client::{Shims, ShimsConfig};
use wharf_runtime::host::HostFacts;
use wharf_runtime::runtimes::Runtimes;
use wharf_runtime::spec::{ContainerSpec, Resources};

const PARENT: &str = "/wharf-start-many";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let _ = enter_cpu_cgroup();
    let count: usize =
        args.next().as_deref().unwrap_or("50").parse().context("usage: start_many N [RUNTIME]")?;
    let mut runtimes = Runtimes::default();
    if let Some(path) = args.next() {
        runtimes.add(&format!("other={path}"))?;
        runtimes.set_default("other")?;
    }
    let dir = tempfile::tempdir()?;
    let rootfs = dir.path().join("rootfs");
    for name in ["bin", "proc", "dev", "sys", "etc", "tmp"] {
        std::fs::create_dir_all(rootfs.join(name))?;
    }
    std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).context("busybox-static is needed")?;
    let shims = Shims::new(ShimsConfig {
        shim: shim_program()?,
        run_dir: dir.path().join("run"),
        log_dir: dir.path().join("log"),
        runtimes,
        host: HostFacts::detect()?,
    })?;
    let result = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(measure(&shims, &rootfs, count));
    let _ = std::fs::write("/sys/fs/cgroup/cpuacct/cgroup.procs", std::process::id().to_string());
    for mount in HostFacts::detect()?.cgroup_mounts {
        let _ = std::fs::remove_dir(mount.path.join(&PARENT[1..]));
    }
    result
}

/// Next to this example's directory, where cargo puts programs of the same profile.
fn shim_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().and_then(Path::parent).context("no target directory")?.join("wharf-shim");
    ensure!(path.exists(), "{} is missing: build it first", path.display());
    Ok(path)
}

fn request(rootfs: &Path, n: usize) -> CreateRequest {
    let args = ["/bin/busybox", "sleep", "1000"].map(str::to_owned).into();
    let mut spec = ContainerSpec::new(format!("bench-{n}"), rootfs, args);
    PARENT.clone_into(&mut spec.cgroup_parent);
    spec.resources = Resources { memory: Some(64 << 20), pids: Some(100), ..Resources::default() };
    CreateRequest { spec, runtime: None, log: LogOptions::default() }
}

async fn measure(shims: &Shims, rootfs: &Path, count: usize) -> anyhow::Result<()> {
    // The first one compiles the system call filter.
    one(shims, rootfs).await?;
    let mut alone = Vec::new();
    for _ in 0..20 {
        alone.push(one(shims, rootfs).await?);
    }
    alone.sort();
    println!(
        "one: {:.1} ms (median of {}; {:.1} to {:.1})",
        ms(alone[10]),
        alone.len(),
        ms(alone[0]),
        ms(alone[19])
    );

    let cpu = cpu_time();
    let begin = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..count {
        let (shims, request) = (shims.clone(), request(rootfs, n));
        tasks.spawn(async move { shims.create(request).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    let took = begin.elapsed();
    let used = cpu_time() - cpu;
    println!("{count} at once: {:.0} ms, {:.1} ms of cpu each", ms(took), ms(used) / count as f64);
    tokio::time::sleep(Duration::from_millis(300)).await;
    print_memory(shims)?;

    let begin = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..count {
        let shims = shims.clone();
        tasks.spawn(async move { shims.delete(&format!("bench-{n}")).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    println!("all killed and deleted: {:.0} ms", ms(begin.elapsed()));
    Ok(())
}

async fn one(shims: &Shims, rootfs: &Path) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    shims.create(request(rootfs, 0)).await?;
    let took = begin.elapsed();
    shims.delete("bench-0").await?;
    Ok(took)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Processor time of this process and all it started: in a cgroup of its own on v1, else of the whole machine.
fn cpu_time() -> Duration {
    let own = std::fs::read_to_string(format!("/sys/fs/cgroup/cpuacct{PARENT}/cpuacct.usage"));
    if let Some(nanos) = own.ok().and_then(|text| text.trim().parse().ok()) {
        return Duration::from_nanos(nanos);
    }
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> = first.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|i| fields.get(*i)).sum();
    Duration::from_millis(busy * 10)
}

fn enter_cpu_cgroup() -> std::io::Result<()> {
    let dir = PathBuf::from(format!("/sys/fs/cgroup/cpuacct{PARENT}"));
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("cgroup.procs"), std::process::id().to_string())
}

/// Memory of the shims that run.
fn print_memory(shims: &Shims) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let (command, run_dir) = (read("cmdline"), shims.run_dir());
        if command.split('\0').nth(1) == Some("run") && command.contains(&*run_dir.to_string_lossy()) {
            let status = read("status");
            let field = |name: &str| -> u64 {
                let value =
                    status.lines().find_map(|l| l.strip_prefix(name)?.trim().split(' ').next()?.parse().ok());
                value.unwrap_or(0)
            };
            all.push((field("VmRSS:"), field("RssAnon:")));
        }
    }
    let (rss, anon) = all.iter().copied().max().unwrap_or_default();
    println!("{} shims; the largest: VmRSS {rss} KiB, RssAnon {anon} KiB", all.len());
    Ok(())
}
