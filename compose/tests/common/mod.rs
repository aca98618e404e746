//! Files in memory, and the little that every test of the loader does.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use wharf_compose::{FileSource, LoadInput, Loaded, Project, load};

/// Files by absolute path.
pub struct Files(BTreeMap<PathBuf, Vec<u8>>);

impl Files {
    /// Files below `/work`.
    pub fn new<const N: usize>(files: [(&str, &str); N]) -> Self {
        let file = |(path, text): (&str, &str)| (Path::new("/work").join(path), text.as_bytes().to_vec());
        Files(files.into_iter().map(file).collect())
    }

    /// One file of any bytes, as the Compose file.
    #[allow(dead_code, reason = "not every test file has raw bytes")]
    pub fn bytes(bytes: &[u8]) -> Self {
        Files(BTreeMap::from([(PathBuf::from("/work/compose.yaml"), bytes.to_vec())]))
    }
}

impl FileSource for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The input for some files below `/work`.
pub fn input(files: &[&str]) -> LoadInput {
    LoadInput {
        files: files.iter().map(PathBuf::from).collect(),
        working_dir: PathBuf::from("/work"),
        environment: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
        ..LoadInput::default()
    }
}

/// Loads, and shows what is wrong when something is.
#[allow(dead_code, reason = "not every test file loads from memory")]
pub fn load_all(files: &Files, names: &[&str]) -> Result<Loaded, String> {
    load(&input(names), files).map_err(|diagnostics| diagnostics.to_string())
}

/// Loads one Compose file that is fine.
#[allow(dead_code, reason = "not every test file loads a good one")]
pub fn project(text: &str) -> Project {
    match load_all(&Files::new([("compose.yaml", text)]), &["compose.yaml"]) {
        Ok(loaded) => loaded.project,
        Err(diagnostics) => panic!("{diagnostics}\n{text}"),
    }
}

/// What is said about one Compose file that is not.
#[allow(dead_code, reason = "not every test file loads a bad one")]
pub fn complaints(text: &str) -> String {
    match load_all(&Files::new([("compose.yaml", text)]), &["compose.yaml"]) {
        Ok(_) => panic!("loads, but should not:\n{text}"),
        Err(diagnostics) => diagnostics,
    }
}
