//! What was, for those who are told late.

use std::collections::VecDeque;
use std::time::Duration;

use crate::lifecycle::Instant;

/// Every value of the last while.
#[derive(Debug)]
pub struct Past<T> {
    keeps: Duration,
    /// Since when each held; the last one holds now.
    values: VecDeque<(Instant, T)>,
}

impl<T: PartialEq> Past<T> {
    pub fn new(keeps: Duration) -> Past<T> {
        Past {
            keeps,
            values: VecDeque::new(),
        }
    }

    pub fn is(&mut self, now: Instant, value: T) {
        if self.values.back().is_some_and(|(_, last)| *last == value) {
            return;
        }
        self.values.push_back((now, value));
        let begin = |at: Instant| at.0 + self.keeps < now.0;
        while self.values.get(1).is_some_and(|(at, _)| begin(*at)) {
            self.values.pop_front();
        }
    }

    /// What held then, or the oldest that is known.
    pub fn at(&self, then: Instant) -> Option<&T> {
        let after = self.values.partition_point(|(since, _)| *since <= then);
        let (_, value) = self.values.get(after.saturating_sub(1))?;
        Some(value)
    }
}

/// The greatest value of the last while.
#[derive(Debug)]
pub struct Peak {
    window: Duration,
    now: u32,
    /// Until when each former value held; greater ones first.
    before: VecDeque<(Instant, u32)>,
}

impl Peak {
    pub fn new(window: Duration) -> Peak {
        Peak {
            window,
            now: 0,
            before: VecDeque::new(),
        }
    }

    pub fn is(&mut self, now: Instant, value: u32) {
        if value == self.now {
            return;
        }
        while self
            .before
            .back()
            .is_some_and(|(_, less)| *less <= self.now)
        {
            self.before.pop_back();
        }
        self.before.push_back((now, self.now));
        self.now = value;
        while self.before.len() > 1 && self.is_past(now, self.before[0].0) {
            self.before.pop_front();
        }
    }

    pub fn greatest(&self, now: Instant) -> u32 {
        let mut within = self.before.iter().filter(|(at, _)| !self.is_past(now, *at));
        within
            .next()
            .map_or(self.now, |(_, value)| self.now.max(*value))
    }

    fn is_past(&self, now: Instant, at: Instant) -> bool {
        at.0 + self.window < now.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn peak_forgets_what_ended_before_its_window() {
        let mut peak = Peak::new(Duration::from_secs(10));
        peak.is(at(0), 5);
        peak.is(at(1), 3);
        peak.is(at(5), 4);
        assert_eq!([10, 11, 12].map(|now| peak.greatest(at(now))), [5, 5, 4]);
        peak.is(at(20), 0);
        assert_eq!([29, 30, 31].map(|now| peak.greatest(at(now))), [4, 4, 0]);
    }

    #[test]
    fn past_tells_what_held_at_a_time() {
        let mut past = Past::new(Duration::from_secs(10));
        past.is(at(0), 'a');
        past.is(at(5), 'b');
        past.is(at(6), 'b');
        assert_eq!(
            [0, 4, 5, 9].map(|then| past.at(at(then))),
            [Some(&'a'), Some(&'a'), Some(&'b'), Some(&'b')]
        );
        past.is(at(30), 'c');
        assert_eq!(past.at(at(0)), Some(&'b'), "older values are forgotten");
    }
}
