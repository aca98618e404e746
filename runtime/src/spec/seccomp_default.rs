//! Docker's default system call profile, as tables: an allow list, with arguments looked at where
//! a call can do harm, and more allowed to containers that have the capability for it.

use libcontainer::oci_spec::runtime::{
    Arch as OciArch, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator as Op,
};

use super::seccomp::{ArchMap, Filter, Profile, Rule};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// `CLONE_NEW*`: namespaces that only `CAP_SYS_ADMIN` may make.
const NEW_NAMESPACES: u64 = 0x7E02_0000;

const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// Values that `personality` may be called with: Linux, 32-bit Linux, both with a fake 2.6 version, and a query.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const FILES: &str = "access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 \
    dup3 faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 \
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat \
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr \
    getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl lchown lchown32 lgetxattr link \
    linkat listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir \
    mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 \
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr removexattrat rename renameat \
    renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statmount statx \
    symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat \
    utimensat_time64 utimes vmsplice write writev";

const WAITING: &str = "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait \
    epoll_wait_old eventfd eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup \
    io_submit _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4";

const NETWORK: &str = "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom \
    recvmmsg recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair";

const MEMORY: &str = "brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 \
    mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect \
    process_mrelease remap_file_pages";

const IPC: &str = "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend \
    mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 \
    shmat shmctl shmdt shmget";

const PROCESSES: &str = "execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait \
    futex_waitv futex_wake getcpu getpgid getpgrp getpid getppid getpriority get_robust_list getrlimit getrusage \
    getsid get_thread_area gettid ioprio_get ioprio_set kill pause pidfd_open pidfd_send_signal prctl prlimit64 \
    restart_syscall rseq rseq_slice_yield rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn \
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr \
    sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval \
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield \
    setpgid setpriority set_robust_list setrlimit setsid set_thread_area set_tid_address sigaltstack sigprocmask \
    sigreturn tgkill tkill ugetrlimit uretprobe vfork wait4 waitid waitpid";

const IDENTITY: &str = "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 \
    getresgid getresgid32 getresuid getresuid32 getuid getuid32 landlock_add_rule landlock_create_ruleset \
    landlock_restrict_self lsm_get_self_attr lsm_list_modules lsm_set_self_attr seccomp setfsgid setfsgid32 \
    setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid \
    setresuid32 setreuid setreuid32 setuid setuid32";

const TIME: &str = "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime \
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time \
    timer_create timer_delete timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 \
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 times";

const SYSTEM: &str = "getrandom sysinfo uname";

const ARM: &str = "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2";

/// What each capability allows beyond the rest.
const BY_CAPABILITY: [(&str, &str); 13] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount \
         mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname \
         sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    ("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
];

pub(crate) fn default_profile() -> Profile {
    let mut rules: Vec<Rule> = [FILES, WAITING, NETWORK, MEMORY, IPC, PROCESSES, IDENTITY, TIME, SYSTEM]
        .into_iter()
        .map(allow)
        .collect();
    // Before 4.8 a tracer could get round the filter.
    let tracing = Filter { min_kernel: Some("4.8".into()), ..Filter::default() };
    rules.push(Rule { includes: tracing, ..allow("process_vm_readv process_vm_writev ptrace") });
    // Sockets of any family but those that reach the hypervisor or the kernel's crypto.
    rules.push(allow_if("socket", arg(0, Op::ScmpCmpLt, AF_ALG, None)));
    rules.push(allow_if("socket", arg(0, Op::ScmpCmpEq, AF_ALG + 1, None)));
    rules.push(allow_if("socket", arg(0, Op::ScmpCmpGt, AF_VSOCK, None)));
    rules.extend(PERSONALITIES.map(|p| allow_if("personality", arg(0, Op::ScmpCmpEq, p, None))));
    rules.push(Rule { includes: arches(&["amd64"]), ..allow("arch_prctl modify_ldt") });
    rules.push(Rule { includes: arches(&["arm64"]), ..allow(ARM) });
    rules.extend(BY_CAPABILITY.map(|(cap, names)| Rule { includes: capability(cap), ..allow(names) }));
    rules.push(Rule { includes: capability("CAP_PERFMON"), ..allow("perf_event_open") });
    let no_namespaces = arg(0, Op::ScmpCmpMaskedEq, NEW_NAMESPACES, Some(0));
    rules.push(Rule { excludes: capability("CAP_SYS_ADMIN"), ..allow_if("clone", no_namespaces) });
    // The filter can't look into clone3's arguments; with ENOSYS libraries fall back to clone.
    rules.push(Rule {
        action: LinuxSeccompAction::ScmpActErrno,
        errno_ret: Some(ENOSYS),
        excludes: capability("CAP_SYS_ADMIN"),
        ..allow("clone3")
    });
    Profile {
        default_action: LinuxSeccompAction::ScmpActErrno,
        default_errno_ret: Some(EPERM),
        architectures: None,
        arch_map: Some(vec![
            ArchMap {
                architecture: OciArch::ScmpArchX86_64,
                sub_architectures: Some(vec![OciArch::ScmpArchX86, OciArch::ScmpArchX32]),
            },
            ArchMap {
                architecture: OciArch::ScmpArchAarch64,
                sub_architectures: Some(vec![OciArch::ScmpArchArm]),
            },
        ]),
        flags: None,
        syscalls: rules,
    }
}

fn allow(names: &str) -> Rule {
    Rule {
        name: None,
        names: names.split_whitespace().map(str::to_owned).collect(),
        action: LinuxSeccompAction::ScmpActAllow,
        errno_ret: None,
        args: None,
        includes: Filter::default(),
        excludes: Filter::default(),
    }
}

fn allow_if(name: &str, arg: LinuxSeccompArg) -> Rule {
    Rule { args: Some(vec![arg]), ..allow(name) }
}

fn arg(index: usize, op: Op, value: u64, value_two: Option<u64>) -> LinuxSeccompArg {
    let mut builder = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    if let Some(two) = value_two {
        builder = builder.value_two(two);
    }
    builder.build().unwrap_or_default()
}

fn capability(name: &str) -> Filter {
    Filter { caps: vec![name.to_owned()], ..Filter::default() }
}

fn arches(names: &[&str]) -> Filter {
    Filter { arches: names.iter().map(|n| (*n).to_owned()).collect(), ..Filter::default() }
}
