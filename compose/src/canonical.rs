//! A project printed as `docker compose config` prints it.
//!
//! A `$` in a value is written `$$`, so that what is printed loads to the same project again.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::model::Project;

/// Why a project couldn't be printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The JSON writer failed.
    #[error("cannot print the project as json")]
    Json(#[from] serde_json::Error),
    /// The YAML writer failed.
    #[error("cannot print the project as yaml")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// The project as YAML.
pub fn to_yaml(project: &Project) -> Result<String, PrintError> {
    let mut text = serde_saphyr::to_string(&escaped(project)?)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// The project as indented JSON.
pub fn to_json(project: &Project) -> Result<String, PrintError> {
    Ok(serde_json::to_string_pretty(&escaped(project)?)?)
}

/// Any JSON value, with the order of keys kept.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(IndexMap<String, Value>),
}

/// The project's values with every `$` doubled.
fn escaped(project: &Project) -> Result<Value, PrintError> {
    let mut value: Value = serde_json::from_str(&serde_json::to_string(project)?)?;
    escape(&mut value);
    Ok(value)
}

fn escape(value: &mut Value) {
    match value {
        Value::Text(text) => {
            if text.contains('$') {
                *text = text.replace('$', "$$");
            }
        }
        Value::List(items) => items.iter_mut().for_each(escape),
        Value::Map(entries) => entries.values_mut().for_each(escape),
        Value::Null | Value::Bool(_) | Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) => {}
    }
}
