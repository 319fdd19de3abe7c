//! What is left of a machine's time when it is taken away, and who may use how much of it.
//!
//! The calls that matter must not wait behind slow hooks, nor one slow rung behind another: each
//! gets at most half of what is left, and hooks leave enough for the last call and the record.

use std::time::Duration;

use crate::lifecycle::Instant;

/// Not for hooks.
const RESERVE: Duration = Duration::from_secs(5);
/// Less is no use to anybody.
const LEAST: Duration = Duration::from_secs(1);

/// Until the machine is taken away; `None`: nobody said when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left(Option<Duration>);

impl Left {
    pub fn until(ends: Option<Instant>, now: Instant) -> Left {
        Left(ends.map(|ends| ends.since(now)))
    }

    /// It may be over before `task` is.
    pub fn is_shorter_than(self, task: Duration) -> bool {
        self.0.is_some_and(|left| left < task)
    }

    /// How much of its full time one thing may take. A machine whose time has come and that is
    /// still here has all the time again: what was announced does not always happen.
    pub fn share(self, full: Duration) -> Duration {
        match self.0 {
            None | Some(Duration::ZERO) => full,
            Some(left) => full.min((left / 2).max(LEAST)),
        }
    }

    /// What of its full time a hook gets; `None` when it is better not begun.
    pub fn for_hook(self, full: Duration) -> Option<Duration> {
        let Some(left) = self.0 else {
            return Some(full);
        };
        let free = left.saturating_sub(RESERVE);
        (free >= LEAST).then(|| full.min(free))
    }

    /// For the final record.
    pub fn seconds(self) -> Option<u64> {
        self.0.map(|left| left.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_left_is_shared_out() {
        let secs = Duration::from_secs;
        // Seconds left, the share of a minute, what a hook of a minute gets.
        let rows = [
            (None, FULL, Some(FULL)),
            (Some(600), FULL, Some(FULL)),
            (Some(60), secs(30), Some(secs(55))),
            (
                Some(15),
                secs(7) + Duration::from_millis(500),
                Some(secs(10)),
            ),
            (Some(6), secs(3), Some(secs(1))),
            (Some(5), Duration::from_millis(2500), None),
            (Some(1), secs(1), None),
            (Some(0), FULL, None),
        ];
        let now = Instant(secs(1000));
        for (seconds, share, hook) in rows {
            let left = Left::until(seconds.map(|left| now.after(secs(left))), now);
            assert_eq!(left.share(FULL), share, "{seconds:?}");
            assert_eq!(left.for_hook(FULL), hook, "{seconds:?}");
            assert_eq!(left.seconds(), seconds);
            assert_eq!(
                left.is_shorter_than(FULL),
                seconds.is_some_and(|left| left < 60)
            );
        }
    }

    #[test]
    fn a_time_that_has_passed_leaves_nothing() {
        let now = Instant(Duration::from_secs(1000));
        let past = Instant(Duration::from_secs(900));
        assert_eq!(Left::until(Some(past), now).seconds(), Some(0));
    }
}
