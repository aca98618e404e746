//! Every file in `good/` loads, and prints to what loads to the same project; every file in `bad/` is
//! refused with exactly what the text file beside it says.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use wharf_compose::{LoadInput, load, to_json, to_yaml};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn fixtures(name: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")).collect();
    files.sort();
    files
}

fn input(file: &Path) -> LoadInput {
    LoadInput {
        files: vec![file.to_owned()],
        working_dir: file.parent().unwrap().to_owned(),
        environment: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
        ..LoadInput::default()
    }
}

fn from_disk(path: &Path) -> std::io::Result<Vec<u8>> {
    fs::read(path)
}

#[test]
fn good_files_load_and_print_to_the_same_project() {
    let files = fixtures("good");
    assert!(files.len() >= 12);
    for file in files {
        let name = file.display();
        let loaded = load(&input(&file), &from_disk).unwrap_or_else(|error| panic!("{name}\n{error}"));
        for text in [to_yaml(&loaded.project).unwrap(), to_json(&loaded.project).unwrap()] {
            let again = common::project(&text);
            assert_eq!(again, loaded.project, "{name}\n{text}");
        }
    }
}

#[test]
fn bad_files_are_refused_with_the_expected_diagnostics() {
    for file in fixtures("bad") {
        let name = file.display();
        let found = load(&input(&file), &from_disk).err().unwrap_or_else(|| panic!("{name} loads"));
        assert!(found.has_errors(), "{name}");
        let expected =
            fs::read_to_string(file.with_extension("txt")).unwrap_or_else(|_| panic!("{name} has no .txt"));
        assert_eq!(format!("{found}\n"), expected, "{name}");
    }
}
