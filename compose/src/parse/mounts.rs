//! `volumes` in the long form, and `tmpfs`.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::field::{Field, Object, parse_integer};
use super::is_name;
use crate::model::{Mount, MountKind, Propagation, Tmpfs, Volume};
use crate::report::Report;
use crate::schema::nearest;
use crate::units;

/// Flags of a `tmpfs` line that are handed on.
const FLAGS: &[&str] = &[
    "async",
    "atime",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nosuid",
    "relatime",
    "ro",
    "rw",
    "strictatime",
    "suid",
    "sync",
];

/// Permission bits with the sticky and set-id bits.
const MODES: std::ops::RangeInclusive<i64> = 0..=0o7777;

/// Reads the mounts of a service.
pub(super) fn read(
    field: &Field<'_>,
    report: &mut Report,
    targets: &mut BTreeSet<String>,
    declared: &IndexMap<String, Volume>,
) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for item in field.items(report) {
        let Some(object) = item.object(report) else { continue };
        let Some(mount) = mount(&item, &object, report) else { continue };
        if let MountKind::Volume { source: Some(source), .. } = &mount.kind {
            check_declared(&item, source, declared, report);
        }
        take_target(&item, &mount.target, targets, report);
        mounts.push(mount);
    }
    mounts
}

/// Reads the lines of `tmpfs`.
pub(super) fn tmpfs(field: &Field<'_>, report: &mut Report, targets: &mut BTreeSet<String>) -> Vec<Tmpfs> {
    let mut mounts = Vec::new();
    for item in field.items(report) {
        let Some(mount) = item.text(report).and_then(|text| tmpfs_line(&item, &text, report)) else {
            continue;
        };
        take_target(&item, &mount.target, targets, report);
        mounts.push(mount);
    }
    mounts
}

fn check_declared(item: &Field<'_>, source: &str, declared: &IndexMap<String, Volume>, report: &mut Report) {
    if declared.contains_key(source) {
        return;
    }
    let hint = match nearest(source, declared.keys().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("declare it at the top level: volumes: {{{source}: {{}}}}"),
    };
    item.error_hint(report, format_args!("the volume {source:?} is not declared"), hint);
}

fn take_target(field: &Field<'_>, target: &str, targets: &mut BTreeSet<String>, report: &mut Report) {
    if !targets.insert(target.trim_end_matches('/').to_owned()) {
        field.error(report, format_args!("something else is mounted at {target:?} already"));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Bind,
    Volume,
    Tmpfs,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::Bind => "bind",
            Type::Volume => "volume",
            Type::Tmpfs => "tmpfs",
        }
    }
}

fn mount(item: &Field<'_>, object: &Object<'_>, report: &mut Report) -> Option<Mount> {
    let Some(type_field) = object.field("type") else {
        item.error(report, "type: is missing");
        return None;
    };
    let name = type_field.text(report)?;
    if matches!(name.as_str(), "npipe" | "cluster" | "image") {
        type_field.error(report, format_args!("mounts of type {name} are not supported yet"));
        return None;
    }
    let types = [("bind", Type::Bind), ("volume", Type::Volume), ("tmpfs", Type::Tmpfs)];
    let kind = type_field.choice(report, &types)?;
    for other in [Type::Bind, Type::Volume, Type::Tmpfs].into_iter().filter(|other| *other != kind) {
        if let Some(field) = object.field(other.name()) {
            field.error(report, format_args!("does not go with type: {}", kind.name()));
        }
    }
    let target = match object.field("target") {
        Some(field) => absolute(&field, report),
        None => {
            item.error(report, "target: is missing");
            None
        }
    };
    let read_only = object.field("read_only").and_then(|field| field.boolean(report)).unwrap_or(false);
    let source = object.field("source");
    let kind = match kind {
        Type::Bind => bind(item, object, source, report),
        Type::Volume => volume(object, source, report),
        Type::Tmpfs => memory(object, source, report),
    };
    Some(Mount { kind: kind?, target: target?, read_only })
}

