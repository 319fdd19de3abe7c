//! Waits between tries, spread so that a fleet does not come back all at once ("Exponential
//! Backoff and Jitter", AWS Architecture Blog). Half of each wait is certain, which bounds the
//! number of calls. What is random about the rest is taken from the clock: machines differ in it
//! by nanoseconds, and the same story told twice goes the same way.

use std::time::Duration;

use crate::lifecycle::Instant;

const FIRST: Duration = Duration::from_secs(1);

/// Tries in a row that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retry {
    tries: u32,
}

impl Retry {
    /// How long to wait after one more: up to a second first, then twice that, up to `longest`.
    pub fn wait(&mut self, now: Instant, longest: Duration) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.tries.min(20));
        self.tries = self.tries.saturating_add(1);
        spread(now, ceiling.min(longest))
    }
}

/// Something between half of `longest` and all of it.
pub fn spread(now: Instant, longest: Duration) -> Duration {
    // SplitMix64's finalizer (Steele, Lea, Flood 2014).
    let mut bits = now.0.as_nanos() as u64;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    let part = f64::from(bits as u32) / f64::from(u32::MAX);
    longest.mul_f64(0.5 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_half_of_each_is_certain() {
        let longest = Duration::from_secs(30);
        for nanosecond in 0..1000 {
            let now = Instant(Duration::from_nanos(nanosecond * 7919));
            let mut retry = Retry::default();
            for ceiling in [1, 2, 4, 8, 16, 30, 30, 30] {
                let ceiling = Duration::from_secs(ceiling);
                let wait = retry.wait(now, longest);
                assert!((ceiling / 2..=ceiling).contains(&wait), "{wait:?}");
            }
        }
    }

    #[test]
    fn machines_that_differ_by_nanoseconds_are_spread_evenly() {
        let mut quarters = [0; 4];
        for nanosecond in 0..4000 {
            let now = Instant(Duration::from_secs(60) + Duration::from_nanos(nanosecond));
            let wait = spread(now, Duration::from_secs(8));
            quarters[((wait.as_secs_f64() - 4.0).min(3.999)) as usize] += 1;
        }
        assert!(
            quarters.iter().all(|n| (800..1200).contains(n)),
            "{quarters:?}"
        );
    }
}
