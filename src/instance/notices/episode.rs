//! A time in which something was wrong, told as two lines and not as thousands.

use std::time::Duration;

use crate::lifecycle::Instant;

/// So many good rounds end it: a service that is throttled answers now and then.
const GOOD_ROUNDS: u32 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Episode {
    /// When it began, and when the good rounds at its end did.
    open: Option<(Instant, Instant)>,
    good: u32,
}

impl Episode {
    /// Something was wrong. True when this is a new episode.
    pub fn bad(&mut self, now: Instant) -> bool {
        let is_new = self.open.is_none();
        self.open.get_or_insert((now, now));
        self.good = 0;
        is_new
    }

    /// Nothing was wrong. `Some` when that ends the episode: how long it was.
    pub fn good(&mut self, now: Instant) -> Option<Duration> {
        let (began, better) = self.open.as_mut()?;
        if self.good == 0 {
            *better = now;
        }
        self.good += 1;
        if self.good < GOOD_ROUNDS {
            return None;
        }
        let lasted = better.since(*began);
        *self = Episode::default();
        Some(lasted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One round every five seconds, good or not; where lines are written, and how long the
    /// episode was.
    fn lines(rounds: impl IntoIterator<Item = bool>) -> Vec<(usize, Option<u64>)> {
        let mut episode = Episode::default();
        let mut lines = Vec::new();
        for (round, is_good) in rounds.into_iter().enumerate() {
            let now = Instant(Duration::from_secs(5 * round as u64));
            if !is_good {
                lines.extend(episode.bad(now).then_some((round, None)));
            } else if let Some(lasted) = episode.good(now) {
                lines.push((round, Some(lasted.as_secs())));
            }
        }
        lines
    }

    #[test]
    fn an_outage_is_two_lines_however_long_it_is() {
        let outage = (0..200).map(|round| !(10..130).contains(&round));
        assert_eq!(lines(outage), [(10, None), (141, Some(600))]);
    }

    #[test]
    fn an_hour_of_throttling_is_two_lines_though_most_rounds_succeed() {
        let throttled = (0..800).map(|round| round >= 720 || round % 4 != 1);
        assert_eq!(lines(throttled), [(1, None), (729, Some(3585))]);
    }

    #[test]
    fn without_trouble_nothing_is_written() {
        assert_eq!(lines([true; 100]), []);
    }
}
