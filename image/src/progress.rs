//! How a pull, push or import tells its caller how far it is.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::digest::Digest;

/// Something that happened on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressEvent {
    /// The name was resolved: this many layers, of this many compressed bytes, make the image.
    Resolved {
        /// The manifest.
        manifest: Digest,
        /// How many layers.
        layers: usize,
        /// Their compressed bytes together.
        bytes: u64,
    },
    /// A layer moved on.
    Layer {
        /// The compressed blob's digest.
        digest: Digest,
        /// What is being done with it.
        phase: LayerPhase,
        /// Compressed bytes done in this phase.
        done: u64,
        /// Compressed bytes in all.
        total: u64,
    },
}

/// What is being done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerPhase {
    /// It was there already.
    Present,
    /// Bytes come in.
    Downloading,
    /// Files are being written.
    Unpacking,
    /// Bytes go out.
    Uploading,
    /// Nothing is left to do.
    Done,
}

/// Takes progress events. Called often and from several threads: be quick.
pub trait Progress: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &ProgressEvent);
}

impl<F: Fn(&ProgressEvent) + Send + Sync> Progress for F {
    fn event(&self, event: &ProgressEvent) {
        self(event);
    }
}

/// All who wait for the same pull hear of it, those that came later too.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Arc<Mutex<Vec<Arc<dyn Progress>>>>);

impl Listeners {
    pub(crate) fn add(&self, listener: Arc<dyn Progress>) {
        self.0.lock().push(listener);
    }

    pub(crate) fn send(&self, event: &ProgressEvent) {
        for listener in self.0.lock().iter() {
            listener.event(event);
        }
    }

    pub(crate) fn layer(&self, digest: Digest, phase: LayerPhase, done: u64, total: u64) {
        self.send(&ProgressEvent::Layer { digest, phase, done, total });
    }
}
