//! Paths without a file system: joined, and `.` and `..` taken out by their text alone.

use std::path::{Component, Path, PathBuf};

/// `path` as seen from the absolute folder `base`.
pub(crate) fn absolute(base: &Path, path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in base.join(path).components() {
        match component {
            Component::CurDir => {}
            // At the root, `..` is the root.
            Component::ParentDir => {
                result.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => result.push(component),
        }
    }
    result
}

/// A path of a node as Compose files write it: `~` stands for the home folder, other relative paths start
/// from `base`. The reason when it can't be told.
pub(crate) fn host_path(base: &Path, text: &str, home: Option<&str>) -> Result<String, &'static str> {
    let path = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = home.ok_or("~ needs the variable HOME, which is not set")?;
            PathBuf::from(home).join(rest.trim_start_matches('/'))
        }
        Some(_) => return Err("the home folder of another user is not known here"),
        None => PathBuf::from(text),
    };
    let path = absolute(base, &path);
    path.into_os_string().into_string().map_err(|_path| "the path is not valid UTF-8")
}

/// How a path is shown: relative to the current directory when it is below it.
pub(crate) fn display(working_dir: &Path, path: &Path) -> String {
    path.strip_prefix(working_dir).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_by_their_text() {
        let base = Path::new("/srv/app");
        for (path, expected) in [
            ("a/b", "/srv/app/a/b"),
            ("./a", "/srv/app/a"),
            ("../../../x", "/x"),
            ("/y/./z/..", "/y"),
            (".", "/srv/app"),
        ] {
            assert_eq!(absolute(base, Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn home_is_filled_in() {
        let base = Path::new("/srv");
        assert_eq!(host_path(base, "~/x", Some("/home/a")).unwrap(), "/home/a/x");
        assert_eq!(host_path(base, "~", Some("/home/a")).unwrap(), "/home/a");
        assert!(host_path(base, "~/x", None).is_err());
        assert!(host_path(base, "~bob/x", Some("/home/a")).is_err());
    }
}
