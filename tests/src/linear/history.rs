//! What clients asked, what they were told, and when: the history of a run, also as JSON lines for other checkers.

use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What a client asks of a register. Every value is written at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Value and version.
    Read,
    /// Sets the value whatever there is.
    Write {
        /// The value.
        value: u64,
    },
    /// Sets the value if the register has this version; 0 is that of a register that was never set.
    Cas {
        /// The version.
        expected: u64,
        /// The value.
        value: u64,
    },
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// What a read gave; no value is a register that was never set.
    Read {
        /// The value.
        value: Option<u64>,
        /// Its version.
        version: u64,
    },
    /// A write or check-and-set happened and made this version.
    Done {
        /// The version.
        version: u64,
    },
    /// A check-and-set was refused: the register has another version.
    Conflict,
    /// It certainly did not happen.
    Failed,
    /// Nobody knows; it may still happen.
    Unknown,
}

/// One operation of one client. Times are nanoseconds since the run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked. After an unknown outcome a client goes on under another number, so that nobody has two operations
    /// at once.
    pub client: u64,
    /// The register.
    pub key: String,
    /// What was asked.
    pub call: Call,
    /// When.
    pub start: u64,
    /// When the answer came; of an unknown outcome, when the client gave up.
    pub end: u64,
    /// The answer.
    pub outcome: Outcome,
    /// The controller that was asked last.
    pub controller: usize,
}

/// The clock of a run: one monotonic clock for all clients, so that "before" means before.
#[derive(Clone, Copy, Debug)]
pub struct Recorder {
    began: Instant,
}

impl Recorder {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Recorder { began: Instant::now() }
    }

    /// Nanoseconds since the run began.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("a run ends within 500 years")
    }
}

/// One operation, as it is exported.
#[derive(Serialize)]
struct Line<'a> {
    client: u64,
    op: &'static str,
    key: &'a str,
    value: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    start: u64,
    /// Of an unknown outcome there is none.
    end: Option<u64>,
    result: &'static str,
    controller: String,
}

impl<'a> Line<'a> {
    fn of(operation: &'a Operation) -> Self {
        let (op, asked, expected_version) = match operation.call {
            Call::Read => ("read", None, None),
            Call::Write { value } => ("write", Some(value), None),
            Call::Cas { expected, value } => ("cas", Some(value), Some(expected)),
        };
        let (result, value, version) = match operation.outcome {
            Outcome::Read { value, version } => ("ok", value, Some(version)),
            Outcome::Done { version } => ("ok", asked, Some(version)),
            Outcome::Conflict => ("conflict", asked, None),
            Outcome::Failed => ("failed", asked, None),
            Outcome::Unknown => ("unknown", asked, None),
        };
        Line {
            client: operation.client,
            op,
            key: &operation.key,
            value,
            expected_version,
            version,
            start: operation.start,
            end: (operation.outcome != Outcome::Unknown).then_some(operation.end),
            result,
            controller: format!("c{}", operation.controller + 1),
        }
    }
}

/// What all clients of a run saw, by the time it was asked.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The operations.
    pub operations: Vec<Operation>,
}

impl History {
    /// The operations in the order in which they were asked.
    #[must_use]
    pub fn new(mut operations: Vec<Operation>) -> Self {
        operations.sort_by_key(|operation| operation.start);
        History { operations }
    }

    /// The operations on each register.
    #[must_use]
    pub fn by_key(&self) -> BTreeMap<&str, Vec<&Operation>> {
        let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        for operation in &self.operations {
            keys.entry(&operation.key).or_default().push(operation);
        }
        keys
    }

