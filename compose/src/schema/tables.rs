//! The keys of the Compose specification: which are understood, and how two files' values merge.

use super::Kind::{Free, List, Named, Object, Value};
use super::Merge::{Append, Deep, Keyed, Logging, Ports, Replace, Targets, Unique};
use super::{Key, Shape, Unsupported, key, no, no_hint};

/// A Compose file.
pub(crate) static ROOT: Shape = Shape {
    keys: &[
        key("include", List(&INCLUDE), Append),
        key("name", Value, Replace),
        key("networks", Named(&NETWORK), Deep),
        key("services", Named(&SERVICE), Deep),
        key("version", Value, Replace),
        key("volumes", Named(&VOLUME), Deep),
    ],
    unsupported: &[no("configs"), no("models"), no("secrets")],
};

static INCLUDE: Shape = Shape {
    keys: &[
        key("env_file", Value, Append),
        key("path", Value, Append),
        key("project_directory", Value, Replace),
    ],
    unsupported: &[],
};

static NETWORK: Shape = Shape {
    keys: &[key("name", Value, Replace)],
    unsupported: &[
        no("attachable"),
        no("driver"),
        no("driver_opts"),
        no("enable_ipv4"),
        no("enable_ipv6"),
        no("external"),
        no("internal"),
        no("ipam"),
        no("labels"),
    ],
};

static VOLUME: Shape = Shape {
    keys: &[key("driver", Value, Replace), key("labels", Free, Keyed), key("name", Value, Replace)],
    unsupported: &[no("driver_opts"), no("external")],
};

/// One service.
pub(crate) static SERVICE: Shape = Shape { keys: SERVICE_KEYS, unsupported: SERVICE_UNSUPPORTED };

const SERVICE_KEYS: &[Key] = &[
    key("cap_add", Value, Unique),
    key("cap_drop", Value, Unique),
    key("command", Value, Replace),
    key("cpus", Value, Replace),
    key("deploy", Object(&DEPLOY), Deep),
    key("entrypoint", Value, Replace),
    key("env_file", List(&ENV_FILE), Append),
    key("environment", Free, Keyed),
    key("extends", Object(&EXTENDS), Replace),
    key("extra_hosts", Free, Unique),
    key("healthcheck", Object(&HEALTHCHECK), Deep),
    key("hostname", Value, Replace),
    key("image", Value, Replace),
    key("init", Value, Replace),
    key("labels", Free, Keyed),
    key("logging", Object(&LOGGING), Logging),
    key("mem_limit", Value, Replace),
    key("mem_reservation", Value, Replace),
    key("network_mode", Value, Replace),
    key("networks", Free, Deep),
    key("pids_limit", Value, Replace),
    key("ports", List(&PORT), Ports),
    key("read_only", Value, Replace),
    key("restart", Value, Replace),
    key("runtime", Value, Replace),
    key("stop_grace_period", Value, Replace),
    key("stop_signal", Value, Replace),
    key("sysctls", Free, Keyed),
    key("tmpfs", Value, Targets),
    key("ulimits", Named(&ULIMIT), Deep),
    key("user", Value, Replace),
    key("volumes", List(&MOUNT), Targets),
    key("working_dir", Value, Replace),
];

const SERVICE_UNSUPPORTED: &[Unsupported] = &[
    no("annotations"),
    no("attach"),
    no("blkio_config"),
    no_hint("build", "build the image elsewhere, push it to the registry and name it with image:"),
    no("cgroup"),
    no("cgroup_parent"),
    no("configs"),
    no_hint("container_name", "tasks are named <stack>/<service>.<slot>"),
    no("cpu_count"),
    no("cpu_percent"),
    no_hint("cpu_period", "use deploy.resources.limits.cpus"),
    no_hint("cpu_quota", "use deploy.resources.limits.cpus"),
    no("cpu_rt_period"),
    no("cpu_rt_runtime"),
    no("cpu_shares"),
    no("cpuset"),
    no("credential_spec"),
    no_hint("depends_on", "let the service wait or fail until what it needs answers: it is restarted"),
    no("develop"),
    no("device_cgroup_rules"),
    no("devices"),
    no("dns"),
    no("dns_opt"),
    no("dns_search"),
    no("domainname"),
    no("driver_opts"),
    no_hint("expose", "containers on one network reach each other on every port: it can be left out"),
    no("external_links"),
    no("gpus"),
    no("group_add"),
    no("ipc"),
    no("isolation"),
    no("label_file"),
    no("links"),
    no("mac_address"),
    no("mem_swappiness"),
    no("memswap_limit"),
    no("models"),
    no("oom_kill_disable"),
    no("oom_score_adj"),
    no("pid"),
    no("platform"),
    no("post_start"),
    no("pre_start"),
    no("pre_stop"),
    no("privileged"),
    no("profiles"),
    no("provider"),
    no("pull_policy"),
    no_hint("scale", "use deploy.replicas"),
    no("secrets"),
    no("security_opt"),
    no("shm_size"),
    no("stdin_open"),
    no("storage_opt"),
    no("tty"),
    no("use_api_socket"),
    no("userns_mode"),
    no("uts"),
    no("volumes_from"),
];

