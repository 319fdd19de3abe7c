//! When a source is asked next.

use std::time::Duration;

use crate::lifecycle::Instant;

use super::token::Fnv;
use super::words::Hints;

/// No hint of a server keeps it from being asked for longer than this.
const LONGEST_HINT: Duration = Duration::from_secs(3600);
/// A server that says "too often" is asked at least this often.
const LONGEST_THROTTLE: Duration = Duration::from_secs(300);
/// The first round comes at most so long after the start.
pub const FIRST: Duration = Duration::from_secs(1);
/// A queue of a source that is asked one by one is quiet when nothing waited for so long.
const QUIET_AFTER: Duration = Duration::from_secs(300);
/// How often a quiet queue is asked.
const QUIET_EVERY: Duration = Duration::from_secs(60);

/// A wait that doubles with each failure and halves with each success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Penalty {
    wait: Duration,
    until: Instant,
}

impl Penalty {
    pub fn add(&mut self, now: Instant, least: Duration, most: Duration) {
        self.wait = self.wait.saturating_mul(2).min(most).max(least.min(most));
        self.until = now.after(self.wait);
    }

    /// The next failure begins with half of the last wait.
    pub fn forgive(&mut self) {
        // Doubled when it is added to.
        self.wait /= 4;
        self.until = Instant::default();
    }

    pub fn over(&self, now: Instant) -> bool {
        now >= self.until
    }

    pub fn until(&self) -> Instant {
        self.until
    }
}

/// The rhythm of one source.
#[derive(Debug, Clone)]
pub struct Pace {
    next: Instant,
    /// The server's own wish (Buildkite's poll header).
    every: Duration,
    throttled: Penalty,
    rounds: u64,
}

impl Pace {
    /// `alone`: there is no other source that should not be asked at the same moment.
    pub fn new(now: Instant, id: &str, interval: Duration, alone: bool) -> Pace {
        let spread = interval.min(FIRST).as_nanos();
        let phase = match (
            alone,
            Fnv::new().add(id.as_bytes()).finish().checked_rem(spread),
        ) {
            (false, Some(phase)) => Duration::from_nanos(u64::try_from(phase).unwrap_or(0)),
            _ => Duration::ZERO,
        };
        Pace {
            next: now.after(phase),
            every: Duration::ZERO,
            throttled: Penalty::default(),
            rounds: 0,
        }
    }

    pub fn next(&self) -> Instant {
        self.next
    }

    /// Which round comes next: counts from zero.
    pub fn round(&self) -> u64 {
        self.rounds
    }

    /// How often the source wants to be asked, where it says so.
    pub fn wish(&self) -> Option<Duration> {
        (!self.every.is_zero()).then_some(self.every)
    }

    /// A round begins (or was due, and no queue is to be asked).
    pub fn began(&mut self, now: Instant, interval: Duration) {
        let period = interval.max(self.every);
        let steady = self.next.after(period);
        self.next = if steady > now {
            steady
        } else {
            now.after(period)
        };
        self.rounds += 1;
    }

    /// A round has ended.
    pub fn ended(&mut self, now: Instant, interval: Duration, hints: Hints, failed: bool) {
        let wish = hints.every.unwrap_or_default().min(LONGEST_HINT);
        self.every = match self.every / 2 {
            half if half < interval => wish,
            half => wish.max(half),
        };
        match hints.not_before {
            Some(_) if failed => self.throttled.add(now, interval, LONGEST_THROTTLE),
            _ if failed => {}
            _ => self.throttled.forgive(),
        }
        let floor = hints.not_before.unwrap_or_default().min(LONGEST_HINT);
        self.next = self.next.max(now.after(floor)).max(self.throttled.until());
    }

    /// There is a reason to ask now; what the server asked for still holds.
    pub fn hurry(&mut self, now: Instant) {
        if self.throttled.over(now) && self.every.is_zero() {
            self.next = self.next.min(now);
        }
    }
}

