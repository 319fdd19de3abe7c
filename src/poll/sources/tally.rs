//! What the sources have in common that list jobs one by one: which of them count, and how long
//! the oldest has waited.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer};

use crate::config::Time;
use crate::poll::plan::Demand;

/// How long a job must and may have waited to count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ages {
    pub min: Option<Duration>,
    pub max: Option<Duration>,
}

impl Ages {
    /// From the keys `min_age` and `max_age`.
    pub fn new(min: Option<Time>, max: Option<Time>) -> Ages {
        Ages {
            min: min.map(|time| time.0),
            max: max.map(|time| time.0),
        }
    }

    /// For [`crate::poll::source::Spec::server`]: sources that count differently are not shared.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, age) in [("min_age", self.min), ("max_age", self.max)] {
            if let Some(age) = age {
                text.push_str(&format!(" {name} {}", humantime::format_duration(age)));
            }
        }
        text
    }
}

/// Counts the jobs of one queue.
#[derive(Debug, Clone)]
pub struct Tally {
    ages: Ages,
    waiting: u32,
    running: u32,
    oldest: Option<Duration>,
    too_old: u32,
}

impl Tally {
    pub fn new(ages: Ages) -> Tally {
        Tally {
            ages,
            waiting: 0,
            running: 0,
            oldest: None,
            too_old: 0,
        }
    }

    /// A job that nobody runs yet, and how long it has waited. One whose age is not told counts.
    pub fn wait(&mut self, age: Option<Duration>) {
        let is = |limit: Option<Duration>, beyond: fn(&Duration, &Duration) -> bool| {
            age.zip(limit)
                .is_some_and(|(age, limit)| beyond(&age, &limit))
        };
        if is(self.ages.max, Duration::gt) {
            self.too_old += 1;
        } else if !is(self.ages.min, Duration::lt) {
            self.waiting += 1;
            self.oldest = self.oldest.max(age);
        }
    }

    pub fn run(&mut self) {
        self.running += 1;
    }

    pub fn demand(&self) -> Demand {
        Demand {
            waiting: self.waiting,
            running: Some(self.running),
            oldest: self.oldest,
            ..Demand::default()
        }
    }

    /// Jobs that were left out for their age are most often forgotten ones: somebody should look.
    pub fn remark(&self, queue: &str) -> Option<String> {
        let max = self.ages.max.filter(|_| self.too_old > 0)?;
        Some(format!(
            "{queue}: {} that wait longer than max_age = {} do not count",
            self.too_old,
            humantime::format_duration(max)
        ))
    }
}

/// A time of RFC 3339, of any zone.
pub fn moment(text: &str) -> Option<SystemTime> {
    let zone = text
        .len()
        .checked_sub(6)
        .and_then(|at| text.split_at_checked(at));
    let Some((local, zone)) = zone.filter(|(_, zone)| zone.starts_with(['+', '-'])) else {
        return humantime::parse_rfc3339(text).ok();
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let minutes = hours.parse::<u64>().ok()? * 60 + minutes.parse::<u64>().ok()?;
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let offset = Duration::from_secs(minutes * 60);
    match zone.as_bytes()[0] {
        b'+' => local.checked_sub(offset),
        _ => local.checked_add(offset),
    }
}

/// How long ago that was; nothing for what lies ahead, as clocks differ.
pub fn since(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

/// For lists that some servers write as `null` when there is nothing in them.
pub fn or_null<'de, T, D>(input: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// Complains about words of a list that could not be told apart in a queue's text.
pub fn check_words(key: &str, words: &[String]) -> Result<(), String> {
    match words
        .iter()
        .find(|word| word.trim() != word.as_str() || word.is_empty() || word.contains(','))
    {
        Some(word) => Err(format!(
            "{key}: \"{word}\" is empty, or has a comma or outer spaces"
        )),
        None => Ok(()),
    }
}

/// The words of a queue's text or of a tag's value.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// In the one order that makes equal lists equal texts.
pub fn list(words: &[String]) -> String {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.sort_unstable();
    words.dedup();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn jobs_of_the_wrong_age_do_not_wait() {
        let mut tally = Tally::new(Ages {
            min: Some(MINUTE),
            max: Some(10 * MINUTE),
        });
        for age in [0, 59, 60, 600, 601, 9999] {
            tally.wait(Some(Duration::from_secs(age)));
        }
        tally.wait(None);
        let demand = tally.demand();
        assert_eq!((demand.waiting, demand.oldest), (3, Some(10 * MINUTE)));
        assert_eq!(
            tally.remark("linux").as_deref(),
            Some("linux: 2 that wait longer than max_age = 10m do not count")
        );
        assert_eq!(Tally::new(Ages::default()).remark("linux"), None);
    }

    #[test]
    fn the_same_moment_is_read_in_every_zone() {
        let expected = humantime::parse_rfc3339("2015-12-24T15:51:21.802Z").ok();
        for text in [
            "2015-12-24T15:51:21.802Z",
            "2015-12-24T16:51:21.802+01:00",
            "2015-12-24T12:21:21.802-03:30",
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
        for bad in [
            "",
            "now",
            "2015-12-24",
            "2015-12-24T16:51:21+1:00",
            "é+01:00",
            "+aa:bb",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    #[test]
    fn ages_of_what_lies_ahead_are_nothing() {
        let now = SystemTime::UNIX_EPOCH + 10 * MINUTE;
        assert_eq!(since(now - MINUTE, now), MINUTE);
        assert_eq!(since(now + MINUTE, now), Duration::ZERO);
    }

    #[test]
    fn equal_lists_are_equal_texts() {
        let owned = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(list(&owned(&["x64", "linux", "x64"])), "linux,x64");
        assert_eq!(words(" linux, x64 ,").collect::<Vec<_>>(), ["linux", "x64"]);
        assert_eq!(check_words("labels", &owned(&["a b", "c"])), Ok(()));
        for bad in ["", " a", "a,b"] {
            assert!(check_words("labels", &owned(&[bad])).is_err(), "{bad:?}");
        }
    }
}
