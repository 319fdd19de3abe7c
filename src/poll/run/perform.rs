//! What the planner asks for is begun here, as tasks with an end, and what comes of it is told to
//! the planner.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::{Poller, publish};
use crate::clock;
use crate::lifecycle::Instant;
use crate::poll::lease::Lease;
use crate::poll::plan::{
    Action, BackendId, Event, GroupId, Harvest, Hints, Launched, Order, Place, Queue, SourceId,
    Trouble, TroubleKind,
};
use crate::poll::source::{Source, SourceError};
use crate::poll::target::{Described, Found};

/// Sources and targets have limits of their own, and give reasons. This one is for those that
/// fail to keep them.
const AT_MOST: Duration = Duration::from_secs(30);

/// A task has ended.
pub enum Done {
    Fetched {
        source: SourceId,
        seat: Box<dyn Source>,
        asked: Instant,
        told: Result<Harvest, SourceError>,
    },
    Described {
        backend: BackendId,
        groups: Vec<(GroupId, Place)>,
        asked: Instant,
        told: Result<Described, Trouble>,
    },
    Launched {
        order: Order,
        told: Launched,
    },
    Troubles {
        group: GroupId,
        told: Result<Vec<Trouble>, Trouble>,
    },
    Discovered {
        index: usize,
        tag: String,
        asked: Instant,
        told: Result<Vec<Found>, Trouble>,
    },
    /// It is held now.
    Leased(Lease),
}