static ENV_FILE: Shape = Shape {
    keys: &[key("format", Value, Replace), key("path", Value, Replace), key("required", Value, Replace)],
    unsupported: &[],
};

static EXTENDS: Shape =
    Shape { keys: &[key("file", Value, Replace), key("service", Value, Replace)], unsupported: &[] };

static HEALTHCHECK: Shape = Shape {
    keys: &[
        key("disable", Value, Replace),
        key("interval", Value, Replace),
        key("retries", Value, Replace),
        key("start_interval", Value, Replace),
        key("start_period", Value, Replace),
        key("test", Value, Replace),
        key("timeout", Value, Replace),
    ],
    unsupported: &[],
};

static LOGGING: Shape = Shape {
    keys: &[key("driver", Value, Replace), key("options", Object(&LOG_OPTIONS), Deep)],
    unsupported: &[],
};

static LOG_OPTIONS: Shape = Shape {
    keys: &[key("max-file", Value, Replace), key("max-size", Value, Replace)],
    unsupported: &[
        no("compress"),
        no("env"),
        no("env-regex"),
        no("labels"),
        no("labels-regex"),
        no("max-buffer-size"),
        no("mode"),
        no("tag"),
    ],
};

static PORT: Shape = Shape {
    keys: &[
        key("host_ip", Value, Replace),
        key("mode", Value, Replace),
        key("name", Value, Replace),
        key("protocol", Value, Replace),
        key("published", Value, Replace),
        key("target", Value, Replace),
    ],
    unsupported: &[no("app_protocol")],
};

static MOUNT: Shape = Shape {
    keys: &[
        key("bind", Object(&BIND), Deep),
        key("read_only", Value, Replace),
        key("source", Value, Replace),
        key("target", Value, Replace),
        key("tmpfs", Object(&TMPFS), Deep),
        key("type", Value, Replace),
        key("volume", Object(&MOUNT_VOLUME), Deep),
    ],
    unsupported: &[no_hint("consistency", "it has no effect on Linux: leave it out"), no("image")],
};

static BIND: Shape = Shape {
    keys: &[key("create_host_path", Value, Replace), key("propagation", Value, Replace)],
    unsupported: &[no("recursive"), no("selinux")],
};

static TMPFS: Shape =
    Shape { keys: &[key("mode", Value, Replace), key("size", Value, Replace)], unsupported: &[] };

static MOUNT_VOLUME: Shape =
    Shape { keys: &[key("nocopy", Value, Replace)], unsupported: &[no("labels"), no("subpath")] };

static ULIMIT: Shape =
    Shape { keys: &[key("hard", Value, Replace), key("soft", Value, Replace)], unsupported: &[] };

static DEPLOY: Shape = Shape {
    keys: &[
        key("endpoint_mode", Value, Replace),
        key("labels", Free, Keyed),
        key("mode", Value, Replace),
        key("placement", Object(&PLACEMENT), Deep),
        key("replicas", Value, Replace),
        key("resources", Object(&RESOURCES), Deep),
        key("restart_policy", Object(&RESTART_POLICY), Deep),
        key("rollback_config", Object(&UPDATE_CONFIG), Deep),
        key("update_config", Object(&UPDATE_CONFIG), Deep),
    ],
    unsupported: &[],
};

static PLACEMENT: Shape = Shape {
    keys: &[
        key("constraints", Value, Unique),
        key("max_replicas_per_node", Value, Replace),
        key("preferences", List(&PREFERENCE), Append),
        key("x-wharf-strategy", Value, Replace),
    ],
    unsupported: &[],
};

static PREFERENCE: Shape = Shape { keys: &[key("spread", Value, Replace)], unsupported: &[] };

static RESOURCES: Shape = Shape {
    keys: &[key("limits", Object(&LIMITS), Deep), key("reservations", Object(&RESERVATIONS), Deep)],
    unsupported: &[],
};

static LIMITS: Shape = Shape {
    keys: &[key("cpus", Value, Replace), key("memory", Value, Replace), key("pids", Value, Replace)],
    unsupported: &[],
};

static RESERVATIONS: Shape = Shape {
    keys: &[key("cpus", Value, Replace), key("memory", Value, Replace)],
    unsupported: &[no("devices"), no("generic_resources")],
};

static RESTART_POLICY: Shape = Shape {
    keys: &[
        key("condition", Value, Replace),
        key("delay", Value, Replace),
        key("max_attempts", Value, Replace),
        key("window", Value, Replace),
    ],
    unsupported: &[],
};

static UPDATE_CONFIG: Shape = Shape {
    keys: &[
        key("delay", Value, Replace),
        key("failure_action", Value, Replace),
        key("max_failure_ratio", Value, Replace),
        key("monitor", Value, Replace),
        key("order", Value, Replace),
        key("parallelism", Value, Replace),
    ],
    unsupported: &[],
};
