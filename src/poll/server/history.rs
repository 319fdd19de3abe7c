//! What the status page draws: the last minutes, hour and day, in memory of a fixed size.
//!
//! A value holds until the next one is recorded, so nothing needs to wake up for a sample. A
//! sample is the most of what held during its step: a short queue shows in the chart of a day.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::poll::snapshot::Snapshot;

/// With more groups than this only the sums are kept.
pub const MOST_GROUPS: usize = 32;
/// Seconds. Who was silent for longer was asleep: nobody knows what held meanwhile.
const HOLD: f64 = 300.0;

/// How far back one looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Span {
    Minutes,
    #[default]
    Hour,
    Day,
}

impl Span {
    pub const ALL: [Span; 3] = [Span::Minutes, Span::Hour, Span::Day];

    pub fn named(name: &str) -> Option<Span> {
        Span::ALL.into_iter().find(|span| span.name() == name)
    }

    /// In links, and for people.
    pub fn name(self) -> &'static str {
        match self {
            Span::Minutes => "10m",
            Span::Hour => "1h",
            Span::Day => "24h",
        }
    }

    /// Seconds that one sample stands for.
    pub fn step(self) -> u32 {
        match self {
            Span::Minutes => 2,
            Span::Hour => 10,
            Span::Day => 240,
        }
    }

    /// How many samples are kept.
    pub fn samples(self) -> usize {
        match self {
            Span::Minutes => 300,
            Span::Hour | Span::Day => 360,
        }
    }

    /// The number of the step that a time is in, counted from 1970.
    fn slot(self, now: f64) -> i64 {
        // A clock that is not set yet is at worst in 1970; `as` saturates.
        (now / f64::from(self.step())).floor() as i64
    }
}

/// What is drawn. `None`: unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sample {
    pub waiting: Option<u32>,
    pub running: Option<u32>,
    pub alive: Option<u32>,
}

impl Sample {
    fn most(self, other: Sample) -> Sample {
        // `None` is less than any number.
        Sample {
            waiting: self.waiting.max(other.waiting),
            running: self.running.max(other.running),
            alive: self.alive.max(other.alive),
        }
    }
}

#[derive(Debug, Default)]
pub struct History {
    all: Track,
    groups: BTreeMap<String, Track>,
}

impl History {
    /// `now` in seconds since 1970.
    pub fn record(&mut self, now: f64, snapshot: &Snapshot) {
        let all = Sample {
            waiting: snapshot.waiting(),
            running: snapshot.running(),
            alive: snapshot.alive(),
        };
        self.all.record(now, all);
        if snapshot.groups.len() > MOST_GROUPS {
            self.groups.clear();
            return;
        }
        self.groups.retain(|id, _| snapshot.group(id).is_some());
        for group in &snapshot.groups {
            let sample = Sample {
                waiting: group.waiting,
                running: group.running,
                alive: group.alive,
            };
            let track = self.groups.entry(group.id.clone()).or_default();
            track.record(now, sample);
        }
    }

    /// The sums of all groups, oldest first; the last sample is of now. Empty at the start.
    pub fn all(&self, span: Span, now: f64) -> Vec<Sample> {
        self.all.samples(span, now)
    }

    /// As [`History::all`]; empty where groups are too many to be kept.
    pub fn group(&self, id: &str, span: Span, now: f64) -> Vec<Sample> {
        let track = self.groups.get(id);
        track.map_or_else(Vec::new, |track| track.samples(span, now))
    }

    /// `/history.json`.
    pub fn report(&self, span: Span, now: f64) -> Report {
        Report {
            span: span.name(),
            step: span.step(),
            now,
            all: self.all(span, now),
            groups: (self.groups.keys())
                .map(|id| (id.clone(), self.group(id, span, now)))
                .collect(),
        }
    }
}

/// The last sample of each list is of `now`, each one before it `step` seconds older.
#[derive(Debug, Serialize)]
pub struct Report {
    span: &'static str,
    step: u32,
    now: f64,
    all: Vec<Sample>,
    groups: BTreeMap<String, Vec<Sample>>,
}

/// One line of numbers, at three resolutions.
#[derive(Debug, Default)]
struct Track {
    rings: [VecDeque<Sample>; Span::ALL.len()],
    last: Option<(f64, Sample)>,
}

impl Track {
    fn record(&mut self, now: f64, sample: Sample) {
        let back = self.last.is_some_and(|(then, _)| now < then - HOLD);
        if back {
            // The clock was set back: what is kept is of no known time.
            *self = Track::default();
        }
        for (ring, span) in self.rings.iter_mut().zip(Span::ALL) {
            let (missed, held) = missed(self.last, span, now);
            for _ in 0..missed {
                push(ring, span, held);
            }
            match ring.back_mut() {
                Some(newest) => *newest = newest.most(sample),
                None => push(ring, span, sample),
            }
        }
        self.last = Some((now, sample));
    }

