//! Groups that are found by their tags come and go without a restart.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use super::Poller;
use super::perform::Done;
use crate::lifecycle::Instant;
use crate::poll::config::{Discover, Group, Poll};
use crate::poll::plan::{Event, GroupId, Place, Trouble};
use crate::poll::target::{Found, Spec as _, Target};

/// Just below the time after which the planner reads a group again by itself: what is found is
/// read on the way.
const EVERY: Duration = Duration::from_secs(55);

pub struct Discovery {
    searches: Vec<Search>,
}

struct Search {
    discover: Discover,
    target: Rc<dyn Target>,
    /// What it found last; `None`: nobody knows yet.
    found: Option<BTreeMap<Place, Group>>,
    due: Instant,
    asking: bool,
    failed: bool,
    ended: bool,
}

impl Discovery {
    pub fn new(poll: &Poll) -> Discovery {
        let mut discovery = Discovery {
            searches: Vec::new(),
        };
        discovery.reload(poll);
        discovery
    }

    /// What was found before counts until it is looked for again, which is at once.
    pub fn reload(&mut self, poll: &Poll) {
        let mut before: Vec<_> = std::mem::take(&mut self.searches);
        let searches = poll.discover.iter().map(|discover| {
            let same = |search: &Search| {
                search.discover.tag == discover.tag
                    && search.discover.target().backend() == discover.target().backend()
            };
            let kept = before.iter().position(same).map(|at| before.remove(at));
            let found = kept.and_then(|search| search.found);
            let again = |(place, group): (Place, Group)| {
                let tag = group.tag.clone()?;
                Some((place.clone(), discover.group(&place, &tag)?))
            };
            Search {
                found: found.map(|found| found.into_iter().filter_map(again).collect()),
                target: discover.target().open().into(),
                discover: discover.clone(),
                due: Instant(Duration::ZERO),
                asking: false,
                failed: false,
                ended: false,
            }
        });
        self.searches = searches.collect();
    }

    pub fn next(&self) -> Option<Instant> {
        let waiting = self.searches.iter().filter(|search| !search.asking);
        waiting.map(|search| search.due).min()
    }

    /// Each search has ended at least once.
    pub fn complete(&self) -> bool {
        self.searches.iter().all(|search| search.ended)
    }

    pub fn found(&self) -> impl Iterator<Item = &Group> {
        let found = self
            .searches
            .iter()
            .filter_map(|search| search.found.as_ref());
        found.flat_map(BTreeMap::values)
    }
}

impl Poller {
    /// Begins the searches that are due.
    pub(super) fn look_for_groups(&mut self, now: Instant) {
        for (index, search) in self.discovery.searches.iter_mut().enumerate() {
            if search.asking || search.due > now {
                continue;
            }
            search.asking = true;
            search.due = now.after(EVERY);
            let target = Rc::clone(&search.target);
            let tag = search.discover.tag.clone();
            self.tasks.spawn_local(async move {
                let told = target.discover(&tag).await;
                Done::Discovered {
                    index,
                    tag,
                    asked: now,
                    told,
                }
            });
        }
    }

    pub(super) fn discovered(
        &mut self,
        index: usize,
        tag: &str,
        asked: Instant,
        told: Result<Vec<Found>, Trouble>,
    ) {
        // A reload may have changed what is looked for meanwhile.
        let search = self.discovery.searches.get_mut(index);
        let Some(search) = search.filter(|search| search.asking && search.discover.tag == tag)
        else {
            return;
        };
        search.asking = false;
        search.ended = true;
        let found = match told {
            Ok(found) => found,
            Err(trouble) => {
                if !search.failed {
                    let error = &trouble.message;
                    warn!(tag, error, "discover.failed: what was found before stays");
                }
                search.failed = true;
                self.voice.failed();
                return;
            }
        };
        search.failed = false;
        let mut supplies = Vec::new();
        let mut groups = BTreeMap::new();
        for Found {
            place,
            value,
            supply,
        } in found
        {
            if let Some(group) = search.discover.group(&place, &value) {
                groups.insert(place.clone(), group);
                supplies.push((place, supply));
            }
        }
        let before = search.found.take().unwrap_or_default();
        let settings = |groups: &BTreeMap<Place, Group>| -> Vec<_> {
            groups
                .values()
                .map(|group| group.settings.clone())
                .collect()
        };
        let changed = settings(&before) != settings(&groups);
        for place in groups.keys().filter(|place| !before.contains_key(place)) {
            info!(tag, group = %place, "group.found");
        }
        for place in before.keys().filter(|place| !groups.contains_key(place)) {
            info!(tag, group = %place, "group.gone");
        }
        search.found = Some(groups);
        let backend = search.discover.target().backend();
        if changed {
            self.regroup();
        }
        let known = supplies.into_iter().filter_map(|(place, supply)| {
            let id: GroupId = self.groups.at(&backend, &place)?.clone();
            Some((id, Ok(supply)))
        });
        let told = known.collect();
        self.feed(Event::Supply { asked, told });
    }
}
