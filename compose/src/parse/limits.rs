//! What the kernel holds a container to: capabilities, ulimits, sysctls, signals.

use std::collections::BTreeMap;

use super::field::Field;
use crate::model::Ulimit;
use crate::report::Report;
use crate::schema::nearest;

const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

const ULIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE", "PROF", "PWR",
    "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2",
    "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// The highest signal number.
const LAST_SIGNAL: u8 = 64;

/// Reads a list of capabilities, each once, without `CAP_`.
pub(super) fn capabilities(field: &Field<'_>, report: &mut Report) -> Vec<String> {
    let mut capabilities = Vec::new();
    for item in field.items(report) {
        let Some(text) = item.text(report) else { continue };
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if !CAPABILITIES.contains(&name) {
            unknown(&item, report, "capability", &text, nearest(name, CAPABILITIES.iter().copied()));
        } else if !capabilities.iter().any(|known| known == name) {
            capabilities.push(name.to_owned());
        }
    }
    capabilities
}

/// Reads `ulimits`: a number for both values, or `soft` and `hard`.
pub(super) fn ulimits(field: &Field<'_>, report: &mut Report) -> BTreeMap<String, Ulimit> {
    let mut ulimits = BTreeMap::new();
    let Some(object) = field.object(report) else { return ulimits };
    for (name, _, value) in object.entries() {
        if !ULIMITS.contains(&name) {
            unknown(&value, report, "ulimit", name, nearest(name, ULIMITS.iter().copied()));
            continue;
        }
        let ulimit = if value.is_map() { soft_and_hard(&value, report) } else { both(&value, report) };
        if let Some(ulimit) = ulimit {
            ulimits.insert(name.to_owned(), ulimit);
        }
    }
    ulimits
}

fn both(field: &Field<'_>, report: &mut Report) -> Option<Ulimit> {
    let value = field.integer(report, -1..=i64::MAX)?;
    Some(Ulimit { soft: value, hard: value })
}

fn soft_and_hard(field: &Field<'_>, report: &mut Report) -> Option<Ulimit> {
    let object = field.object(report)?;
    let mut part = |key: &str| match object.field(key) {
        Some(value) => value.integer(report, -1..=i64::MAX),
        None => {
            field.error(report, format_args!("{key}: is missing"));
            None
        }
    };
    let (soft, hard) = (part("soft"), part("hard"));
    let ulimit = Ulimit { soft: soft?, hard: hard? };
    let unlimited = |value: i64| if value == -1 { i64::MAX } else { value };
    if unlimited(ulimit.soft) > unlimited(ulimit.hard) {
        field.error(report, format_args!("soft ({}) is above hard ({})", ulimit.soft, ulimit.hard));
        return None;
    }
    Some(ulimit)
}

/// Reads `sysctls`.
pub(super) fn sysctls(field: &Field<'_>, report: &mut Report) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    for (name, value, pos) in field.optional_pairs(report) {
        let legal = name.contains('.')
            && !name.starts_with('.')
            && !name.contains("..")
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        match value {
            Some(value) if legal => {
                sysctls.insert(name, value);
            }
            Some(_) => report.error(pos, format!("{}: {name:?} is no kernel parameter", field.path())),
            None => report.error(pos, format!("{}: {name:?} has no value", field.path())),
        }
    }
    sysctls
}

/// Reads a signal: its name with or without `SIG`, or its number.
pub(super) fn signal(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.filled_text(report)?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.parse::<u8>().is_ok_and(|number| (1..=LAST_SIGNAL).contains(&number)) {
            return Some(text);
        }
        field.error(report, format_args!("{text} is not between 1 and {LAST_SIGNAL}"));
        return None;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if SIGNALS.contains(&name) || is_real_time(name) {
        return Some(format!("SIG{name}"));
    }
    unknown(field, report, "signal", &text, nearest(name, SIGNALS.iter().copied()));
    None
}

/// Whether a name is one of `RTMIN`, `RTMIN+n`, `RTMAX-n`, `RTMAX`.
fn is_real_time(name: &str) -> bool {
    let offset = name.strip_prefix("RTMIN").map(|rest| (rest, '+'));
    match offset.or_else(|| name.strip_prefix("RTMAX").map(|rest| (rest, '-'))) {
        Some(("", _)) => true,
        Some((rest, sign)) => {
            rest.strip_prefix(sign).and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| n <= 30)
        }
        None => false,
    }
}

fn unknown(field: &Field<'_>, report: &mut Report, what: &str, name: &str, near: Option<&str>) {
    let message = format!("unknown {what} {name:?}");
    match near {
        Some(near) => field.error_hint(report, message, format!("did you mean {near:?}?")),
        None => field.error(report, message),
    }
}
