//! How lists are shown.

pub mod rows;
mod table;
pub mod time;

pub use table::Table;

use crate::{
    cli::Format,
    failure::{Failure, Result},
};
use serde::Serialize;
use std::io::{IsTerminal, Write, stdout};
use wharf_proto::v1::{Object, object};

/// Whether colours are wanted: on a terminal, unless `NO_COLOR` says otherwise.
pub fn colours() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints one line for people or scripts.
///
/// # Errors
/// When nobody reads it.
pub fn say(line: &str) -> Result<()> {
    Ok(writeln!(stdout().lock(), "{line}")?)
}

/// Text that others wrote, on one line and without what steers a terminal.
pub fn clean(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
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
/// When nobody reads it.
pub fn print(objects: &[Object], format: Format) -> Result<()> {
    let mut out = stdout().lock();
    match format {
        Format::Table | Format::Wide => {
            write!(out, "{}", rows::table(objects, format == Format::Wide).render())?;
        }
        Format::Json | Format::Yaml => {
            serialise(&objects.iter().filter_map(message).collect::<Vec<_>>(), format)?;
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
/// When nobody reads it.
pub fn serialise(value: &impl Serialize, format: Format) -> Result<()> {
    let text = if format == Format::Yaml {
        serde_saphyr::to_string(value).map_err(|error| Failure::failed(error.to_string()))?
    } else {
        serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?
    };
    say(text.trim_end())
}

/// Prints objects as they come: rows that line up, one JSON document a line, YAML documents, or names.
pub struct Feed {
    format: Format,
    widths: Vec<u16>,
}

impl Feed {
    /// A feed that has printed nothing yet.
    pub fn new(format: Format) -> Self {
        Feed { format, widths: Vec::new() }
    }

    /// Prints the first objects, below headers.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn begin(&mut self, objects: &[Object]) -> Result<()> {
        if !matches!(self.format, Format::Table | Format::Wide) {
            return objects.iter().try_for_each(|object| self.go_on(object));
        }
        if objects.is_empty() {
            return Ok(());
        }
        let table = rows::table(objects, self.format == Format::Wide);
        self.widths = table.widths();
        Ok(write!(stdout().lock(), "{}", table.render())?)
    }

    /// Prints one more object.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn go_on(&mut self, object: &Object) -> Result<()> {
        match self.format {
            Format::Table | Format::Wide if self.widths.is_empty() => {
                self.begin(std::slice::from_ref(object))
            }
            Format::Table | Format::Wide => {
                let mut table = rows::table_without_headers(object, self.format == Format::Wide);
                table.widen(&self.widths);
                Ok(write!(stdout().lock(), "{}", table.render())?)
            }
            Format::Json => {
                let text = serde_json::to_string(&message(object));
                say(&text.map_err(|error| Failure::failed(error.to_string()))?)
            }
            Format::Yaml => {
                say("---")?;
                serialise(&message(object), Format::Yaml)
            }
            Format::Name => say(&name(object)),
        }
    }

    /// Prints that an object has gone.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn gone(&mut self, object: &Object) -> Result<()> {
        match self.format {
            Format::Table | Format::Wide => say(&format!("{} is gone", name(object))),
            Format::Json | Format::Yaml | Format::Name => Ok(()),
        }
    }
}
