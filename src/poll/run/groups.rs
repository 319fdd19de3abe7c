//! The groups there are, and the sources and backends that they share.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::poll::config::{Group, Poll};
use crate::poll::http::Http;
use crate::poll::plan::{BackendId, GroupId, Place, Settings, SourceId};
use crate::poll::source::{Source, Spec as _};
use crate::poll::target::{Spec as _, Target};

pub struct Groups {
    http: Http,
    groups: BTreeMap<GroupId, Group>,
    places: BTreeMap<(BackendId, Place), GroupId>,
    pub sources: BTreeMap<SourceId, Seat>,
    pub backends: BTreeMap<BackendId, Backend>,
}

/// A source, and what became of asking it.
pub struct Seat {
    /// `None` while it is being asked.
    pub source: Option<Box<dyn Source>>,
    pub kind: &'static str,
    pub bulk: bool,
    pub told: Told,
    pub remarks: Vec<String>,
    /// How long the last round took.
    pub took: Option<Duration>,
}

pub struct Backend {
    pub target: Rc<dyn Target>,
    pub kind: &'static str,
    pub told: Told,
}

/// How something that is asked again and again has answered. Times are seconds since 1970.
#[derive(Default)]
pub struct Told {
    pub good: Option<f64>,
    pub error: Option<String>,
    pub asked_total: u64,
    pub errors_total: u64,
}

impl Groups {
    pub fn new(poll: &Poll, http: Http) -> Groups {
        let mut groups = Groups {
            http,
            groups: BTreeMap::new(),
            places: BTreeMap::new(),
            sources: BTreeMap::new(),
            backends: BTreeMap::new(),
        };
        groups.arrange(poll, std::iter::empty());
        groups
    }

    /// The configured groups, and those that were found and are not among them. Sources and
    /// backends that stay keep what they have: connections, caches, tokens.
    pub fn arrange<'a>(&mut self, poll: &'a Poll, found: impl Iterator<Item = &'a Group>) {
        let mut groups = BTreeMap::new();
        self.places.clear();
        for group in poll.groups.iter().chain(found) {
            let mut group = group.clone();
            let settings = &mut group.settings;
            let here = (settings.backend.clone(), settings.place.clone());
            if self.places.contains_key(&here) {
                continue;
            }
            if groups.contains_key(&settings.id) {
                // The same name in two regions.
                let (place, backend) = (&settings.place, &settings.backend);
                settings.id = GroupId::new(format!("{place} ({backend})"));
            }
            self.places.insert(here, settings.id.clone());
            groups.insert(settings.id.clone(), group);
        }
        self.groups = groups;
        self.open();
    }

    fn open(&mut self) {
        let (mut sources, mut backends) = (BTreeMap::new(), BTreeMap::new());
        for group in self.groups.values() {
            if let (Some((id, _)), Some(spec)) = (&group.settings.queue, &group.source) {
                let kept = self.sources.remove(id);
                let seat = || Seat::new(spec.kind(), spec.open(&self.http));
                sources
                    .entry(id.clone())
                    .or_insert_with(|| kept.unwrap_or_else(seat));
            }
            let id = &group.settings.backend;
            let kept = self.backends.remove(id);
            let new = || Backend {
                target: group.target.open().into(),
                kind: group.target.kind(),
                told: Told::default(),
            };
            let backend = backends
                .entry(id.clone())
                .or_insert_with(|| kept.unwrap_or_else(new));
            let backend: &mut Backend = backend;
            backend.target.adopt(&group.target);
        }
        self.sources = sources;
        self.backends = backends;
    }

    pub fn settings(&self, poll: &Poll) -> Settings {
        let one_by_one = self.sources.iter().filter(|(_, seat)| !seat.bulk);
        Settings {
            interval: poll.interval,
            max_instances: poll.max_instances,
            groups: self
                .groups
                .values()
                .map(|group| group.settings.clone())
                .collect(),
            one_by_one: one_by_one.map(|(id, _)| id.clone()).collect(),
        }
    }

    pub fn get(&self, id: &GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// The group at a place, if it is one of ours.
    pub fn at(&self, backend: &BackendId, place: &Place) -> Option<&GroupId> {
        self.places.get(&(backend.clone(), place.clone()))
    }
}

impl Seat {
    fn new(kind: &'static str, source: Box<dyn Source>) -> Seat {
        Seat {
            bulk: source.bulk(),
            source: Some(source),
            kind,
            told: Told::default(),
            remarks: Vec::new(),
            took: None,
        }
    }
}

impl Told {
    /// Takes one answer in. Whether it is news: an episode of failure began, or ended.
    pub fn take(&mut self, now: f64, error: Option<String>) -> bool {
        self.asked_total += 1;
        let news = self.error.is_some() != error.is_some();
        match &error {
            Some(_) => self.errors_total += 1,
            None => self.good = Some(now),
        }
        self.error = error;
        news
    }
}
