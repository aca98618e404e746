//! Which devices a container may open, on cgroup v2: a small BPF program on its cgroup. (On v1 the
//! embedded runtime sets the devices controller itself.) Without it, a container's root could make
//! a node of the host's disk and read it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
/// `BPF_DEVCG_*`.
const TYPE_CHAR: i32 = 2;
const ACCESS_MKNOD: i32 = 1;

/// Character devices that every container may use, as Docker has it: (major, minor or any).
const ALLOWED: [(i32, Option<i32>); 9] = [
    (1, Some(3)), // null
    (1, Some(5)), // zero
    (1, Some(7)), // full
    (1, Some(8)), // random
    (1, Some(9)), // urandom
    (5, Some(0)), // tty
    (5, Some(1)), // console
    (5, Some(2)), // ptmx
    (136, None),  // pts/*
];

/// An eBPF instruction.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// Destination in the low, source in the high four bits.
    registers: u8,
    offset: i16,
    value: i32,
}

/// The part of `union bpf_attr` for `BPF_PROG_LOAD` that is used; the rest is zero to the kernel.
#[repr(C)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// The part for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Restricts all processes of a cgroup to Docker's default devices. The kernel keeps the program with the cgroup.
pub(crate) fn restrict(cgroup: &Path) -> io::Result<()> {
    let directory = File::open(cgroup)?;
    let program = load(&program())?;
    let attributes = AttachAttributes {
        target_fd: directory.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &attributes).map(drop)
}

/// In: the kind of access and device in one word, major, minor. Out: 1 allows, 0 denies.
fn program() -> Vec<Instruction> {
    const LOAD_WORD: u8 = 0x61;
    const AND: u8 = 0x54;
    const SHIFT_RIGHT: u8 = 0x74;
    const MOVE: u8 = 0xbf;
    const SET: u8 = 0xb7;
    const IF_EQUAL: u8 = 0x15;
    const IF_NOT_EQUAL: u8 = 0x55;
    const EXIT: u8 = 0x95;
    let op = |code, to: u8, from: u8, offset, value| Instruction {
        code,
        registers: to | from << 4,
        offset,
        value,
    };
    // r2: access, r3: type, r4: major, r5: minor.
    let mut code = vec![
        op(LOAD_WORD, 2, 1, 0, 0),
        op(MOVE, 3, 2, 0, 0),
        op(AND, 3, 0, 0, 0xffff),
        op(SHIFT_RIGHT, 2, 0, 0, 16),
        op(LOAD_WORD, 4, 1, 4, 0),
        op(LOAD_WORD, 5, 1, 8, 0),
        // Making a node is harmless: opening it is not.
        op(IF_NOT_EQUAL, 2, 0, 2, ACCESS_MKNOD),
        op(SET, 0, 0, 0, 1),
        op(EXIT, 0, 0, 0, 0),
        op(IF_EQUAL, 3, 0, 2, TYPE_CHAR),
        op(SET, 0, 0, 0, 0),
        op(EXIT, 0, 0, 0, 0),
    ];
    for (major, minor) in ALLOWED {
        let answer = [op(SET, 0, 0, 0, 1), op(EXIT, 0, 0, 0, 0)];
        match minor {
            Some(minor) => {
                code.push(op(IF_NOT_EQUAL, 4, 0, 3, major));
                code.push(op(IF_NOT_EQUAL, 5, 0, 2, minor));
            }
            None => code.push(op(IF_NOT_EQUAL, 4, 0, 2, major)),
        }
        code.extend(answer);
    }
    code.extend([op(SET, 0, 0, 0, 0), op(EXIT, 0, 0, 0, 0)]);
    code
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let attributes = LoadAttributes {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    let fd = bpf(PROG_LOAD, &attributes)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: the attributes are of the form that the command takes, are only read, and what they point to
    // lives until the caller returns.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::host::HostFacts;

    /// Removes the cgroup, also when the test fails.
    struct Cgroup(PathBuf);

    impl Drop for Cgroup {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir(&self.0);
        }
    }

    #[test]
    fn other_devices_can_not_be_opened() {
        assert!(nix::unistd::geteuid().is_root(), "this test must be run as root");
        let host = HostFacts::detect().unwrap();
        let v2 = host.cgroup_mounts.iter().find(|m| m.v2).expect("this test needs a cgroup v2 hierarchy");
        let cgroup = Cgroup(v2.path.join(format!("wharf-test-devices-{}", std::process::id())));
        std::fs::create_dir(&cgroup.0).unwrap();
        restrict(&cgroup.0).unwrap();
        let node = tempfile::tempdir().unwrap();
        let allowed = |script: &str| {
            let procs = cgroup.0.join("cgroup.procs");
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(script).current_dir(node.path());
            // SAFETY: only writes to a file between fork and exec; the test's other threads hold no lock it needs.
            unsafe { command.pre_exec(move || std::fs::write(&procs, "0")) };
            command.stderr(std::process::Stdio::null()).status().unwrap().success()
        };
        assert!(allowed(
            ": > /dev/null && head -c 1 /dev/zero > /dev/null && head -c 1 /dev/urandom > /dev/null"
        ));
        assert!(allowed("mknod kmsg c 1 11"), "nodes can be made");
        assert!(!allowed("exec 3< kmsg"), "but not opened");
        assert!(allowed("mknod disk b 7 0"));
        assert!(!allowed("exec 3< disk"));
    }
}
