//! `wharf config`: the Compose model as it is understood.

use super::project;
use crate::{
    cli::{Config, ConfigFormat},
    failure::{Failure, Result},
};
use std::io::{Write, stdout};

/// Prints the project in canonical form.
///
/// # Errors
/// When the files can't be used.
pub fn config(args: &Config) -> Result<()> {
    let project = project::read(&args.files)?.project;
    // What can't be carried out is no good either.
    crate::convert::stack(&project)?;
    if args.quiet {
        return Ok(());
    }
    let mut out = stdout().lock();
    if args.services {
        for name in project.services.keys() {
            writeln!(out, "{name}")?;
        }
        return Ok(());
    }
    let text = match args.output {
        ConfigFormat::Yaml => wharf_compose::to_yaml(&project),
        ConfigFormat::Json => wharf_compose::to_json(&project),
    };
    writeln!(out, "{}", text.map_err(|error| Failure::failed(error.to_string()))?.trim_end())?;
    Ok(())
}