fn bind(
    item: &Field<'_>,
    object: &Object<'_>,
    source: Option<Field<'_>>,
    report: &mut Report,
) -> Option<MountKind> {
    let Some(source) = source else {
        item.error(report, "source: is missing");
        return None;
    };
    let source = source.filled_text(report)?;
    let options = object.field("bind").and_then(|field| field.object(report));
    let option = |key: &str| options.as_ref().and_then(|options| options.field(key));
    let propagations = [
        ("private", Propagation::Private),
        ("rprivate", Propagation::Rprivate),
        ("shared", Propagation::Shared),
        ("rshared", Propagation::Rshared),
        ("slave", Propagation::Slave),
        ("rslave", Propagation::Rslave),
    ];
    Some(MountKind::Bind {
        source,
        propagation: option("propagation").and_then(|field| field.choice(report, &propagations)),
        create_host_path: option("create_host_path").and_then(|field| field.boolean(report)).unwrap_or(true),
    })
}

fn volume(object: &Object<'_>, source: Option<Field<'_>>, report: &mut Report) -> Option<MountKind> {
    let source = match source {
        None => None,
        Some(field) => match field.text(report)? {
            name if name.is_empty() => None,
            name if is_name(&name) => Some(name),
            name => {
                field.error(report, format_args!("{name:?} is no volume's name"));
                return None;
            }
        },
    };
    let options = object.field("volume").and_then(|field| field.object(report));
    let nocopy = options.and_then(|options| options.field("nocopy"));
    Some(MountKind::Volume {
        source,
        nocopy: nocopy.and_then(|field| field.boolean(report)).unwrap_or(false),
    })
}

fn memory(object: &Object<'_>, source: Option<Field<'_>>, report: &mut Report) -> Option<MountKind> {
    if let Some(source) = source {
        source.error(report, "a tmpfs has no source");
    }
    let options = object.field("tmpfs").and_then(|field| field.object(report));
    let option = |key: &str| options.as_ref().and_then(|options| options.field(key));
    Some(MountKind::Tmpfs {
        size: option("size").and_then(|field| field.bytes(report)),
        mode: option("mode").and_then(|field| mode(&field, report)),
    })
}

/// Permission bits. Only an octal number is taken, since 755 without a 0 means something else to YAML.
fn mode(field: &Field<'_>, report: &mut Report) -> Option<u32> {
    let text = field.text(report)?;
    let decimal = text.len() > 1 && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if decimal {
        let message = format!("the mode {text} is not octal");
        field.error_hint(report, message, format!("write 0{text}"));
        return None;
    }
    field.integer(report, MODES).and_then(|mode| u32::try_from(mode).ok())
}

fn absolute(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let path = field.filled_text(report)?;
    match check_target(&path) {
        Ok(()) => Some(path),
        Err(message) => {
            field.error(report, message);
            None
        }
    }
}

/// What a path inside the container must be to have something mounted on it.
fn check_target(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("the target {path:?} is not an absolute path"));
    }
    if path.split('/').any(|part| part == "..") || path.contains('\0') {
        return Err(format!("the target {path:?} must not hold .. or a NUL"));
    }
    if path.split('/').all(|part| part.is_empty() || part == ".") {
        return Err("nothing can be mounted on / itself".to_owned());
    }
    Ok(())
}

fn tmpfs_line(field: &Field<'_>, text: &str, report: &mut Report) -> Option<Tmpfs> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if let Err(message) = check_target(target) {
        field.error(report, message);
        return None;
    }
    let mut tmpfs =
        Tmpfs { target: target.to_owned(), size: None, mode: None, uid: None, gid: None, flags: Vec::new() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        if let Err(message) = tmpfs_option(&mut tmpfs, option) {
            field.error(report, message);
        }
    }
    Some(tmpfs)
}

fn tmpfs_option(tmpfs: &mut Tmpfs, option: &str) -> Result<(), String> {
    let Some((key, value)) = option.split_once('=') else {
        if !FLAGS.contains(&option) {
            return Err(format!("unknown option {option:?}"));
        }
        tmpfs.flags.push(option.to_owned());
        return Ok(());
    };
    let number = || {
        let number = parse_integer(value).and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| format!("{option:?}: expected a whole number"))
    };
    match key {
        "size" => {
            tmpfs.size = Some(units::parse_bytes(value).map_err(|error| format!("{option:?}: {error}"))?);
        }
        "mode" => {
            let mode = u32::from_str_radix(value, 8).ok().filter(|mode| MODES.contains(&i64::from(*mode)));
            tmpfs.mode =
                Some(mode.ok_or_else(|| format!("{option:?}: expected an octal mode such as 1777"))?);
        }
        "uid" => tmpfs.uid = Some(number()?),
        "gid" => tmpfs.gid = Some(number()?),
        _ => return Err(format!("unknown option {option:?}")),
    }
    Ok(())
}
