//! GitHub's rate limit: what is left of it is spread over the time until it is full again.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;

use crate::instance::parse_date;

/// Kept for whoever else uses the token: 1/10.
const KEPT: u64 = 10;

/// What the last answer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub left: u64,
    /// Until it is full again.
    pub reset: Duration,
}

impl Rate {
    pub fn read(headers: &HeaderMap) -> Option<Rate> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let at: u64 = text("x-ratelimit-reset")?.trim().parse().ok()?;
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at))?;
        // By the server's clock, as ours may differ.
        let now = text("date")
            .and_then(parse_date)
            .unwrap_or_else(SystemTime::now);
        Some(Rate {
            left: text("x-ratelimit-remaining")?.trim().parse().ok()?,
            reset: at.duration_since(now).unwrap_or_default(),
        })
    }

    /// How often a round may be made that costs this many calls.
    pub fn every(self, cost: u32) -> Option<Duration> {
        let rounds = self.left.saturating_sub(self.left / KEPT) / u64::from(cost.max(1));
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        (cost > 0).then(|| self.reset / rounds.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(left: &'static str, reset: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ratelimit-remaining", left),
            ("x-ratelimit-reset", reset),
            ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn what_is_left_is_spread_until_it_is_full_again() {
        let rate = Rate::read(&headers("100", "1700000900")).expect("a rate");
        assert_eq!(
            rate,
            Rate {
                left: 100,
                reset: Duration::from_secs(900)
            }
        );
        for (cost, seconds) in [
            (0, None),
            (1, Some(10)),
            (3, Some(30)),
            (90, Some(900)),
            (500, Some(900)),
        ] {
            assert_eq!(rate.every(cost), seconds.map(Duration::from_secs), "{cost}");
        }
        let used_up = Rate {
            left: 0,
            reset: Duration::from_secs(60),
        };
        assert_eq!(used_up.every(1), Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_limit_that_is_not_told_paces_nothing() {
        for (left, reset) in [
            ("", "1700000900"),
            ("100", "soon"),
            ("-1", "1700000900"),
            ("1", "99999999999999999999"),
        ] {
            assert_eq!(Rate::read(&headers(left, reset)), None, "{left} {reset}");
        }
        assert_eq!(Rate::read(&HeaderMap::new()), None);
        let past = Rate::read(&headers("100", "1600000000")).expect("a rate");
        assert_eq!(past.every(5), Some(Duration::ZERO));
    }
}
