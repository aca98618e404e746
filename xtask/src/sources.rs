//! What every source file owes its reader: a line that says what it is for, and a bearable length.

use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};
use walkdir::WalkDir;

/// Longest source file, in lines. Most stay under 300.
const LINES: usize = 650;

/// Every file that owes something.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in rust_files(root)? {
        let text = read(&file)?;
        let place = file.strip_prefix(root).unwrap_or(&file).display();
        if !text.trim_start().starts_with("//!") {
            problems.push(format!("{place}: begins without a //! line that says what it is for"));
        }
        let lines = text.lines().count();
        if lines > LINES {
            problems.push(format!("{place}: {lines} lines; split it ({LINES} at most)"));
        }
    }
    Ok(problems)
}

/// The Rust files below `folder`, build output aside.
pub fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let hidden = |name: &str| name == "target" || (name.starts_with('.') && name.len() > 1);
    let mut files = Vec::new();
    for entry in WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| !hidden(&entry.file_name().to_string_lossy()))
    {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// The file's text with comments blanked, up to its unit tests, so that line numbers stay.
pub fn code_of(file: &Path) -> Result<String> {
    let text = read(file)?;
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    Ok(code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n"))
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}
