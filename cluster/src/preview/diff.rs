//! Which fields of two values differ.

use super::Difference;
use serde::Serialize;
use serde_json::Value;

/// The fields in which `from` and `to` differ, by path. Lists are compared as a whole.
pub(super) fn differences<T: Serialize>(from: &T, to: &T) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", &value(from), &value(to), &mut found);
    found
}

fn value<T: Serialize>(of: &T) -> Value {
    // The model's keys are strings and it has no floats: this can't fail; if it did, nothing would be shown.
    serde_json::to_value(of).unwrap_or(Value::Null)
}

fn compare(path: &str, from: &Value, to: &Value, found: &mut Vec<Difference>) {
    if from == to {
        return;
    }
    let (Value::Object(before), Value::Object(after)) = (from, to) else {
        found.push(Difference { path: path.to_owned(), from: words(from), to: words(to) });
        return;
    };
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let part = |of: &serde_json::Map<String, Value>| of.get(key).cloned().unwrap_or(Value::Null);
        compare(&path, &part(before), &part(after), found);
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
