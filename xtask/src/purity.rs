//! `cluster` and `compose` are pure: no clock, no randomness, no I/O, and no crate that could bring them in.

use crate::sources::{code_of, rust_files};
use anyhow::Result;
use cargo_metadata::{DependencyKind, Metadata};
use std::path::Path;

/// Pure crate, its folder, and the crates it may use.
const PURE: [(&str, &str, &[&str]); 2] = [
    ("wharf-cluster", "cluster", &["serde", "serde_json", "imbl", "thiserror"]),
    (
        "wharf-compose",
        "compose",
        &[
            "indexmap",
            "serde",
            "serde_json",
            "serde-saphyr",
            "granit-parser",
            "saphyr-parser",
            "strsim",
            "thiserror",
        ],
    ),
];

/// What brings in a clock, randomness (the order of a std hash map is random), I/O or threads.
const IMPURE: [&str; 17] = [
    "SystemTime",
    "Instant",
    "rand::",
    "HashMap",
    "HashSet",
    "RandomState",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync::Mutex",
    "println!",
    "File::open",
    "stdin()",
];

/// Everything impure in the pure crates.
pub fn check(metadata: &Metadata, root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (name, folder, allowed) in PURE {
        for package in metadata.packages.iter().filter(|package| package.name.as_str() == name) {
            for dependency in package.dependencies.iter().filter(|one| one.kind == DependencyKind::Normal) {
                if !allowed.contains(&dependency.name.as_str()) {
                    problems.push(format!("{name} is pure and must not depend on {}", dependency.name));
                }
            }
        }
        for file in rust_files(&root.join(folder).join("src"))? {
            let text = code_of(&file)?;
            for (number, line) in text.lines().enumerate() {
                for word in IMPURE {
                    if line.contains(word) {
                        let place = file.strip_prefix(root).unwrap_or(&file).display();
                        problems
                            .push(format!("{place}:{}: {name} is pure and must not use {word}", number + 1));
                    }
                }
            }
        }
    }
    Ok(problems)
}
