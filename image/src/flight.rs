//! Doing things once however many want them, and keeping what is in use from being collected.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::OwnedMutexGuard;

use crate::digest::Digest;

/// One lock for each key. Who comes second finds the work done.
pub(crate) struct KeyedLocks<K>(Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>);

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        KeyedLocks(Mutex::default())
    }
}

impl<K: Eq + Hash> KeyedLocks<K> {
    pub(crate) async fn lock(&self, key: K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock();
            locks.retain(|_, lock| lock.strong_count() > 0);
            match locks.get(&key).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(tokio::sync::Mutex::new(()));
                    locks.insert(key, Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }
}

/// Blobs and layers that something in progress counts on.
#[derive(Clone, Default)]
pub(crate) struct Pins(Arc<Mutex<HashMap<Digest, usize>>>);

/// Pins of one piece of work; dropping it lifts them.
pub(crate) struct Pinned {
    pins: Pins,
    digests: Vec<Digest>,
}

impl Pins {
    pub(crate) fn none(&self) -> Pinned {
        Pinned { pins: self.clone(), digests: Vec::new() }
    }

    /// Stops new pins until the guard is dropped: what it doesn't hold is in nobody's way.
    pub(crate) fn freeze(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.0.lock()
    }
}

impl Pinned {
    pub(crate) fn add(&mut self, digests: impl IntoIterator<Item = Digest>) {
        let mut pins = self.pins.0.lock();
        for digest in digests {
            *pins.entry(digest).or_default() += 1;
            self.digests.push(digest);
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock();
        for digest in &self.digests {
            if let Some(count) = pins.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    pins.remove(digest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_for_each_key() {
        let locks = KeyedLocks::default();
        let first = locks.lock("a").await;
        let _other = locks.lock("b").await;
        assert!(futures::poll!(std::pin::pin!(locks.lock("a"))).is_pending());
        drop(first);
        let _second = locks.lock("a").await;
    }

    #[test]
    fn pins_are_counted() {
        let pins = Pins::default();
        let digest = Digest::of(b"x");
        let (mut a, mut b) = (pins.none(), pins.none());
        a.add([digest]);
        b.add([digest]);
        drop(a);
        assert!(pins.freeze().contains_key(&digest));
        drop(b);
        assert!(pins.freeze().is_empty());
    }
}
