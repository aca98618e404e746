//! Contexts: the clusters that this user knows, a file each below `contexts/` in the configuration folder, and
//! `settings.json`, which says which one is meant when none is named, and each one's registry.

use crate::failure::{Failure, Result};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};
use wharf_identity::ClientContext;

/// Name of the context that is taken when there is no other choice.
const DEFAULT: &str = "default";

/// What is kept besides the contexts themselves.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The context that is meant when none is named.
    pub current: Option<String>,
    /// Each context's registry, as host:port.
    pub registries: BTreeMap<String, String>,
}

/// The configuration folder.
#[derive(Debug, Clone)]
pub struct Contexts {
    folder: PathBuf,
}

impl Contexts {
    /// The folder that the environment names, else `~/.config/wharf`.
    ///
    /// # Errors
    /// When there is no home.
    pub fn find() -> Result<Self> {
        if let Some(folder) = std::env::var_os("WHARF_CONFIG_DIR") {
            return Ok(Contexts { folder: folder.into() });
        }
        let config = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
        match config {
            Some(folder) => Ok(Contexts { folder: folder.join("wharf") }),
            None => Err(Failure::usage(
                "neither HOME nor WHARF_CONFIG_DIR is set: there is no place for contexts",
            )),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(legal) {
            return Err(Failure::usage(format!(
                "\"{name}\" can't be a context's name: use letters, digits, - and _"
            )));
        }
        Ok(self.folder.join("contexts").join(format!("{name}.json")))
    }

    /// The names of all contexts.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.folder.join("contexts")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if let (Some(name), Some("json")) = (
                path.file_stem().and_then(|name| name.to_str()),
                path.extension().and_then(|end| end.to_str()),
            ) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// A context by name.
    ///
    /// # Errors
    /// When it isn't there or can't be read.
    pub fn load(&self, name: &str) -> Result<ClientContext> {
        let path = self.path(name)?;
        if !path.exists() {
            return Err(Failure::not_found(format!(
                "there is no context \"{name}\" (wharf context ls shows what there is)"
            )));
        }
        let mut found = ClientContext::load(&path).map_err(|error| Failure::failed(describe(&error)))?;
        // A file that was copied here still says its old name.
        name.clone_into(&mut found.name);
        Ok(found)
    }

    /// Keeps a context under its name.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, context: &ClientContext) -> Result<()> {
        let path = self.path(&context.name)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        context.save(&path).map_err(|error| Failure::failed(describe(&error)))
    }

    /// Forgets a context.
    ///
    /// # Errors
    /// When it isn't there or can't be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.path(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Failure::not_found(format!("there is no context \"{name}\"")))
            }
            other => {
                other?;
                self.change(|settings| {
                    settings.registries.remove(name);
                    if settings.current.as_deref() == Some(name) {
                        settings.current = None;
                    }
                })
            }
        }
    }

    /// The name that is meant: the one given, else the current one, else the only one there is.
    ///
    /// # Errors
    /// When that leaves none.
    pub fn choose(&self, given: Option<&str>) -> Result<String> {
        if let Some(name) = given {
            return Ok(name.to_owned());
        }
        if let Some(name) = self.settings()?.current {
            return Ok(name);
        }
        let mut names = self.names()?;
        if names.iter().any(|name| name == DEFAULT) {
            return Ok(DEFAULT.to_owned());
        }
        match names.len() {
            0 => Err(Failure::usage(
                "no cluster is known: add the file that wharf-controller --bootstrap wrote, with: wharf context add FILE",
            )),
            1 => Ok(names.remove(0)),
            _ => Err(Failure::usage(format!(
                "several clusters are known ({}): choose one with wharf context use NAME, or --context NAME",
                names.join(", ")
            ))),
        }
    }

    /// What is kept besides the contexts.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn settings(&self) -> Result<Settings> {
        let path = self.folder.join("settings.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| Failure::failed(format!("{}: {error}; mend or remove it", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the settings.
    ///
    /// # Errors
    /// When they can't be read or written.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) -> Result<()> {
        let mut settings = self.settings()?;
        change(&mut settings);
        fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        serde_json::to_writer_pretty(&mut file, &settings).map_err(io::Error::from)?;
        file.persist(self.folder.join("settings.json")).map_err(|error| error.error)?;
        Ok(())
    }
}

/// An error with its causes, each once.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
