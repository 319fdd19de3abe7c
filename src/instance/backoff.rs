//! Waits between tries: exponential with full jitter ("Exponential Backoff and Jitter", AWS
//! Architecture Blog), because a whole fleet meets the same throttle at the same time.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    tries: u32,
}

impl Backoff {
    pub fn new(base: Duration, cap: Duration) -> Backoff {
        Backoff {
            base,
            cap,
            tries: 0,
        }
    }

    /// The next wait: anything up to `base * 2^n`, `cap` at most.
    pub fn next(&mut self) -> Duration {
        let ceiling = self
            .base
            .saturating_mul(1 << self.tries.min(20))
            .min(self.cap);
        self.tries += 1;
        ceiling.mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_no_further() {
        let cap = Duration::from_secs(10);
        let mut backoff = Backoff::new(Duration::from_millis(100), cap);
        assert!(backoff.next() <= Duration::from_millis(100));
        assert!(backoff.next() <= Duration::from_millis(200));
        let later: Vec<_> = (0..100).map(|_| backoff.next()).collect();
        assert!(later.iter().all(|wait| *wait <= cap));
        assert!(later.iter().any(|wait| *wait > Duration::from_secs(1)));
    }
}
