//! When to check a container's health, and what the checks' results mean: pure, with time given from outside.

use std::time::Duration;

use wharf_cluster::model::HealthCheck;

/// The first of the early checks.
const EARLY: Duration = Duration::from_millis(100);

/// What is known of a container's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It has not passed a check yet.
    Starting,
    /// It passed the last checks, or has not failed enough of them.
    Healthy,
    /// It failed too many checks in a row.
    Unhealthy,
}

/// A container's health as its checks tell it.
///
/// Docker's rules: a check every `interval` (every `start_interval` in the start period), failures count once the start
/// period is over or a check has passed, and `retries` failures in a row are unhealthy. Besides, the time up to the
/// first check is used for early ones, of which only a success counts: a container that is well at once is found so
/// at once.
#[derive(Debug, Clone)]
pub struct Verdict {
    interval: Duration,
    start_interval: Duration,
    start_period: Duration,
    retries: u32,
    failures: u32,
    checks: u32,
    health: Health,
}

impl Verdict {
    /// Of a container that has just started, or one that is known to have been healthy.
    pub fn new(check: &HealthCheck, healthy: bool) -> Self {
        Verdict {
            interval: Duration::from_millis(check.interval),
            start_interval: Duration::from_millis(check.start_interval),
            start_period: Duration::from_millis(check.start_period),
            retries: check.retries.max(1),
            failures: 0,
            checks: 0,
            health: if healthy { Health::Healthy } else { Health::Starting },
        }
    }

    /// What is known.
    pub fn health(&self) -> Health {
        self.health
    }

    fn in_start_period(&self, age: Duration) -> bool {
        self.health == Health::Starting && age < self.start_period
    }

    fn regular(&self, age: Duration) -> Duration {
        if self.in_start_period(age) { self.start_interval.min(self.interval) } else { self.interval }
    }

    /// Whether a check of a container of this age is one of the early ones.
    fn is_early(&self, age: Duration) -> bool {
        self.health == Health::Starting && age < self.regular(Duration::ZERO)
    }

    /// How long to wait before the next check of a container of this age.
    pub fn pause(&self, age: Duration) -> Duration {
        let regular = self.regular(age);
        if !self.is_early(age) {
            return regular;
        }
        let early = EARLY.saturating_mul(1 << self.checks.min(16));
        early.min(self.regular(Duration::ZERO).saturating_sub(age)).max(Duration::from_millis(1))
    }

    /// Takes the result of a check that began when the container was of this age.
    pub fn record(&mut self, age: Duration, passed: bool) -> Health {
        let counts = !self.is_early(age) && !self.in_start_period(age);
        self.checks = self.checks.saturating_add(1);
        if passed {
            self.failures = 0;
            self.health = Health::Healthy;
        } else if counts {
            self.failures += 1;
            if self.failures >= self.retries {
                self.health = Health::Unhealthy;
            }
        }
        self.health
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_cluster::model::HealthTest;

    fn check(start_period: u64) -> HealthCheck {
        HealthCheck {
            test: HealthTest::Shell("true".into()),
            interval: 10_000,
            timeout: 1000,
            retries: 3,
            start_period,
            start_interval: 2_000,
        }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn early_checks_find_a_healthy_container_at_once_and_blame_nobody() {
        let mut verdict = Verdict::new(&check(0), false);
        let mut age = Duration::ZERO;
        let mut early = 0;
        while age + verdict.pause(age) < ms(10_000) {
            age += verdict.pause(age);
            assert_eq!(verdict.record(age, false), Health::Starting);
            early += 1;
        }
        assert!((5..10).contains(&early), "{early}");
        assert_eq!(verdict.record(ms(10_000), true), Health::Healthy);
    }

    #[test]
    fn retries_in_a_row_make_it_unhealthy() {
        let mut verdict = Verdict::new(&check(0), true);
        assert_eq!(verdict.pause(ms(0)), ms(10_000));
        assert_eq!(verdict.record(ms(10_000), false), Health::Healthy);
        assert_eq!(verdict.record(ms(20_000), false), Health::Healthy);
        assert_eq!(verdict.record(ms(30_000), true), Health::Healthy);
        assert_eq!(verdict.record(ms(40_000), false), Health::Healthy);
        assert_eq!(verdict.record(ms(50_000), false), Health::Healthy);
        assert_eq!(verdict.record(ms(60_000), false), Health::Unhealthy);
    }

    #[test]
    fn one_that_never_passes_a_check_becomes_unhealthy() {
        let mut verdict = Verdict::new(&check(0), false);
        for n in 1..3 {
            assert_eq!(verdict.record(ms(10_000 * n), false), Health::Starting);
        }
        assert_eq!(verdict.record(ms(30_000), false), Health::Unhealthy);
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_until_a_check_has_passed() {
        let mut verdict = Verdict::new(&check(60_000), false);
        assert_eq!(verdict.pause(ms(5_000)), ms(2_000));
        for n in 1..20 {
            assert_eq!(verdict.record(ms(2_000 * n), false), Health::Starting);
        }
        assert_eq!(verdict.record(ms(41_000), true), Health::Healthy);
        assert_eq!(verdict.pause(ms(42_000)), ms(10_000));
        verdict.record(ms(43_000), false);
        verdict.record(ms(44_000), false);
        assert_eq!(verdict.record(ms(45_000), false), Health::Unhealthy);
    }
}
