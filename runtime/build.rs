//! Builds the tiny init that containers with `init: true` run: a static program without
//! dependencies, because it must run in any root filesystem. It is embedded in the library.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=init/init.rs");
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let output = PathBuf::from(variable("OUT_DIR")).join("wharf-init");
    let status = Command::new(variable("RUSTC"))
        .args(["--edition", "2024", "--crate-type", "bin", "--crate-name", "wharf_init"])
        .args(["--target", &variable("TARGET")])
        .args([
            "-C",
            "target-feature=+crt-static",
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
        ])
        .arg("-o")
        .arg(&output)
        .arg("init/init.rs")
        .status()
        .expect("rustc can be run");
    assert!(status.success(), "the container init could not be built; is libc's static library installed?");
}
