//! `wharf context`.

use super::confirm;
use crate::{
    cli::{ContextCommand, Format},
    contexts::{Contexts, describe},
    failure::{Failure, Result},
    output::{self, Table, say},
};
use serde::Serialize;
use std::{
    io::{Write, stdout},
    path::Path,
};
use wharf_identity::ClientContext;

/// Lists, adds, changes or forgets contexts.
///
/// # Errors
/// When files can't be read or written.
pub async fn context(what: ContextCommand) -> Result<()> {
    let contexts = Contexts::find()?;
    match what {
        ContextCommand::Ls { output } => list(&contexts, output),
        ContextCommand::Use { name } => {
            contexts.load(&name)?;
            contexts.change(|settings| settings.current = Some(name))
        }
        ContextCommand::Show { name } => show(&contexts, name.as_deref()),
        ContextCommand::Add { file, name, make_current, force } => {
            add(&contexts, &file, name, make_current, force)
        }
        ContextCommand::Set { name, registry, addresses } => {
            if registry.is_none() && addresses.is_empty() {
                return Err(Failure::usage("say what to set: --registry or --addresses"));
            }
            let mut changed = contexts.load(&name)?;
            if !addresses.is_empty() {
                changed.addresses = addresses;
                contexts.save(&changed)?;
            }
            match registry {
                Some(registry) => contexts.change(|settings| {
                    settings.registries.insert(name, registry);
                }),
                None => Ok(()),
            }
        }
        ContextCommand::Rm { name, yes } => {
            contexts.load(&name)?;
            confirm(&format!("Forget context {name} and its key?"), yes).await?;
            contexts.remove(&name)
        }
    }
}

fn add(
    contexts: &Contexts,
    file: &Path,
    name: Option<String>,
    make_current: bool,
    force: bool,
) -> Result<()> {
    let mut added = ClientContext::load(file).map_err(|error| Failure::failed(describe(&error)))?;
    if let Some(name) = name {
        added.name = name;
    }
    let other = contexts.load(&added.name).is_ok_and(|known| known.ca_pem != added.ca_pem);
    if other && !force {
        return Err(Failure::conflict(format!(
            "there is a context {} of another cluster already: choose a --name, or --force",
            added.name
        )));
    }
    contexts.save(&added)?;
    if make_current {
        contexts.change(|settings| settings.current = Some(added.name.clone()))?;
    }
    say(&format!("context {} was added", added.name))
}

/// What is shown of a context: never its key.
#[derive(Serialize)]
struct Shown {
    name: String,
    current: bool,
    addresses: Vec<String>,
    registry: Option<String>,
    /// Why it can't be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

fn list(contexts: &Contexts, format: Format) -> Result<()> {
    let settings = contexts.settings()?;
    let mut all = Vec::new();
    for name in contexts.names()? {
        let (addresses, problem) = match contexts.load(&name) {
            Ok(context) => (context.addresses, None),
            Err(failure) => (Vec::new(), Some(failure.message)),
        };
        let current = settings.current.as_deref() == Some(&name);
        let registry = settings.registries.get(&name).cloned();
        all.push(Shown { name, current, addresses, registry, problem });
    }
    match format {
        Format::Json | Format::Yaml => output::serialise(&all, format),
        Format::Name => all.iter().try_for_each(|context| say(&context.name)),
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["NAME", "CURRENT", "CONTROLLERS", "REGISTRY"]);
            for context in all {
                let current = if context.current { "*" } else { "" };
                let addresses = context.problem.unwrap_or_else(|| context.addresses.join(","));
                table.row(vec![
                    context.name,
                    current.to_owned(),
                    addresses,
                    context.registry.unwrap_or_default(),
                ]);
            }
            Ok(write!(stdout().lock(), "{}", table.render())?)
        }
    }
}

fn show(contexts: &Contexts, name: Option<&str>) -> Result<()> {
    let name = contexts.choose(name)?;
    let context = contexts.load(&name)?;
    let credentials = context.credentials().map_err(|error| Failure::failed(describe(&error)))?;
    let settings = contexts.settings()?;
    let identity = credentials.identity();
    say(&format!("name: {name}"))?;
    say(&format!("cluster: {}", identity.cluster))?;
    say(&format!("identity: {} ({})", identity.id, identity.role))?;
    say(&format!("controllers: {}", context.addresses.join(",")))?;
    say(&format!("registry: {}", settings.registries.get(&name).map_or("", String::as_str)))
}
