//! What the status page, the metrics and `--explain` see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Poller;
use super::groups::{Backend, Seat};
use crate::clock;
use crate::lifecycle::Instant;
use crate::poll::config::Group;
use crate::poll::plan::{BackendId, BreakerView, Place, SourceId};
use crate::poll::snapshot::{self, Snapshot};

/// Nobody looks more often, and thousands of groups are copied each time.
const EVERY: Duration = Duration::from_secs(1);

/// The wall clock, which may jump: for people and tokens only.
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Some backends have one place, and are called like it.
fn target(backend: &BackendId, place: &Place) -> String {
    if backend.as_str().ends_with(place.as_str()) {
        backend.to_string()
    } else {
        format!("{backend} {place}")
    }
}

impl Poller {
    /// When the next snapshot is due; `None`: nothing has changed, or nobody listens.
    pub(super) fn publish_at(&self) -> Option<Instant> {
        (self.changed && self.news.receiver_count() > 0).then(|| self.published.after(EVERY))
    }

    pub(super) fn publish(&mut self) {
        let now = clock::now();
        if self.publish_at().is_some_and(|due| due <= now) {
            self.published = now;
            self.changed = false;
            self.news.send_replace(Arc::new(self.snapshot(now)));
        }
    }
}

impl Poller {
    fn snapshot(&self, now: Instant) -> Snapshot {
        let wall = since_1970().as_secs_f64();
        let groups: Vec<_> = self
            .groups
            .iter()
            .map(|group| self.group(group, now, wall))
            .collect();
        let occupied = |group: &snapshot::Group| group.desired.max(group.alive).unwrap_or(0);
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            now: wall,
            interval: self.poll.interval.as_secs_f64(),
            dry_run: self.poll.dry_run,
            leader: !self.seeking,
            instances: groups.iter().map(occupied).fold(0, u32::saturating_add),
            max_instances: self.poll.max_instances,
            groups,
            sources: self.sources(now, wall),
            backends: self.backends(),
        }
    }

    fn group(&self, group: &Group, now: Instant, wall: f64) -> snapshot::Group {
        let settings = &group.settings;
        let shown = snapshot::Group {
            id: settings.id.to_string(),
            target: target(&settings.backend, &settings.place),
            source: settings
                .queue
                .as_ref()
                .map(|(source, _)| source.to_string()),
            queue: settings.queue.as_ref().map(|(_, queue)| queue.to_string()),
            discovered: group.tag.is_some(),
            fallback: settings.fallback.as_ref().map(ToString::to_string),
            slots: settings.slots.get(),
            headroom: settings.headroom,
            ..snapshot::Group::default()
        };
        let Some(view) = self.planner.view(&settings.id) else {
            return shown;
        };
        let seconds = |time: Duration| time.as_secs_f64();
        let past = |at: Instant| wall - now.since(at).as_secs_f64();
        let supply = view.supply;
        let decided = view.decision.as_ref();
        snapshot::Group {
            waiting: view.waiting,
            running: view.running,
            oldest: view.oldest.map(seconds),
            desired: supply.map(|supply| supply.desired),
            alive: supply.map(|supply| supply.alive),
            booting: supply.map(|supply| supply.booting),
            stale: supply.map(|supply| supply.stale),
            max: view.max,
            boot_deadline: seconds(view.boot_deadline),
            boot_p50: view.boot_p50.map(seconds),
            boot_p95: view.boot_p95.map(seconds),
            breaker: match view.breaker {
                BreakerView::Closed => snapshot::Breaker::Closed,
                BreakerView::Open { why, until } => snapshot::Breaker::Open {
                    why,
                    until: wall + until.since(now).as_secs_f64(),
                },
                BreakerView::HalfOpen { why } => snapshot::Breaker::HalfOpen { why },
            },
            decision: decided.map(ToString::to_string),
            decided: decided.map(|decision| past(decision.at)),
            unknown: view.unknown,
            launched_total: view.totals.launched,
            launch_errors_total: {
                let errors = view.totals.launch_errors.into_iter();
                errors
                    .map(|(kind, count)| (kind.to_owned(), count))
                    .collect()
            },
            decisions_total: view.totals.decisions,
            boot_failures_total: view.totals.boot_failures,
            ..shown
        }
    }

    fn sources(&self, now: Instant, wall: f64) -> Vec<snapshot::Source> {
        let mut queues: BTreeMap<&SourceId, usize> = BTreeMap::new();
        for (source, _) in self
            .groups
            .iter()
            .filter_map(|group| group.settings.queue.as_ref())
        {
            *queues.entry(source).or_default() += 1;
        }
        let shown = |(id, seat): (&SourceId, &Seat)| {
            let pace = self.planner.source(id);
            snapshot::Source {
                id: id.to_string(),
                kind: seat.kind.to_owned(),
                queues: queues.get(id).copied().unwrap_or_default(),
                good: seat.told.good,
                error: seat.told.error.clone(),
                remarks: seat.remarks.clone(),
                fetches_total: seat.told.asked_total,
                errors_total: seat.told.errors_total,
                took: seat.took.map(|took| took.as_secs_f64()),
                next: pace.map(|pace| wall + pace.next.since(now).as_secs_f64()),
                every: pace
                    .and_then(|pace| pace.every)
                    .map(|every| every.as_secs_f64()),
            }
        };
        self.groups.sources.iter().map(shown).collect()
    }

    fn backends(&self) -> Vec<snapshot::Backend> {
        let shown = |(id, backend): (&BackendId, &Backend)| snapshot::Backend {
            id: id.to_string(),
            kind: backend.kind.to_owned(),
            good: backend.told.good,
            error: backend.told.error.clone(),
            calls_total: {
                let calls = backend.target.calls().into_iter();
                calls
                    .map(|(call, count)| (call.to_owned(), count))
                    .collect()
            },
            errors_total: backend.told.errors_total,
        };
        self.groups.backends.iter().map(shown).collect()
    }
}
