//! Which of our crates may depend on which. Arrows go one way.

use cargo_metadata::{DependencyKind, Metadata};

/// Crate, and the crates of ours that it may use. `wharf-tests` may use all.
const ARROWS: [(&str, &[&str]); 11] = [
    ("wharf-cluster", &[]),
    ("wharf-compose", &[]),
    ("wharf-image", &[]),
    ("wharf-runtime", &[]),
    ("wharf-proto", &["wharf-cluster"]),
    ("wharf-identity", &["wharf-proto"]),
    ("wharf-controller", &["wharf-cluster", "wharf-proto", "wharf-identity"]),
    ("wharf-agent", &["wharf-cluster", "wharf-proto", "wharf-identity", "wharf-image", "wharf-runtime"]),
    ("wharf-registry", &["wharf-identity", "wharf-image"]),
    ("wharf-ctl", &["wharf-cluster", "wharf-proto", "wharf-identity", "wharf-image", "wharf-compose"]),
    ("xtask", &[]),
];

/// Nothing depends on these, but `wharf-tests`.
const PROGRAMS: [&str; 4] = ["wharf-controller", "wharf-agent", "wharf-registry", "wharf-ctl"];

/// Every arrow that goes the wrong way.
pub fn check(metadata: &Metadata) -> Vec<String> {
    let ours: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        if name == "wharf-tests" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(krate, _)| *krate == name) else {
            problems.push(format!("crate {name} is not in the table of arrows (xtask/src/arrows.rs)"));
            continue;
        };
        for dependency in &package.dependencies {
            let target = dependency.name.as_str();
            // A crate's tests may use the crates below it to speak to it, but never the programs.
            let for_tests = dependency.kind == DependencyKind::Development && !PROGRAMS.contains(&target);
            if ours.contains(&target) && !allowed.contains(&target) && !for_tests {
                problems.push(format!("{name} must not depend on {target}"));
            }
        }
    }
    problems
}
