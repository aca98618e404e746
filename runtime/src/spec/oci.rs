//! From a container spec to the OCI runtime spec, as Docker would write it.

use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{
    Linux, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxNamespace, LinuxNamespaceType, LinuxPids,
    LinuxResources, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, Root, Spec, User as OciUser,
};

use super::capabilities::{effective_set, oci_capabilities};
use super::error::SpecError;
use super::mounts::{INIT_TARGET, oci_mounts};
use super::seccomp::oci_seccomp;
use super::{ContainerSpec, Network, Resources, Ulimit, User};
use crate::host::{CgroupMode, HostFacts};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CPU_PERIOD: u64 = 100_000;
const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The OCI runtime spec of a container. Pure but for reading a seccomp profile file that the spec names.
/// `init` is the host's path of the tiny init program, for specs that ask for one.
///
/// # Errors
/// If a field can't be used, or the host lacks what the spec asks for.
pub fn oci_spec(spec: &ContainerSpec, host: &HostFacts, init: Option<&Path>) -> Result<Spec, SpecError> {
    super::check::check(spec)?;
    let User::Ids { uid, gid, additional_gids } = &spec.user else {
        return Err(SpecError::field("user", "must be resolved to ids first"));
    };
    let capabilities = effective_set(&spec.cap_add, &spec.cap_drop, &host.capabilities)?;

    let mut user = OciUser::default();
    user.set_uid(*uid).set_gid(*gid).set_additional_gids(Some(additional_gids.clone()));
    let mut process = Process::default();
    process
        .set_terminal(Some(spec.tty))
        .set_user(user)
        .set_args(Some(args(spec)))
        .set_env(Some(env(spec)))
        .set_cwd(spec.cwd.clone())
        .set_capabilities(Some(oci_capabilities(&capabilities, *uid)))
        .set_rlimits(Some(rlimits(&spec.ulimits)?))
        // Absent rather than false: libcontainer then loads the filter while it still may.
        .set_no_new_privileges(spec.no_new_privileges.then_some(true))
        .set_oom_score_adj(spec.oom_score_adj);

    let mut root = Root::default();
    root.set_path(spec.rootfs.clone()).set_readonly(Some(spec.read_only));

    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(spec, host)))
        .set_cgroups_path(Some(PathBuf::from(spec.cgroup_path())))
        .set_resources(Some(resources(&spec.resources, host)?))
        .set_sysctl(Some(sysctls(spec)))
        .set_seccomp(oci_seccomp(&spec.seccomp, &capabilities, host)?)
        .set_masked_paths(Some(MASKED_PATHS.map(str::to_owned).into()))
        .set_readonly_paths(Some(READONLY_PATHS.map(str::to_owned).into()));

    let mut oci = Spec::default();
    oci.set_version("1.0.2".into())
        .set_root(Some(root))
        .set_process(Some(process))
        .set_hostname(spec.hostname.clone())
        .set_domainname(spec.domainname.clone())
        .set_mounts(Some(oci_mounts(spec, host, init)?))
        .set_annotations(Some(spec.annotations.clone().into_iter().collect()))
        .set_linux(Some(linux));
    Ok(oci)
}

fn args(spec: &ContainerSpec) -> Vec<String> {
    let init = if spec.init { vec![INIT_TARGET.to_owned(), "--".to_owned()] } else { Vec::new() };
    init.into_iter().chain(spec.args.iter().cloned()).collect()
}

fn env(spec: &ContainerSpec) -> Vec<String> {
    let mut env = Vec::with_capacity(spec.env.len() + 3);
    let has = |key: &str| spec.env.iter().any(|e| e.split('=').next() == Some(key));
    if !has("PATH") {
        env.push(PATH.to_owned());
    }
    if let Some(hostname) = spec.hostname.as_ref().filter(|_| !has("HOSTNAME")) {
        env.push(format!("HOSTNAME={hostname}"));
    }
    if spec.tty && !has("TERM") {
        env.push("TERM=xterm".to_owned());
    }
    env.extend(spec.env.iter().cloned());
    env
}