    /// Writes it as JSON lines, one operation a line.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn export(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for operation in &self.operations {
            serde_json::to_writer(&mut file, &Line::of(operation))?;
            file.write_all(b"\n")?;
        }
        file.flush()
    }

    /// Exports it as `NAME.jsonl` into the folder that `WHARF_HISTORY_DIR` names, else a temporary one that stays, and
    /// gives the path.
    ///
    /// # Panics
    /// When that can't be written.
    #[must_use]
    pub fn keep(&self, name: &str) -> PathBuf {
        let folder = match std::env::var_os("WHARF_HISTORY_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => std::env::temp_dir().join(format!("wharf-history-{}", std::process::id())),
        };
        std::fs::create_dir_all(&folder).expect("the histories' folder can be made");
        let path = folder.join(format!("{name}.jsonl"));
        self.export(&path).expect("the history can be written");
        path
    }

    /// When writes were acknowledged, in order.
    fn acknowledged(&self) -> Vec<u64> {
        let done = |operation: &&Operation| matches!(operation.outcome, Outcome::Done { .. });
        let mut ends: Vec<u64> = self.operations.iter().filter(done).map(|operation| operation.end).collect();
        ends.sort_unstable();
        ends
    }

    /// The longest time without an acknowledged write, between the first and the last.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let ends = self.acknowledged();
        let gap = ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        Duration::from_nanos(gap)
    }

    /// How long after `moment` the first write was acknowledged that was asked after it, through each controller that
    /// took one.
    #[must_use]
    pub fn recovery(&self, moment: u64) -> BTreeMap<usize, Duration> {
        let mut first: BTreeMap<usize, u64> = BTreeMap::new();
        for operation in &self.operations {
            if operation.start >= moment && matches!(operation.outcome, Outcome::Done { .. }) {
                let end = first.entry(operation.controller).or_insert(operation.end);
                *end = (*end).min(operation.end);
            }
        }
        first.into_iter().map(|(controller, end)| (controller, Duration::from_nanos(end - moment))).collect()
    }

    /// How many operations ended in each way, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |wanted: fn(&Outcome) -> bool| {
            self.operations.iter().filter(|operation| wanted(&operation.outcome)).count()
        };
        format!(
            "{} operations on {} registers: {} reads, {} writes done, {} conflicts, {} failed, {} unknown",
            self.operations.len(),
            self.by_key().len(),
            count(|outcome| matches!(outcome, Outcome::Read { .. })),
            count(|outcome| matches!(outcome, Outcome::Done { .. })),
            count(|outcome| *outcome == Outcome::Conflict),
            count(|outcome| *outcome == Outcome::Failed),
            count(|outcome| *outcome == Outcome::Unknown),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(call: Call, outcome: Outcome, start: u64, end: u64) -> Operation {
        Operation { client: 1, key: "k".to_owned(), call, start, end, outcome, controller: 0 }
    }

    #[test]
    fn a_history_is_exported_one_operation_a_line() {
        let history = History::new(vec![
            operation(Call::Read, Outcome::Read { value: None, version: 0 }, 5, 6),
            operation(Call::Write { value: 7 }, Outcome::Unknown, 1, 4),
            operation(Call::Cas { expected: 3, value: 8 }, Outcome::Done { version: 4 }, 7, 9),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h.jsonl");
        history.export(&path).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                r#"{"client":1,"op":"write","key":"k","value":7,"start":1,"end":null,"result":"unknown","controller":"c1"}"#,
                r#"{"client":1,"op":"read","key":"k","value":null,"version":0,"start":5,"end":6,"result":"ok","controller":"c1"}"#,
                r#"{"client":1,"op":"cas","key":"k","value":8,"expected_version":3,"version":4,"start":7,"end":9,"result":"ok","controller":"c1"}"#,
            ]
        );
    }

    #[test]
    fn gaps_and_recovery_count_acknowledged_writes_alone() {
        let write = |value| Call::Write { value };
        let history = History::new(vec![
            operation(write(1), Outcome::Done { version: 1 }, 0, 10),
            operation(Call::Read, Outcome::Read { value: Some(1), version: 1 }, 11, 12),
            operation(write(2), Outcome::Unknown, 13, 40),
            operation(write(3), Outcome::Done { version: 2 }, 45, 50),
        ]);
        assert_eq!(history.longest_gap(), Duration::from_nanos(40));
        assert_eq!(history.recovery(42), BTreeMap::from([(0, Duration::from_nanos(8))]));
        assert_eq!(history.recovery(46), BTreeMap::new());
    }
}