    fn samples(&self, span: Span, now: f64) -> Vec<Sample> {
        let ring = Span::ALL.iter().position(|other| *other == span);
        let Some(ring) = ring.and_then(|index| self.rings.get(index)) else {
            return Vec::new();
        };
        let (missed, held) = missed(self.last, span, now);
        let mut samples: Vec<Sample> = ring.iter().copied().collect();
        samples.extend(std::iter::repeat_n(held, missed));
        samples.split_off(samples.len().saturating_sub(span.samples()))
    }
}

/// How many steps have begun since `last`, at most as many as are kept, and what held in them.
fn missed(last: Option<(f64, Sample)>, span: Span, now: f64) -> (usize, Sample) {
    let Some((then, sample)) = last else {
        return (0, Sample::default());
    };
    let slots = span.slot(now).saturating_sub(span.slot(then));
    let slots = usize::try_from(slots).unwrap_or(0).min(span.samples());
    let held = if now - then > HOLD {
        Sample::default()
    } else {
        sample
    };
    (slots, held)
}

fn push(ring: &mut VecDeque<Sample>, span: Span, sample: Sample) {
    if ring.len() == span.samples() {
        ring.pop_front();
    }
    ring.push_back(sample);
}

#[cfg(test)]
mod tests {
    use super::super::testing::group;
    use super::*;

    const NOW: f64 = 1_700_000_000.0;

    fn waiting(jobs: u32) -> Snapshot {
        let mut group = group("a");
        group.waiting = Some(jobs);
        Snapshot {
            groups: vec![group],
            ..Snapshot::default()
        }
    }

    fn drawn(samples: &[Sample]) -> Vec<Option<u32>> {
        samples.iter().map(|sample| sample.waiting).collect()
    }

    #[test]
    fn nothing_is_drawn_before_anything_was_recorded() {
        assert!(History::default().all(Span::Hour, NOW).is_empty());
    }

    #[test]
    fn a_value_holds_until_the_next_one() {
        let mut history = History::default();
        history.record(NOW, &waiting(3));
        history.record(NOW + 30.0, &waiting(0));
        let samples = history.all(Span::Hour, NOW + 50.0);
        assert_eq!(
            drawn(&samples),
            [Some(3), Some(3), Some(3), Some(3), Some(0), Some(0)]
        );
        assert_eq!(samples, history.group("a", Span::Hour, NOW + 50.0));
    }

    #[test]
    fn a_short_queue_shows_in_the_chart_of_a_day() {
        let mut history = History::default();
        let start = (NOW / 240.0).floor() * 240.0;
        for (after, jobs) in [(1.0, 0), (2.0, 9), (3.0, 0), (300.0, 0)] {
            history.record(start + after, &waiting(jobs));
        }
        assert_eq!(
            drawn(&history.all(Span::Day, start + 300.0)),
            [Some(9), Some(0)]
        );
    }

    #[test]
    fn memory_is_bounded_however_long_it_runs() {
        let mut history = History::default();
        for step in 0..100_000 {
            history.record(NOW + f64::from(step) * 7.0, &waiting(step));
        }
        let now = NOW + 700_000.0;
        for span in Span::ALL {
            assert_eq!(history.all(span, now).len(), span.samples());
        }
    }

    #[test]
    fn what_nobody_saw_is_a_gap() {
        let mut history = History::default();
        history.record(NOW, &waiting(3));
        history.record(NOW + 3000.0, &waiting(4));
        let samples = drawn(&history.all(Span::Hour, NOW + 3000.0));
        assert_eq!(samples.first(), Some(&Some(3)));
        assert_eq!(samples.last(), Some(&Some(4)));
        assert!(samples[1..samples.len() - 1].iter().all(Option::is_none));
    }

    #[test]
    fn a_clock_that_is_set_back_starts_anew() {
        let mut history = History::default();
        history.record(NOW, &waiting(3));
        history.record(NOW - 86_400.0, &waiting(4));
        assert_eq!(drawn(&history.all(Span::Hour, NOW - 86_400.0)), [Some(4)]);
    }

    #[test]
    fn of_many_groups_only_the_sum_is_kept() {
        let mut history = History::default();
        let groups = (0..=MOST_GROUPS).map(|id| group(&id.to_string()));
        let mut snapshot = Snapshot {
            groups: groups.collect(),
            ..Snapshot::default()
        };
        history.record(NOW, &snapshot);
        assert!(history.group("0", Span::Hour, NOW).is_empty());
        assert_eq!(history.all(Span::Hour, NOW).len(), 1);
        snapshot.groups.pop();
        history.record(NOW, &snapshot);
        assert_eq!(history.group("0", Span::Hour, NOW).len(), 1);
        snapshot.groups.clear();
        history.record(NOW, &snapshot);
        assert!(history.group("0", Span::Hour, NOW).is_empty());
    }
}
