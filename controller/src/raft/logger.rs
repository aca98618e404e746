//! raft-rs logs through `slog`; this hands its records to `tracing`.

use slog::{Drain, KV, Key, Level, OwnedKVList, Record, Serializer};

struct ToTracing;

impl Drain for ToTracing {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), slog::Never> {
        // A campaign or a lost message is raft's daily bread: what it calls info is debug here.
        match record.level() {
            Level::Critical | Level::Error => {
                tracing::error!(target: "raft", "{}{}", record.msg(), Fields::of(record));
            }
            Level::Warning => tracing::warn!(target: "raft", "{}{}", record.msg(), Fields::of(record)),
            Level::Info => tracing::debug!(target: "raft", "{}{}", record.msg(), Fields::of(record)),
            Level::Debug | Level::Trace => {
                if tracing::enabled!(target: "raft", tracing::Level::TRACE) {
                    tracing::trace!(target: "raft", "{}{}", record.msg(), Fields::of(record));
                }
            }
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        match level {
            Level::Critical | Level::Error => tracing::enabled!(target: "raft", tracing::Level::ERROR),
            Level::Warning => tracing::enabled!(target: "raft", tracing::Level::WARN),
            Level::Info => tracing::enabled!(target: "raft", tracing::Level::DEBUG),
            Level::Debug | Level::Trace => tracing::enabled!(target: "raft", tracing::Level::TRACE),
        }
    }
}

/// A record's own values, as `, key=value`.
struct Fields(String);

impl Fields {
    fn of(record: &Record<'_>) -> String {
        let mut fields = Self(String::new());
        // Formatting into a string can't fail.
        let _ = record.kv().serialize(record, &mut fields);
        fields.0
    }
}

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        use std::fmt::Write as _;
        write!(self.0, ", {key}={value}").map_err(slog::Error::from)
    }
}

/// The logger for one replica.
pub(super) fn logger() -> slog::Logger {
    slog::Logger::root(ToTracing, slog::o!())
}
