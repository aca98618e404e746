//! How lists are shown.

pub mod rows;
mod table;
pub mod time;

pub use table::Table;

use crate::{cli::Format, failure::Result};
use serde::Serialize;
use std::io::{IsTerminal, Write, stdout};
use wharf_proto::v1::{Object, object};

/// Whether colours are wanted: on a terminal, unless `NO_COLOR` says otherwise.
pub fn colours() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The message in an object, for printing as JSON or YAML.
#[derive(Serialize)]
#[serde(untagged)]
enum Message<'a> {
    Stack(&'a wharf_proto::v1::Stack),
    Service(&'a wharf_proto::v1::Service),
    Task(&'a wharf_proto::v1::Task),
    Node(&'a wharf_proto::v1::Node),
    Controller(&'a wharf_proto::v1::Controller),
    Event(&'a wharf_proto::v1::Event),
}

fn message(object: &Object) -> Option<Message<'_>> {
    Some(match object.object.as_ref()? {
        object::Object::Stack(found) => Message::Stack(found),
        object::Object::Service(found) => Message::Service(found),
        object::Object::Task(found) => Message::Task(found),
        object::Object::Node(found) => Message::Node(found),
        object::Object::Controller(found) => Message::Controller(found),
        object::Object::Event(found) => Message::Event(found),
    })
}

/// The name of an object.
pub fn name(object: &Object) -> String {
    match object.object.as_ref() {
        Some(object::Object::Stack(found)) => found.name.clone(),
        Some(object::Object::Service(found)) => found.name.clone(),
        Some(object::Object::Task(found)) => found.name.clone(),
        Some(object::Object::Node(found)) => found.name.clone(),
        Some(object::Object::Controller(found)) => found.name.clone(),
        Some(object::Object::Event(found)) => found.sequence.to_string(),
        None => String::new(),
    }
}

/// Prints a list of objects.
///
/// # Errors
/// When the output can't be written.
pub fn print(objects: &[Object], format: Format, headers: bool) -> Result<()> {
    let mut out = stdout().lock();
    match format {
        Format::Table | Format::Wide => {
            let table = rows::table(objects, format == Format::Wide, headers);
            write!(out, "{}", table.render())?;
        }
        Format::Json | Format::Yaml => {
            serialise(&objects.iter().filter_map(message).collect::<Vec<_>>(), format)?
        }
        Format::Name => {
            for object in objects {
                writeln!(out, "{}", name(object))?;
            }
        }
    }
    Ok(())
}

/// Prints a value as JSON or YAML.
///
/// # Errors
/// When the output can't be written.
pub fn serialise(value: &impl Serialize, format: Format) -> Result<()> {
    let mut out = stdout().lock();
    if format == Format::Yaml {
        let text = serde_saphyr::to_string(value)
            .map_err(|error| crate::failure::Failure::failed(error.to_string()))?;
        write!(out, "{text}")?;
    } else {
        serde_json::to_writer_pretty(&mut out, value)?;
        writeln!(out)?;
    }
    Ok(())
}
