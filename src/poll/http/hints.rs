//! When a server wants to be asked again, from the headers of its answer.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::instance::parse_date;
use crate::poll::plan::Hints;

/// However long a server asks to wait: it is asked again after that much, in case that it meant
/// something else.
const LONGEST: Duration = Duration::from_secs(3600);

/// Seconds; Buildkite's agent metrics have it:
/// <https://buildkite.com/docs/apis/agent-api/metrics>.
const POLL_DURATION: &str = "Buildkite-Agent-Metrics-Poll-Duration";

/// Numbers above it are seconds since 1970 (2001, to be exact), below it seconds from now.
const FIRST_EPOCH: u64 = 1_000_000_000;

/// What the headers ask for. `now` is only looked at when there is no header `Date`: the server's
/// clock and ours may differ.
pub fn read(headers: &HeaderMap, now: SystemTime) -> Hints {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let server_now = text(DATE.as_str()).and_then(parse_date).unwrap_or(now);
    let retry = text(RETRY_AFTER.as_str()).and_then(|text| retry_after(text, server_now));
    // The header of the draft of RateLimit fields (and GitLab), and GitHub's older one.
    let limits = [
        ("RateLimit-Remaining", "RateLimit-Reset"),
        ("X-RateLimit-Remaining", "X-RateLimit-Reset"),
    ];
    let used_up = limits.into_iter().filter_map(|(remaining, reset)| {
        let left: u64 = text(remaining)?.trim().parse().ok()?;
        (left == 0)
            .then(|| until(text(reset)?, server_now))
            .flatten()
    });
    let every = text(POLL_DURATION).and_then(|text| text.trim().parse().ok());
    Hints {
        not_before: used_up.chain(retry).max().map(|wait| wait.min(LONGEST)),
        every: every.map(|seconds| Duration::from_secs(seconds).min(LONGEST)),
    }
}

/// Whether the headers say that nothing more may be asked for now.
pub fn is_used_up(headers: &HeaderMap) -> bool {
    ["RateLimit-Remaining", "X-RateLimit-Remaining"]
        .iter()
        .filter_map(|name| headers.get(*name))
        .any(|left| left.as_bytes().trim_ascii() == b"0")
}

/// Both together: the longer wait of each.
pub fn merge(one: Hints, other: Hints) -> Hints {
    Hints {
        not_before: one.not_before.max(other.not_before),
        every: one.every.max(other.every),
    }
}

/// RFC 9110, 10.2.3: seconds, or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        // A date that has passed says: now.
        Err(_) => Some(parse_date(text)?.duration_since(now).unwrap_or_default()),
    }
}

/// Seconds from now, or since 1970.
fn until(reset: &str, now: SystemTime) -> Option<Duration> {
    let seconds = reset.trim().parse().ok()?;
    if seconds < FIRST_EPOCH {
        return Some(Duration::from_secs(seconds));
    }
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn hints(pairs: &[(&str, &str)]) -> (Option<u64>, Option<u64>) {
        let headers = pairs.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        });
        let now = parse_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let hints = read(&headers.collect(), now);
        (
            hints.not_before.map(|wait| wait.as_secs()),
            hints.every.map(|wait| wait.as_secs()),
        )
    }

    #[test]
    fn every_form_of_waiting_is_understood() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:00 GMT");
        type Headers<'a> = &'a [(&'a str, &'a str)];
        let table: [(Headers<'_>, Option<u64>); 15] = [
            (&[], None),
            (&[("retry-after", "7")], Some(7)),
            (&[("retry-after", " 7 ")], Some(7)),
            (&[("retry-after", "0")], Some(0)),
            (
                &[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")],
                Some(10),
            ),
            (
                &[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"), date],
                Some(47),
            ),
            (&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], Some(0)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "99999999999999999999")], None),
            (&[("retry-after", "999999999")], Some(3600)),
            (
                &[("ratelimit-remaining", "0"), ("ratelimit-reset", "30")],
                Some(30),
            ),
            (
                &[("ratelimit-remaining", "1"), ("ratelimit-reset", "30")],
                None,
            ),
            (
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1700000060"),
                    ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
                ],
                Some(60),
            ),
            (
                &[
                    ("retry-after", "5"),
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "9"),
                ],
                Some(9),
            ),
        ];
        for (headers, expected) in table {
            assert_eq!(hints(headers), (expected, None), "{headers:?}");
        }
    }

    #[test]
    fn buildkites_interval_is_kept_to() {
        let header = "buildkite-agent-metrics-poll-duration";
        assert_eq!(hints(&[(header, "30")]), (None, Some(30)));
        assert_eq!(hints(&[(header, "")]), (None, None));
        assert_eq!(hints(&[(header, "86400")]), (None, Some(3600)));
    }

    #[test]
    fn merged_hints_are_the_slower_ones() {
        let (one, other) = (Some(Duration::from_secs(1)), Some(Duration::from_secs(2)));
        let hint = |not_before, every| Hints { not_before, every };
        assert_eq!(merge(hint(one, other), hint(None, one)), hint(one, other));
        assert_eq!(merge(hint(one, None), hint(other, one)), hint(other, one));
    }
}
