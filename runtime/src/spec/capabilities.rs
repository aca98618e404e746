//! Which capabilities a container gets: Docker's default set, what is added and what is dropped.

use std::collections::{BTreeSet, HashSet};

use libcontainer::oci_spec::runtime::{Capability, LinuxCapabilities};

use super::error::SpecError;

/// What Docker gives a container that asks for nothing.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The capabilities that remain of the default set after `add` and `drop`, as `CAP_...`.
///
/// `ALL` in `add` gives everything this host can give; `ALL` in `drop` leaves only what `add` names.
pub(crate) fn effective_set(
    add: &[String],
    drop: &[String],
    available: &BTreeSet<String>,
) -> Result<BTreeSet<String>, SpecError> {
    let added = named("cap_add", add)?;
    let dropped = named("cap_drop", drop)?;
    if let Some(cap) = added.names.iter().find(|c| !available.contains(*c)) {
        return Err(SpecError::Host(format!(
            "can't give {cap} (cap_add): the agent does not have it itself"
        )));
    }
    let mut set: BTreeSet<String> = if dropped.all {
        BTreeSet::new()
    } else if added.all {
        available.clone()
    } else {
        DEFAULT_CAPABILITIES.iter().map(|c| (*c).to_owned()).filter(|c| available.contains(c)).collect()
    };
    if !dropped.all {
        set.retain(|cap| !dropped.names.contains(cap));
    } else if added.all {
        set = available.iter().filter(|c| !dropped.names.contains(*c)).cloned().collect();
    }
    set.extend(added.names);
    Ok(set)
}

#[derive(Default)]
struct Named {
    all: bool,
    names: BTreeSet<String>,
}

fn named(field: &'static str, list: &[String]) -> Result<Named, SpecError> {
    let mut named = Named::default();
    for text in list {
        let upper = text.to_ascii_uppercase();
        if upper == "ALL" || upper == "CAP_ALL" {
            named.all = true;
            continue;
        }
        let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        if name.parse::<caps::Capability>().is_err() {
            return Err(SpecError::field(field, format!("unknown capability {text:?}")));
        }
        named.names.insert(name);
    }
    Ok(named)
}

/// The sets of the OCI spec. As after an exec by such a user, only root has them in effect.
pub(crate) fn oci_capabilities(set: &BTreeSet<String>, uid: u32) -> LinuxCapabilities {
    let all: HashSet<Capability> = set.iter().filter_map(|c| c.strip_prefix("CAP_")?.parse().ok()).collect();
    let active = if uid == 0 { all.clone() } else { HashSet::new() };
    let mut caps = LinuxCapabilities::default();
    caps.set_bounding(Some(all));
    caps.set_effective(Some(active.clone()));
    caps.set_permitted(Some(active));
    caps.set_inheritable(Some(HashSet::new()));
    caps.set_ambient(Some(HashSet::new()));
    caps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> BTreeSet<String> {
        caps::all()
            .into_iter()
            .filter(|c| *c != caps::Capability::CAP_SYS_RESOURCE)
            .map(|c| c.to_string())
            .collect()
    }

    fn set(add: &[&str], drop: &[&str]) -> Result<BTreeSet<String>, SpecError> {
        let owned = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        effective_set(&owned(add), &owned(drop), &host())
    }

    #[test]
    fn the_default_is_dockers() {
        assert_eq!(set(&[], &[]).unwrap().len(), 14);
    }

    #[test]
    fn adding_and_dropping_by_either_name() {
        let caps = set(&["net_admin"], &["CAP_CHOWN", "mknod"]).unwrap();
        assert!(caps.contains("CAP_NET_ADMIN") && !caps.contains("CAP_CHOWN") && !caps.contains("CAP_MKNOD"));
        assert_eq!(caps.len(), 13);
    }

    #[test]
    fn all_means_all_the_host_has() {
        assert_eq!(set(&["ALL"], &[]).unwrap(), host());
        let most = set(&["ALL"], &["SYS_ADMIN"]).unwrap();
        assert_eq!(most.len(), host().len() - 1);
        assert_eq!(set(&[], &["ALL"]).unwrap().len(), 0);
        let one = set(&["CHOWN"], &["ALL"]).unwrap();
        assert_eq!(one.into_iter().collect::<Vec<_>>(), ["CAP_CHOWN"]);
    }

    #[test]
    fn what_is_unknown_or_missing_is_an_error() {
        assert!(set(&["FLY"], &[]).unwrap_err().to_string().contains("cap_add"));
        assert!(set(&["SYS_RESOURCE"], &[]).unwrap_err().to_string().contains("SYS_RESOURCE"));
    }

    #[test]
    fn only_root_has_them_in_effect() {
        let caps = set(&[], &[]).unwrap();
        let user = oci_capabilities(&caps, 1000);
        assert_eq!(user.bounding().as_ref().unwrap().len(), 14);
        assert!(user.effective().as_ref().unwrap().is_empty());
        assert_eq!(oci_capabilities(&caps, 0).effective().as_ref().unwrap().len(), 14);
    }
}
