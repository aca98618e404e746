//! Texts that many things hold.

use serde::{Deserialize, Deserializer};
use std::sync::Arc;

/// Reads a text that is empty as a rule: no memory of its own is taken for it then.
pub(crate) fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    let text: Arc<str> = Deserialize::deserialize(deserializer)?;
    Ok(if text.is_empty() { Arc::default() } else { text })
}