/// Whether a queue of a source that is asked one by one is asked in this round. `wanted`: when
/// something last waited, or was on its way. Quiet queues keep their place, so that each round
/// asks equally many.
pub fn due(
    queue: &str,
    round: u64,
    interval: Duration,
    now: Instant,
    wanted: Option<Instant>,
) -> bool {
    if round == 0 || wanted.is_some_and(|wanted| now.since(wanted) <= QUIET_AFTER) {
        return true;
    }
    let rounds = QUIET_EVERY
        .as_nanos()
        .div_ceil(interval.as_nanos().max(1))
        .max(1);
    Fnv::new().add(queue.as_bytes()).finish() % rounds == u128::from(round) % rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    fn hints(not_before: Option<u64>, every: Option<u64>) -> Hints {
        Hints {
            not_before: not_before.map(Duration::from_secs),
            every: every.map(Duration::from_secs),
        }
    }

    #[test]
    fn the_first_round_is_within_a_second_and_at_once_for_a_single_source() {
        for id in ["a", "b", "circleci https://circleci.com"] {
            assert!(Pace::new(at(5), id, TEN, false).next() < at(6));
            assert_eq!(Pace::new(at(5), id, TEN, true).next(), at(5));
        }
        let spread = ["a", "b"].map(|id| Pace::new(at(5), id, TEN, false).next());
        assert_ne!(spread[0], spread[1]);
        let never = Pace::new(at(5), "a", Duration::ZERO, false);
        assert_eq!(never.next(), at(5));
    }

    #[test]
    fn rounds_keep_their_rhythm_and_a_late_one_begins_it_anew() {
        let mut pace = Pace::new(at(0), "a", TEN, true);
        pace.began(at(1), TEN);
        assert_eq!(pace.next(), at(10));
        pace.began(at(25), TEN);
        assert_eq!(pace.next(), at(35));
    }

    #[test]
    fn retry_after_is_a_floor() {
        let mut pace = Pace::new(at(0), "a", TEN, true);
        pace.began(at(0), TEN);
        pace.ended(at(1), TEN, hints(Some(90), None), true);
        assert_eq!(pace.next(), at(91));
    }

    #[test]
    fn throttling_doubles_up_to_five_minutes_and_decays() {
        let mut pace = Pace::new(at(0), "a", TEN, true);
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..7 {
            pace.began(now, TEN);
            pace.ended(now, TEN, hints(Some(0), None), true);
            waits.push(pace.next().since(now).as_secs());
            now = pace.next();
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        pace.began(now, TEN);
        pace.ended(now, TEN, hints(None, None), false);
        assert_eq!(pace.next().since(now), TEN);
        now = pace.next();
        pace.began(now, TEN);
        pace.ended(now, TEN, hints(Some(0), None), true);
        assert_eq!(pace.next().since(now).as_secs(), 150);
    }

    #[test]
    fn a_server_that_is_down_is_asked_each_interval() {
        let mut pace = Pace::new(at(0), "a", TEN, true);
        for round in 0..5 {
            pace.began(at(round * 10), TEN);
            pace.ended(at(round * 10 + 1), TEN, hints(None, None), true);
            assert_eq!(pace.next(), at(round * 10 + 10));
        }
    }

    #[test]
    fn the_poll_header_raises_the_interval_and_its_absence_lowers_it_again() {
        let mut pace = Pace::new(at(0), "a", TEN, true);
        let mut periods = Vec::new();
        for wish in [Some(60), Some(60), None, None, None, Some(3)] {
            pace.ended(at(0), TEN, hints(None, wish), false);
            let before = pace.next();
            pace.began(before, TEN);
            periods.push(pace.next().since(before).as_secs());
        }
        assert_eq!(periods, [60, 60, 30, 15, 10, 10]);
    }

    #[test]
    fn a_quiet_queue_is_asked_once_a_minute_and_a_wanted_one_each_round() {
        let asked = (1..=12)
            .filter(|round| due("q", *round, TEN, at(1000), None))
            .count();
        assert_eq!(asked, 2);
        assert!((1..=12).all(|round| due("q", round, TEN, at(1000), Some(at(700)))));
        assert!(!(1..=6).all(|round| due("q", round, TEN, at(1001), Some(at(700)))));
        assert!(due("q", 0, TEN, at(0), None));
        assert!(due("q", 7, Duration::from_secs(120), at(9999), None));
        assert!((1..=3).any(|round| !due("q", round, Duration::ZERO, at(9999), None)));
    }
}
