//! The first process of a container with `init: true`: starts the command, passes signals on to it,
//! reaps orphans, and ends as the command ends. Usage: `init -- COMMAND [ARGUMENT...]`.

use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

const SIG_BLOCK: i32 = 0;
const SIG_SETMASK: i32 = 2;
const SIGCHLD: i32 = 17;
const WNOHANG: i32 = 1;
const ECHILD: i32 = 10;

/// As large as libc's `sigset_t`.
#[repr(C, align(8))]
struct SignalSet([u64; 16]);

unsafe extern "C" {
    fn sigfillset(set: *mut SignalSet) -> i32;
    fn sigprocmask(how: i32, set: *const SignalSet, old: *mut SignalSet) -> i32;
    fn sigwait(set: *const SignalSet, signal: *mut i32) -> i32;
    fn kill(pid: i32, signal: i32) -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
}

fn main() {
    let mut args = std::env::args_os().skip(1).skip_while(|a| a == "--");
    let Some(program) = args.next() else {
        eprintln!("init: no command");
        exit(127);
    };
    let mut all = SignalSet([0; 16]);
    let mut before = SignalSet([0; 16]);
    // SAFETY: both sets are as large as libc's, and writable.
    unsafe {
        sigfillset(&raw mut all);
        sigprocmask(SIG_BLOCK, &raw const all, &raw mut before);
    }
    let mut command = Command::new(&program);
    command.args(args);
    // SAFETY: runs between fork and exec, and makes one system call with a set that was copied into the closure.
    unsafe {
        command.pre_exec(move || {
            sigprocmask(SIG_SETMASK, &raw const before, std::ptr::null_mut());
            Ok(())
        });
    }
    let child = match command.spawn() {
        Ok(child) => i32::try_from(child.id()).unwrap_or(-1),
        Err(error) => {
            eprintln!("exec: {program:?}: {error}");
            exit(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    loop {
        let mut signal = 0;
        // SAFETY: the set and the number are valid for the call.
        if unsafe { sigwait(&raw const all, &raw mut signal) } != 0 {
            continue;
        }
        if signal == SIGCHLD {
            reap(child);
        } else {
            // SAFETY: takes plain numbers. A child that has just ended is no error.
            unsafe { kill(child, signal) };
        }
    }
}

/// Reaps all that have ended, and ends if the command has.
fn reap(child: i32) {
    loop {
        let mut status = 0;
        // SAFETY: the status is valid for the call.
        let pid = unsafe { waitpid(-1, &raw mut status, WNOHANG) };
        if pid == child {
            let signal = status & 0x7f;
            exit(if signal == 0 { status >> 8 & 0xff } else { 128 + signal });
        }
        let error = std::io::Error::last_os_error().raw_os_error();
        if pid == 0 || (pid < 0 && error == Some(ECHILD)) {
            return;
        }
    }
}