impl Poller {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Fetch { source, queues } => self.fetch(source, queues),
            Action::Describe { backend, groups } => self.describe(backend, groups),
            Action::Launch(order) => self.launch(order),
            Action::Troubles(group) => self.ask_troubles(group),
            Action::Decided(decision) => self.voice.decided(&decision),
            Action::Report(report) => self.voice.report(&report),
        }
    }

    fn fetch(&mut self, source: SourceId, queues: Vec<Queue>) {
        let seat = self.groups.sources.get_mut(&source);
        let asked = clock::now();
        let Some(mut seat) = seat.and_then(|seat| seat.source.take()) else {
            // It went with its last group, or came back while its last round still runs.
            let told = Err(("it is being asked already".to_owned(), Hints::default()));
            return self.feed(Event::Demand {
                source,
                asked,
                told,
            });
        };
        self.tasks.spawn_local(async move {
            let told = timeout(AT_MOST, seat.read(&queues)).await;
            let late = || format!("no answer in {} s", AT_MOST.as_secs());
            let told = told.unwrap_or_else(|_| Err(SourceError::Unreachable(late())));
            Done::Fetched {
                source,
                seat,
                asked,
                told,
            }
        });
    }

    fn describe(&mut self, backend: BackendId, groups: Vec<GroupId>) {
        let asked = clock::now();
        let place = |id: GroupId| {
            let place = self.groups.get(&id)?.settings.place.clone();
            Some((id, place))
        };
        let groups: Vec<_> = groups.into_iter().filter_map(place).collect();
        let Some(target) = self.groups.backends.get(&backend) else {
            return;
        };
        let target = Rc::clone(&target.target);
        self.tasks.spawn_local(async move {
            let places: Vec<_> = groups.iter().map(|(_, place)| place.clone()).collect();
            let told = timeout(AT_MOST, target.describe(&places)).await;
            Done::Described {
                backend,
                groups,
                asked,
                told: told.unwrap_or_else(|_| Err(late())),
            }
        });
    }

    fn launch(&mut self, order: Order) {
        let Some(group) = self.groups.get(&order.group) else {
            return;
        };
        let settings = &group.settings;
        let Some(backend) = self.groups.backends.get(&settings.backend) else {
            return;
        };
        if self.poll.dry_run {
            self.voice.would_launch(&order);
            let (count, members) = (order.count.get(), Vec::new());
            let told = Launched::Accepted { count, members };
            return self.feed(launched(order, told));
        }
        if self.lease.as_ref().is_some_and(|lease| !lease.still_held()) {
            warn!("poll.lease_lost: another poller may hold it");
            self.feed(launched(order, refused("the lease was lost")));
            self.feed(Event::Leader(false));
            if let Some(lease) = self.lease.take() {
                self.seek_lease(lease);
            }
            return;
        }
        let (target, place) = (Rc::clone(&backend.target), settings.place.clone());
        self.voice.sent();
        self.tasks.spawn_local(async move {
            let told = timeout(AT_MOST, target.launch(&place, &order)).await;
            let told = told.unwrap_or_else(|_| Launched::Unknown(late().message));
            Done::Launched { order, told }
        });
    }

    fn ask_troubles(&mut self, group: GroupId) {
        let Some(known) = self.groups.get(&group) else {
            return;
        };
        let settings = &known.settings;
        let Some(backend) = self.groups.backends.get(&settings.backend) else {
            return;
        };
        let (target, place) = (Rc::clone(&backend.target), settings.place.clone());
        self.tasks.spawn_local(async move {
            let told = timeout(AT_MOST, target.troubles(&place)).await;
            Done::Troubles {
                group,
                told: told.unwrap_or_else(|_| Err(late())),
            }
        });
    }

    /// Waits for it, for as long as it takes.
    pub(super) fn seek_lease(&mut self, mut lease: Lease) {
        self.seeking = true;
        self.tasks.spawn_local(async move {
            lease.acquire().await;
            Done::Leased(lease)
        });
    }

    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Fetched {
                source,
                seat,
                asked,
                told,
            } => self.fetched(source, seat, asked, told),
            Done::Described {
                backend,
                groups,
                asked,
                told,
            } => self.described(&backend, groups, asked, told),
            Done::Launched { order, told } => {
                self.voice.launched(&order, &told);
                self.feed(launched(order, told));
            }
            Done::Troubles { group, told } => {
                let told = told.map_err(|trouble| trouble.message);
                self.feed(Event::Troubles { group, told });
            }
            Done::Discovered {
                index,
                tag,
                asked,
                told,
            } => self.discovered(index, &tag, asked, told),
            Done::Leased(lease) => {
                self.lease = Some(lease);
                self.seeking = false;
                self.feed(Event::Leader(true));
            }
        }
    }

    fn fetched(
        &mut self,
        source: SourceId,
        seat: Box<dyn Source>,
        asked: Instant,
        told: Result<Harvest, SourceError>,
    ) {
        let Some(known) = self.groups.sources.get_mut(&source) else {
            // Its last group went meanwhile.
            return;
        };
        known.source = Some(seat);
        known.took = Some(clock::now().since(asked));
        let error = told.as_ref().err().map(ToString::to_string);
        let now = publish::since_1970().as_secs_f64();
        if known.told.take(now, error.clone()) {
            self.voice.source(&source, error.as_deref());
        }
        let told = match told {
            Ok(harvest) => {
                for (queue, told) in &harvest.demands {
                    let error = told.as_ref().err().map(String::as_str);
                    self.voice
                        .one(|| format!("queue {queue} of {source}"), error);
                }
                self.voice
                    .remarks(&source, &known.remarks, &harvest.remarks);
                known.remarks.clone_from(&harvest.remarks);
                Ok(harvest)
            }
            Err(error) => Err((error.to_string(), error.hints())),
        };
        self.feed(Event::Demand {
            source,
            asked,
            told,
        });
    }

    fn described(
        &mut self,
        backend: &BackendId,
        groups: Vec<(GroupId, Place)>,
        asked: Instant,
        told: Result<Described, Trouble>,
    ) {
        let error = told.as_ref().err().map(|trouble| trouble.message.clone());
        if let Some(known) = self.groups.backends.get_mut(backend) {
            let now = publish::since_1970().as_secs_f64();
            if known.told.take(now, error.clone()) {
                self.voice.backend(backend, error.as_deref());
            }
        }
        let mut described = told.unwrap_or_default();
        let mut tell = |place: &Place| match (described.remove(place), &error) {
            (Some(told), _) => told,
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err("the answer does not have it".to_owned()),
        };
        let groups = groups.into_iter();
        let told: Vec<_> = groups.map(|(id, place)| (id, tell(&place))).collect();
        if error.is_none() {
            for (id, told) in &told {
                let error = told.as_ref().err().map(String::as_str);
                self.voice.one(|| format!("group {id}"), error);
            }
        }
        self.feed(Event::Supply { asked, told });
    }
}

fn launched(order: Order, told: Launched) -> Event {
    Event::Launched {
        group: order.group,
        token: order.token,
        told,
    }
}

fn refused(why: &str) -> Launched {
    Launched::Refused(Trouble {
        kind: TroubleKind::Conflict,
        scope: String::new(),
        message: why.to_owned(),
    })
}

fn late() -> Trouble {
    Trouble {
        kind: TroubleKind::Other,
        scope: String::new(),
        message: format!("no answer in {} s", AT_MOST.as_secs()),
    }
}
