//! How long to wait before the next session, so that many agents don't come back all at once.

use std::time::Duration;

use tonic::Code;

use super::End;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// Of a node that was removed: somebody has to do something about it.
const REMOVED: Duration = Duration::from_secs(15);
/// Redirects that are followed without a pause.
const REDIRECTS: u32 = 3;

/// Counts what went wrong in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    redirects: u32,
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        *self = Backoff::default();
    }

    pub(super) fn next(&mut self, end: &End) -> Duration {
        if let End::Redirected(leader) = end
            && !leader.is_empty()
            && self.redirects < REDIRECTS
        {
            self.redirects += 1;
            return Duration::ZERO;
        }
        if let End::Refused { code: Code::PermissionDenied, .. } = end {
            return jittered(REMOVED);
        }
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        jittered(pause)
    }
}

/// Between half of it and all of it.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_redirects_have_none_at_first() {
        let mut backoff = Backoff::default();
        let redirect = End::Redirected("b:7400".into());
        for _ in 0..REDIRECTS {
            assert!(backoff.next(&redirect).is_zero());
        }
        assert!(!backoff.next(&redirect).is_zero());
        backoff.reset();
        let first = backoff.next(&End::Closed);
        assert!(first >= FIRST / 2 && first <= FIRST);
        for _ in 0..100 {
            assert!(backoff.next(&End::Closed) <= LONGEST);
        }
        assert!(backoff.next(&End::Redirected(String::new())) >= LONGEST / 2);
    }
}
