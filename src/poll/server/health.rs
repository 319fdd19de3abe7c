//! `/healthz`: whether the poller knows what it needs to know.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::poll::snapshot::{Backend, Snapshot, Source};

/// Missed rounds that are still no news.
const ROUNDS: f64 = 3.0;
/// Seconds that a round may take.
const ROUND: f64 = 20.0;
/// Seconds between two reads of a backend that has nothing to do.
const SWEEP: f64 = 60.0;

/// One line for each source and backend that has told nothing for too long: which one, since
/// when, and its last error. Empty: healthy. `now` in seconds since 1970.
pub fn problems(snapshot: &Snapshot, now: f64) -> Vec<String> {
    let sources = snapshot.sources.iter().filter_map(|source| {
        let limit = source_limit(snapshot, source);
        silent(
            "source",
            &source.id,
            source.good,
            limit,
            &source.error,
            snapshot,
            now,
        )
    });
    let backends = snapshot.backends.iter().filter_map(|backend: &Backend| {
        let limit = SWEEP + ROUNDS * snapshot.interval;
        let (id, good, error) = (&backend.id, backend.good, &backend.error);
        silent("backend", id, good, limit, error, snapshot, now)
    });
    sources.chain(backends).collect()
}

/// The body of `/healthz`.
pub fn report(problems: &[String]) -> String {
    if problems.is_empty() {
        return "ok\n".to_owned();
    }
    problems.iter().fold(String::new(), |mut text, problem| {
        let _ = writeln!(text, "{problem}");
        text
    })
}

/// How long a source may be silent.
fn source_limit(snapshot: &Snapshot, source: &Source) -> f64 {
    let every = source.every.unwrap_or(0.0).max(snapshot.interval);
    let rounds = ROUNDS * every;
    // One that asked for a pause, or whose queues are quiet, is not overdue before its turn.
    match (source.good, source.next, &source.error) {
        (Some(good), Some(next), None) => rounds.max(next - good + every + ROUND),
        _ => rounds,
    }
}

fn silent(
    what: &str,
    id: &str,
    good: Option<f64>,
    limit: f64,
    error: &Option<String>,
    snapshot: &Snapshot,
    now: f64,
) -> Option<String> {
    let since = good.unwrap_or(snapshot.started);
    if now - since <= limit {
        return None;
    }
    let why = error
        .as_deref()
        .unwrap_or("no answer yet")
        .replace(['\r', '\n'], " ");
    let told = match good {
        Some(_) => format!("told nothing since {}", date(since)),
        None => format!("has never told anything since the start at {}", date(since)),
    };
    Some(format!("{what} {id} {told}: {why}"))
}

/// `2026-11-21T22:10:00Z`.
pub fn date(seconds: f64) -> String {
    let time = Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|since| UNIX_EPOCH.checked_add(since))
        .unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, snapshot};
    use super::*;

    fn one_source(good: Option<f64>, error: Option<&str>) -> Snapshot {
        let mut snapshot = snapshot();
        snapshot.backends.clear();
        snapshot.sources.truncate(1);
        let source = &mut snapshot.sources[0];
        source.id = "ci".to_owned();
        source.good = good;
        source.error = error.map(str::to_owned);
        source.next = None;
        snapshot.started = NOW - 3600.0;
        snapshot
    }

    #[test]
    fn a_round_or_two_may_be_missed() {
        let told = one_source(Some(NOW - 29.0), Some("503"));
        assert_eq!(problems(&told, NOW), [""; 0]);
        let silent = problems(&told, NOW + 5.0);
        let [problem] = &silent[..] else {
            panic!("{silent:?}");
        };
        assert!(
            problem.starts_with("source ci told nothing since 20"),
            "{problem}"
        );
        assert!(problem.ends_with("Z: 503"), "{problem}");
        assert_eq!(report(&silent), format!("{problem}\n"));
        assert_eq!(report(&[]), "ok\n");
    }

    #[test]
    fn at_the_start_there_is_time_to_ask() {
        let mut started = one_source(None, None);
        started.started = NOW - 5.0;
        assert_eq!(problems(&started, NOW), [""; 0]);
        let late = problems(&started, NOW + 60.0);
        assert!(late[0].contains("has never told anything"), "{late:?}");
        assert!(late[0].contains("no answer yet"), "{late:?}");
    }

    #[test]
    fn a_source_that_wants_to_be_asked_rarely_is_not_overdue_before_its_turn() {
        let mut rare = one_source(Some(NOW - 100.0), None);
        assert_eq!(problems(&rare, NOW).len(), 1);
        rare.sources[0].every = Some(60.0);
        assert_eq!(problems(&rare, NOW), [""; 0]);
        rare.sources[0].every = None;
        rare.sources[0].next = Some(NOW + 10.0);
        assert_eq!(problems(&rare, NOW), [""; 0]);
        assert_eq!(problems(&rare, NOW + 60.0).len(), 1);
        // Backing off after a failure is no excuse.
        rare.sources[0].error = Some("401".to_owned());
        assert_eq!(problems(&rare, NOW).len(), 1);
    }

    #[test]
    fn a_backend_that_has_nothing_to_do_is_read_once_a_minute() {
        let mut quiet = one_source(Some(NOW), None);
        quiet.backends.push(Backend {
            id: "asg us-east-1".to_owned(),
            good: Some(NOW - 65.0),
            error: Some("AccessDenied:\nno".to_owned()),
            ..Backend::default()
        });
        assert_eq!(problems(&quiet, NOW), [""; 0]);
        quiet.sources[0].good = Some(NOW + 30.0);
        let late = problems(&quiet, NOW + 30.0);
        assert_eq!(late.len(), 1);
        assert!(late[0].starts_with("backend asg us-east-1 told nothing"));
        assert!(late[0].ends_with("AccessDenied: no"), "one line: {late:?}");
    }

    #[test]
    fn dates_are_for_people_and_impossible_ones_do_no_harm() {
        assert_eq!(date(0.0), "1970-01-01T00:00:00Z");
        assert_eq!(date(f64::NAN), "1970-01-01T00:00:00Z");
        assert_eq!(date(-1.0), "1970-01-01T00:00:00Z");
    }
}