fn namespaces(spec: &ContainerSpec, host: &HostFacts) -> Vec<LinuxNamespace> {
    let new = |kind: LinuxNamespaceType| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace
    };
    let mut list = vec![
        new(LinuxNamespaceType::Pid),
        new(LinuxNamespaceType::Ipc),
        new(LinuxNamespaceType::Uts),
        new(LinuxNamespaceType::Mount),
    ];
    match &spec.network {
        Network::Host => {}
        Network::Isolated => list.push(new(LinuxNamespaceType::Network)),
        Network::Path(path) => {
            let mut namespace = new(LinuxNamespaceType::Network);
            namespace.set_path(Some(path.clone()));
            list.push(namespace);
        }
    }
    // As Docker does: on v1 the container sees its cgroups by bind mounts, on v2 through a namespace.
    if host.cgroup_mode == CgroupMode::V2 {
        list.push(new(LinuxNamespaceType::Cgroup));
    }
    list
}

fn sysctls(spec: &ContainerSpec) -> std::collections::HashMap<String, String> {
    let mut all = std::collections::HashMap::new();
    if spec.network != Network::Host {
        // Docker's: ports below 1024 and ping are for every user of the container's own network.
        all.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        all.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
    }
    all.extend(spec.sysctls.clone());
    all
}

fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<PosixRlimit>, SpecError> {
    let convert = |ulimit: &Ulimit| {
        let name = format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase());
        let kind: PosixRlimitType = name
            .parse()
            .map_err(|_| SpecError::field("ulimits", format!("unknown limit {:?}", ulimit.name)))?;
        PosixRlimitBuilder::default()
            .typ(kind)
            .soft(ulimit.soft)
            .hard(ulimit.hard)
            .build()
            .map_err(|e| SpecError::field("ulimits", e.to_string()))
    };
    ulimits.iter().map(convert).collect()
}

fn resources(wanted: &Resources, host: &HostFacts) -> Result<LinuxResources, SpecError> {
    let need = |name: &str, limit: &str| {
        if host.has_controller(name) {
            return Ok(());
        }
        Err(SpecError::Host(format!("can't limit {limit}: its {name} cgroup controller is not available")))
    };
    let mut all = LinuxResources::default();
    let mut deny = LinuxDeviceCgroup::default();
    deny.set_allow(false).set_access(Some("rwm".into()));
    all.set_devices(Some(vec![deny]));

    if wanted.nano_cpus.is_some() || wanted.cpu_shares.is_some() {
        need("cpu", "cpus")?;
        let mut cpu = LinuxCpu::default();
        if let Some(nano_cpus) = wanted.nano_cpus {
            // The kernel takes no quota below a millisecond.
            let quota = (u128::from(nano_cpus) * u128::from(CPU_PERIOD) / 1_000_000_000).max(1000);
            cpu.set_quota(Some(i64::try_from(quota).unwrap_or(i64::MAX))).set_period(Some(CPU_PERIOD));
        }
        cpu.set_shares(wanted.cpu_shares);
        all.set_cpu(Some(cpu));
    }
    if wanted.memory.is_some() || wanted.memory_reservation.is_some() || wanted.memory_swap.is_some() {
        need("memory", "memory")?;
        all.set_memory(Some(memory(wanted, host)));
    }
    if let Some(pids) = wanted.pids {
        need("pids", "processes")?;
        let mut limit = LinuxPids::default();
        limit.set_limit(signed(pids));
        all.set_pids(Some(limit));
    }
    Ok(all)
}

fn memory(wanted: &Resources, host: &HostFacts) -> LinuxMemory {
    let mut memory = LinuxMemory::default();
    memory.set_limit(wanted.memory.map(signed));
    memory.set_reservation(wanted.memory_reservation.map(signed));
    let swap = wanted.memory_swap.or(wanted.memory.map(|m| m.saturating_mul(2)));
    if host.swap_accounting {
        memory.set_swap(swap.map(signed));
    }
    memory
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
