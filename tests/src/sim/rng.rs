//! The one source of chance: everything that happens follows from its seed.

use std::ops::RangeInclusive;

/// Random numbers from a seed.
#[derive(Clone, Debug)]
pub struct Rng(fastrand::Rng);

impl Rng {
    /// The numbers that follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Rng(fastrand::Rng::with_seed(seed))
    }

    /// A number of the range, all equally likely.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.0.u64(range)
    }

    /// A signed number of the range, all equally likely.
    pub fn signed(&mut self, range: RangeInclusive<i64>) -> i64 {
        self.0.i64(range)
    }

    /// A place in a list of `len`, which is not empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.0.usize(0..len)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.f64() < probability
    }

    /// One of them; `None` if there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.index(from.len())) }
    }

    /// A time with this mean: mostly shorter, sometimes much longer.
    pub fn around(&mut self, mean: u64) -> u64 {
        let uniform = self.0.f64().max(1e-9);
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let value = (-(uniform.ln()) * mean as f64) as u64;
        value.min(mean.saturating_mul(8))
    }

    /// A number that names something forever.
    pub fn name(&mut self) -> u128 {
        self.0.u128(..)
    }
}
