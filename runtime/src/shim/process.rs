//! Forking, in a process that has one thread.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// Longest error text taken from a child.
const MAX_TEXT: u64 = 8 * 1024;

/// Forks; the child runs `child` and never returns from here.
pub(crate) fn fork_child(child: impl FnOnce() -> i32) -> nix::Result<Pid> {
    // SAFETY: the process has a single thread, so the child finds no lock held and may allocate.
    match unsafe { fork()? } {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = child();
            // SAFETY: _exit only ends the process; the parent's exit handlers must not run here.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits for a child, whatever signals come meanwhile.
pub(crate) fn wait_for(pid: Pid) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(pid, None) {
            Err(nix::Error::EINTR) => {}
            other => return other,
        }
    }
}

/// Gives a new program the signals it expects: none blocked, none ignored.
pub(crate) fn reset_signals() {
    /// As the kernel has it on x86-64 and 64-bit ARM; all zero is the default action.
    #[repr(C)]
    struct KernelAction([u64; 4]);
    let default = KernelAction([0; 4]);
    for signal in 1..=64 {
        // Not through libc, which refuses the two signals it keeps for itself though they can be ignored too.
        // SAFETY: the action is read only, and as long as the kernel's; the default one runs no code of ours.
        // It fails for SIGKILL and SIGSTOP, which have no other.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                std::ptr::from_ref(&default),
                std::ptr::null::<u8>(),
                8,
            )
        };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Makes `fd` one of the standard ones (0 to 2), kept across exec.
pub(crate) fn install_stdio(fd: &OwnedFd, target: i32) -> nix::Result<()> {
    // SAFETY: both are descriptors of this process, and nothing else owns 0 to 2.
    let result = unsafe { libc::dup2(fd.as_raw_fd(), target) };
    nix::Error::result(result).map(drop)
}

/// All that a child wrote before it closed its end, up to a limit, without blanks around it.
pub(crate) fn read_text(from: OwnedFd) -> String {
    let mut bytes = Vec::new();
    // What came before an error is still worth showing.
    let _ = File::from(from).take(MAX_TEXT).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
