//! System call filters, compiled once per profile and loaded by each container's process: compiling
//! one takes longer than all the rest of starting a container.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, bail};
use libcontainer::oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    LinuxSyscall,
};
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Size of a BPF instruction.
const INSTRUCTION: usize = 8;
/// Most instructions the kernel takes.
const MAX_INSTRUCTIONS: usize = 4096;

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program(Vec<u8>);

impl Program {
    /// Reads a filter that [`compile`] wrote.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        let count = bytes.len() / INSTRUCTION;
        if count == 0 || count > MAX_INSTRUCTIONS || !bytes.len().is_multiple_of(INSTRUCTION) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a compiled seccomp filter"));
        }
        Ok(Self(bytes))
    }

    /// Puts this process and all it becomes under the filter. It must have no_new_privs set.
    pub(crate) fn load(&self) -> io::Result<()> {
        let instructions: Vec<libc::sock_filter> = self
            .0
            .chunks_exact(INSTRUCTION)
            .map(|b| libc::sock_filter {
                code: u16::from_ne_bytes([b[0], b[1]]),
                jt: b[2],
                jf: b[3],
                k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
            })
            .collect();
        let program = libc::sock_fprog {
            len: u16::try_from(instructions.len()).map_err(io::Error::other)?,
            filter: instructions.as_ptr().cast_mut(),
        };
        // SAFETY: `program` points to `len` instructions that live until after the call, which only reads them.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&program))
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Reads a filter in the OCI spec's form and writes it compiled.
///
/// # Errors
/// If it is not such a filter, or libseccomp refuses it.
pub fn compile(input: impl Read, mut output: impl Write) -> anyhow::Result<()> {
    let seccomp: LinuxSeccomp = serde_json::from_reader(input).context("can't parse the seccomp filter")?;
    let filter = build(&seccomp).context("can't build the seccomp filter")?;
    let mut compiled = File::from(memfd_create("seccomp", MFdFlags::MFD_CLOEXEC)?);
    filter.export_bpf(&compiled)?;
    compiled.rewind()?;
    let mut bytes = unknown_calls(&seccomp)?;
    compiled.read_to_end(&mut bytes)?;
    if bytes.len() / INSTRUCTION > MAX_INSTRUCTIONS {
        bail!("the seccomp filter is too large for the kernel");
    }
    output.write_all(&bytes)?;
    output.flush()?;
    Ok(())
}

fn build(seccomp: &LinuxSeccomp) -> anyhow::Result<ScmpFilterContext> {
    let default = action(seccomp.default_action(), seccomp.default_errno_ret())?;
    let mut filter = ScmpFilterContext::new(default)?;
    for arch in seccomp.architectures().iter().flatten() {
        filter.add_arch(architecture(*arch))?;
    }
    for flag in seccomp.flags().iter().flatten() {
        if *flag != LinuxSeccompFilterFlag::SeccompFilterFlagTsync {
            bail!("the flag {flag:?} is not supported by the embedded runtime; choose another runtime");
        }
    }
    // A tree instead of a list: containers make system calls all the time.
    filter.set_ctl_optimize(2)?;
    for rule in seccomp.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        if action == default {
            continue;
        }
        let args: Vec<ScmpArgCompare> = rule.args().iter().flatten().map(comparison).collect();
        for name in rule.names() {
            // One that libseccomp does not know is newer than it, or of another processor: see `unknown_calls`.
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            if distinct_args(rule.args().as_deref().unwrap_or_default()) {
                filter.add_rule_conditional(action, call, &args)?;
            } else {
                // libseccomp takes an argument once a rule; as runc does, each condition then stands alone.
                for arg in &args {
                    filter.add_rule_conditional(action, call, std::slice::from_ref(arg))?;
                }
            }
        }
    }
    Ok(filter)
}

fn distinct_args(args: &[LinuxSeccompArg]) -> bool {
    args.iter().enumerate().all(|(n, a)| args[..n].iter().all(|b| a.index() != b.index()))
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> anyhow::Result<ScmpAction> {
    let errno = i32::try_from(errno.unwrap_or(libc::EPERM.unsigned_abs()))?;
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => ScmpAction::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(errno),
        LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(u16::try_from(errno)?),
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActNotify => {
            bail!("SCMP_ACT_NOTIFY is not supported by the embedded runtime; choose another runtime")
        }
    })
}

fn comparison(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let index = u32::try_from(arg.index()).unwrap_or(u32::MAX);
    let (op, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        // As runc reads it: the mask first, then what must be left.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0))
        }
    };
    ScmpArgCompare::new(index, op, value)
}

fn architecture(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        Arch::ScmpArchSh => ScmpArch::Sh,
        Arch::ScmpArchSheb => ScmpArch::Sheb,
    }
}

/// A prologue that answers ENOSYS to native calls newer than any the filter names, as runc does: libraries
/// try new calls first and fall back only on that.
fn unknown_calls(seccomp: &LinuxSeccomp) -> anyhow::Result<Vec<u8>> {
    if seccomp.default_action() != LinuxSeccompAction::ScmpActErrno {
        return Ok(Vec::new());
    }
    let Some(audit_arch) = native_audit_arch() else { return Ok(Vec::new()) };
    let rules = seccomp.syscalls().iter().flatten();
    let numbers =
        rules.flat_map(LinuxSyscall::names).filter_map(|n| ScmpSyscall::from_name(n).ok()).map(i32::from);
    // Above that are the numbers of other interfaces, such as x32's.
    let Some(newest) = numbers.filter(|n| (0..0x4000_0000).contains(n)).max() else { return Ok(Vec::new()) };
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let program: [(u16, u8, u8, u32); 6] = [
        (LOAD, 0, 0, 4),
        (IF_EQUAL, 0, 4, audit_arch),
        (LOAD, 0, 0, 0),
        (IF_AT_LEAST, 2, 0, 0x4000_0000),
        (IF_GREATER, 0, 1, u32::try_from(newest)?),
        (RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
    ];
    let mut bytes = Vec::with_capacity(program.len() * INSTRUCTION);
    for (code, jt, jf, k) in program {
        bytes.extend_from_slice(&code.to_ne_bytes());
        bytes.extend_from_slice(&[jt, jf]);
        bytes.extend_from_slice(&k.to_ne_bytes());
    }
    Ok(bytes)
}

/// `AUDIT_ARCH_*` of the processors whose profile we have.
fn native_audit_arch() -> Option<u32> {
    match std::env::consts::ARCH {
        "x86_64" => Some(0xC000_003E),
        "aarch64" => Some(0xC000_00B7),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(json: &str) -> anyhow::Result<Vec<u8>> {
        let mut out = Vec::new();
        compile(json.as_bytes(), &mut out)?;
        Ok(out)
    }

    #[test]
    fn a_filter_compiles_to_whole_instructions() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],
            "syscalls":[{"names":["read","write","no_such_call"],"action":"SCMP_ACT_ALLOW"},
            {"names":["clone"],"action":"SCMP_ACT_ALLOW",
             "args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
        let bytes = compiled(json).unwrap();
        assert!(bytes.len() > 10 * INSTRUCTION && bytes.len().is_multiple_of(INSTRUCTION));
    }

    #[test]
    fn what_it_can_not_do_is_an_error() {
        assert!(compiled("{").is_err());
        let notify = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#;
        assert!(format!("{:#}", compiled(notify).unwrap_err()).contains("NOTIFY"));
    }
}
