//! How far a pull or push is: a bar on a terminal, a line elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, stderr},
    sync::{Arc, Mutex, PoisonError},
};
use wharf_image::{Digest, LayerPhase, Progress, ProgressEvent};

/// Shows how far the layers of one image are.
pub struct Bar {
    bar: ProgressBar,
    done: Mutex<BTreeMap<Digest, u64>>,
}

impl Bar {
    /// A bar that says what is being done.
    pub fn new(what: &str) -> Arc<Self> {
        let bar = if stderr().is_terminal() {
            let style = ProgressStyle::with_template("{msg} [{bar:24}] {bytes}/{total_bytes}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ");
            ProgressBar::new(0).with_style(style).with_message(what.to_owned())
        } else {
            eprintln!("{what}");
            ProgressBar::hidden()
        };
        Arc::new(Bar { bar, done: Mutex::default() })
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn event(&self, event: &ProgressEvent) {
        match event {
            ProgressEvent::Resolved { bytes, .. } => self.bar.set_length(*bytes),
            ProgressEvent::Layer { digest, phase, done, total } => {
                let done = match phase {
                    LayerPhase::Present | LayerPhase::Unpacking | LayerPhase::Done => *total,
                    LayerPhase::Downloading | LayerPhase::Uploading => *done,
                };
                let mut all = self.done.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(*digest, done);
                self.bar.set_position(all.values().sum());
            }
            // New kinds of events change nothing of this.
            _ => {}
        }
    }
}
