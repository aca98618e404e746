//! What happened, line by line. A run without a trace is the same run: whoever wants the lines of a seed runs it again.

use super::time::{MILLI, Micros, SECOND};
use std::{collections::VecDeque, fmt::Arguments};

/// What becomes of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// None are made.
    #[default]
    Off,
    /// So many of the last ones are kept.
    Last(usize),
    /// All are printed.
    Print,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Trace {
    mode: Mode,
    lines: VecDeque<String>,
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Trace { mode, lines: VecDeque::new() }
    }

    /// Whether lines are made.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.mode != Mode::Off
    }

    /// Notes what happens.
    pub fn line(&mut self, now: Micros, step: u64, what: Arguments<'_>) {
        let kept = match self.mode {
            Mode::Off => return,
            Mode::Last(kept) => kept,
            Mode::Print => 0,
        };
        let (seconds, millis, micros) = (now / SECOND, now / MILLI % 1000, now % MILLI);
        let line = format!("{seconds:>4}.{millis:03}.{micros:03} #{step} {what}");
        if kept == 0 {
            println!("{line}");
            return;
        }
        if self.lines.len() >= kept {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The lines that were kept.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
