//! `wharf context`.

use super::confirm;
use crate::{
    cli::ContextCommand,
    contexts::{Contexts, describe},
    failure::{Failure, Result},
    output::Table,
};
use std::io::{Write, stdout};
use wharf_identity::ClientContext;

/// Lists, adds, changes or forgets contexts.
///
/// # Errors
/// When files can't be read or written.
pub fn context(what: ContextCommand) -> Result<()> {
    let contexts = Contexts::find()?;
    match what {
        ContextCommand::Ls => list(&contexts),
        ContextCommand::Use { name } => {
            contexts.load(&name)?;
            contexts.change(|settings| settings.current = Some(name))
        }
        ContextCommand::Show { name } => show(&contexts, name.as_deref()),
        ContextCommand::Add { file, name, make_current } => {
            let mut added = ClientContext::load(&file).map_err(|error| Failure::failed(describe(&error)))?;
            if let Some(name) = name {
                added.name = name;
            }
            contexts.save(&added)?;
            if make_current {
                contexts.change(|settings| settings.current = Some(added.name.clone()))?;
            }
            println!("context {} was added", added.name);
            Ok(())
        }
        ContextCommand::Set { name, registry, addresses } => {
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
            confirm(&format!("Forget context {name} and its key?"), yes)?;
            contexts.remove(&name)
        }
    }
}

fn list(contexts: &Contexts) -> Result<()> {
    let settings = contexts.settings()?;
    let mut table = Table::new(&["NAME", "CURRENT", "CONTROLLERS", "REGISTRY"], true);
    for name in contexts.names()? {
        let addresses = match contexts.load(&name) {
            Ok(context) => context.addresses.join(","),
            Err(failure) => failure.message,
        };
        let current = if settings.current.as_deref() == Some(&name) { "*" } else { "" };
        let registry = settings.registries.get(&name).cloned().unwrap_or_default();
        table.row(vec![name, current.to_owned(), addresses, registry]);
    }
    write!(stdout().lock(), "{}", table.render())?;
    Ok(())
}

fn show(contexts: &Contexts, name: Option<&str>) -> Result<()> {
    let name = contexts.choose(name)?;
    let context = contexts.load(&name)?;
    let credentials = context.credentials().map_err(|error| Failure::failed(describe(&error)))?;
    let settings = contexts.settings()?;
    println!("name: {name}");
    println!("cluster: {}", credentials.identity().cluster);
    println!("identity: {} ({})", credentials.identity().id, credentials.identity().role);
    println!("controllers: {}", context.addresses.join(","));
    println!("registry: {}", settings.registries.get(&name).map_or("", String::as_str));
    Ok(())
}
