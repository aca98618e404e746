//! How following is shown: a bar for each service on a terminal, lines elsewhere.

use super::verdict::{Verdict, reached};
use crate::output::clean;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};
use wharf_proto::v1::Service;

/// Elsewhere than on a terminal, at most one line in this time says how far a service is.
const PACE: Duration = Duration::from_secs(1);

/// Shows how services come along.
pub struct Display {
    bars: Option<MultiProgress>,
    shown: BTreeMap<String, Shown>,
}

struct Shown {
    bar: ProgressBar,
    line: String,
    at: Option<Instant>,
}

impl Display {
    /// A display on standard error.
    pub fn new() -> Self {
        Display { bars: stderr().is_terminal().then(MultiProgress::new), shown: BTreeMap::new() }
    }

    /// Shows how far a service is.
    pub fn show(&mut self, service: &Service, verdict: &Verdict) {
        let note = match verdict {
            Verdict::Done => String::new(),
            Verdict::Going(why) | Verdict::Failed(why) => clean(why),
        };
        let bars = self.bars.as_ref();
        let shown = self.shown.entry(service.name.clone()).or_insert_with(|| Shown {
            bar: bars.map_or_else(ProgressBar::hidden, |bars| bars.add(bar(&service.name))),
            line: String::new(),
            at: None,
        });
        shown.bar.set_length(u64::from(service.desired));
        shown.bar.set_position(u64::from(reached(service)));
        shown.bar.set_message(note.clone());
        if bars.is_some() {
            return;
        }
        let count = if service.removing {
            String::new()
        } else {
            format!("{} of {} ", reached(service), service.desired)
        };
        let line = format!("{}: {count}{note}", service.name);
        let line = line.trim_end();
        let soon = shown.at.is_some_and(|at| at.elapsed() < PACE);
        if shown.line != line && (!soon || !matches!(verdict, Verdict::Going(_))) {
            eprintln!("{line}");
            line.clone_into(&mut shown.line);
            shown.at = Some(Instant::now());
        }
    }

    /// Takes a service away that is gone.
    pub fn gone(&mut self, name: &str) {
        if let Some(shown) = self.shown.remove(name) {
            shown.bar.finish_and_clear();
        }
        if self.bars.is_none() {
            eprintln!("{name}: gone");
        }
    }

    /// Leaves the last picture where it is.
    pub fn finish(&self) {
        for shown in self.shown.values() {
            shown.bar.abandon();
        }
    }
}

fn bar(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:24} [{bar:24}] {pos}/{len} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::new(0).with_style(style).with_prefix(name.to_owned())
}
