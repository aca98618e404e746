//! Reads Compose files from disk.

use crate::{
    cli::Files,
    failure::{Failure, Result},
};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};
use wharf_compose::{DEFAULT_FILE_NAMES, LoadInput, Loaded, load};

/// Largest file that is read; compose refuses far smaller ones.
const LARGEST: u64 = 64 << 20;

/// Loads the project that the files declare, and prints the warnings.
///
/// # Errors
/// With every diagnostic.
pub fn read(files: &Files) -> Result<Loaded> {
    let working_dir = std::env::current_dir()?;
    let input = LoadInput {
        files: if files.file.is_empty() { vec![default_file(&working_dir)?] } else { files.file.clone() },
        project_name: files.project_name.clone().or_else(|| std::env::var("COMPOSE_PROJECT_NAME").ok()),
        project_dir: None,
        working_dir,
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        env_files: if files.env_file.is_empty() { None } else { Some(files.env_file.clone()) },
    };
    let loaded = load(&input, &read_file).map_err(|diagnostics| {
        eprintln!("{}", diagnostics.to_string().trim_end());
        Failure::failed("the Compose file can't be used; nothing was done")
    })?;
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    Ok(loaded)
}

fn default_file(folder: &Path) -> Result<PathBuf> {
    DEFAULT_FILE_NAMES.iter().map(PathBuf::from).find(|name| folder.join(name).exists()).ok_or_else(|| {
        Failure::usage(format!("there is no {} here: name a file with -f", DEFAULT_FILE_NAMES[0]))
    })
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(LARGEST).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
