//! `wharf image import`: an image of a root file system, made here and pushed.

use super::{parse_target, platform, registry, transfer};
use crate::{
    cli::Import,
    client::Client,
    contexts::describe,
    failure::{Failure, Result},
};
use std::collections::BTreeMap;
use wharf_image::{ImageConfig, ImportSource, ImportSpec};

/// Makes an image and pushes it.
///
/// # Errors
/// When the source can't be used, or the registry refuses.
pub async fn import(client: Option<&Client>, args: Import) -> Result<()> {
    let name = parse_target(client, &args.name)?;
    let spec = ImportSpec {
        config: config(&args)?,
        platform: platform(args.platform.as_deref())?,
        ..ImportSpec::default()
    };
    let source = if args.source.is_dir() {
        ImportSource::Folder { path: args.source.clone(), owner: None }
    } else {
        ImportSource::Tar(args.source.clone())
    };
    let folder = tempfile::tempdir()?;
    let images =
        registry::open(client, &name, args.registry.plain_http, folder.path().join("images")).await?;
    eprintln!("making an image of {}", args.source.display());
    images.import(source, spec, &name).await.map_err(|error| Failure::failed(describe(&error)))?;
    transfer::push(&images, &name, &args.registry).await
}

fn config(args: &Import) -> Result<ImageConfig> {
    if let Some(bad) =
        args.env.iter().find(|entry| entry.split_once('=').is_none_or(|(name, _)| name.is_empty()))
    {
        return Err(Failure::usage(format!("--env \"{bad}\" is not NAME=VALUE")));
    }
    let mut labels = BTreeMap::new();
    for label in &args.label {
        match label.split_once('=') {
            Some((key, value)) if !key.is_empty() => labels.insert(key.to_owned(), value.to_owned()),
            _ => return Err(Failure::usage(format!("--label \"{label}\" is not KEY=VALUE"))),
        };
    }
    Ok(ImageConfig {
        entrypoint: words("entrypoint", args.entrypoint.as_deref())?,
        cmd: words("cmd", args.cmd.as_deref())?,
        env: args.env.clone(),
        user: args.user.clone().unwrap_or_default(),
        working_dir: args.workdir.clone().unwrap_or_default(),
        labels,
        ..ImageConfig::default()
    })
}

/// A line's words, as a shell would see them.
fn words(option: &str, line: Option<&str>) -> Result<Vec<String>> {
    let unclosed = || Failure::usage(format!("--{option} has a quote that is not closed"));
    line.map_or(Ok(Vec::new()), |line| shlex::split(line).ok_or_else(unclosed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_would() {
        let split = |line| words("cmd", Some(line));
        assert_eq!(split("/bin/sh").unwrap(), ["/bin/sh"]);
        assert_eq!(split("sh -c 'echo a b'").unwrap(), ["sh", "-c", "echo a b"]);
        assert_eq!(split("sh -c 'echo").unwrap_err().code, crate::failure::USAGE);
        assert!(words("cmd", None).unwrap().is_empty());
    }
}
