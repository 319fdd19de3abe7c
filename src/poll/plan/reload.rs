//! New settings: what is known of groups and sources that stay is kept.

use std::collections::BTreeMap;

use crate::lifecycle::Instant;

use super::chain::Chain;
use super::group::Group;
use super::pace::{FIRST, Pace};
use super::words::{BackendId, GroupId, GroupSettings, Queue, Settings, SourceId};
use super::{Backend, Planner, Source};

impl Planner {
    pub(super) fn load(&mut self, now: Instant, settings: Settings) {
        self.interval = settings.interval;
        self.max_instances = settings.max_instances;
        self.load_groups(now, settings.groups);
        self.load_backends(now);
        self.load_chains();
        self.load_sources(now, &settings.one_by_one);
    }

    /// Of two groups with the same name the first counts.
    fn load_groups(&mut self, now: Instant, settings: Vec<GroupSettings>) {
        let wall = self.wall(now);
        let mut old: BTreeMap<GroupId, Group> = std::mem::take(&mut self.groups)
            .into_iter()
            .map(|group| (group.settings.id.clone(), group))
            .collect();
        self.group_of.clear();
        for settings in settings {
            if self.group_of.contains_key(&settings.id) {
                continue;
            }
            self.group_of.insert(settings.id.clone(), self.groups.len());
            let group = match old.remove(&settings.id) {
                Some(mut group) if group.is_at(&settings) => {
                    group.adopt(settings);
                    group
                }
                _ => Group::new(settings, wall),
            };
            self.groups.push(group);
        }
    }

    fn load_backends(&mut self, now: Instant) {
        let sweeps: BTreeMap<BackendId, Instant> = self
            .backends
            .drain(..)
            .map(|backend| (backend.id, backend.sweep))
            .collect();
        let mut index_of: BTreeMap<BackendId, usize> = BTreeMap::new();
        for (index, group) in self.groups.iter_mut().enumerate() {
            let id = &group.settings.backend;
            group.backend = *index_of.entry(id.clone()).or_insert_with(|| {
                self.backends.push(Backend {
                    id: id.clone(),
                    groups: Vec::new(),
                    sweep: sweeps.get(id).copied().unwrap_or(now),
                });
                self.backends.len() - 1
            });
            let backend = &mut self.backends[group.backend];
            backend.groups.push(index);
            if group.told.is_none() {
                backend.sweep = now;
            }
        }
    }

    /// A chain ends where it would go on with a group that nobody knows, that has a queue of its
    /// own, or that is in a chain already. Groups that serve the same queue are one chain: each
    /// alone would launch for all of its jobs.
    fn load_chains(&mut self) {
        let mut old: BTreeMap<(SourceId, Queue), Chain> = std::mem::take(&mut self.chains)
            .into_iter()
            .map(|chain| ((chain.source.clone(), chain.queue.clone()), chain))
            .collect();
        for group in &mut self.groups {
            group.chain = None;
        }
        let mut of_queue: BTreeMap<(SourceId, Queue), usize> = BTreeMap::new();
        for head in 0..self.groups.len() {
            let Some(key) = self.groups[head].settings.queue.clone() else {
                continue;
            };
            let index = *of_queue.entry(key.clone()).or_insert_with(|| {
                let mut chain = old.remove(&key).unwrap_or_else(|| Chain::new(key.0, key.1));
                chain.reload();
                self.chains.push(chain);
                self.chains.len() - 1
            });
            let mut next = Some(head);
            while let Some(member) = next {
                self.groups[member].chain = Some(index);
                self.chains[index].groups.push(member);
                next = self.groups[member]
                    .settings
                    .fallback
                    .as_ref()
                    .and_then(|fallback| self.group_of.get(fallback).copied())
                    .filter(|&fallback| {
                        let fallback = &self.groups[fallback];
                        fallback.chain.is_none() && fallback.settings.queue.is_none()
                    });
            }
        }
    }

    fn load_sources(&mut self, now: Instant, one_by_one: &[SourceId]) {
        let mut old: BTreeMap<SourceId, Source> = std::mem::take(&mut self.sources)
            .into_iter()
            .map(|source| (source.id.clone(), source))
            .collect();
        let mut chains: BTreeMap<SourceId, BTreeMap<Queue, usize>> = BTreeMap::new();
        for (index, chain) in self.chains.iter().enumerate() {
            let of_source = chains.entry(chain.source.clone()).or_default();
            of_source.insert(chain.queue.clone(), index);
        }
        let alone = chains.len() == 1;
        self.source_of.clear();
        for (id, chains) in chains {
            let mut source = old.remove(&id).unwrap_or_else(|| Source {
                id: id.clone(),
                pace: Pace::new(now, id.as_str(), self.interval, alone),
                one_by_one: false,
                fetching: false,
                settled: false,
                chains: BTreeMap::new(),
            });
            if chains
                .keys()
                .any(|queue| !source.chains.contains_key(queue))
            {
                source.pace.hurry(now.after(FIRST.min(self.interval)));
            }
            source.one_by_one = one_by_one.contains(&id);
            source.settled = false;
            source.chains = chains;
            self.source_of.insert(id, self.sources.len());
            self.sources.push(source);
        }
    }
}
