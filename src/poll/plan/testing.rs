//! A world that answers the planner at once: what a test says of queues and groups is true, and
//! orders do what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::lifecycle::Instant;

use super::{
    Action, BackendId, BootBounds, Decision, Demand, Event, GroupId, GroupSettings, GroupView,
    Harvest, Hints, Launched, Listed, Member, Order, Place, Planner, Queue, Report, Round,
    Settings, SourceId, Stage, Supply, Trouble, TroubleKind,
};

pub const INTERVAL: Duration = Duration::from_secs(10);
pub const WALL: Duration = Duration::from_secs(1_700_000_000);

/// A group on backend `aws`, with queue and source `ci`, or nobody's where `queue` is empty.
pub fn group(id: &str, queue: &str) -> GroupSettings {
    GroupSettings {
        id: GroupId::new(id),
        backend: BackendId::new("aws"),
        place: Place::new(id),
        queue: (!queue.is_empty()).then(|| (SourceId::new("ci"), Queue::new(queue))),
        fallback: None,
        slots: NonZeroU32::MIN,
        max: Some(100),
        headroom: 0,
        step: None,
        round: Round::UP,
        boot: BootBounds {
            least: Duration::from_secs(60),
            most: Duration::from_secs(600),
        },
    }
}

pub fn settings(groups: impl IntoIterator<Item = GroupSettings>) -> Settings {
    Settings {
        interval: INTERVAL,
        max_instances: None,
        groups: groups.into_iter().collect(),
        one_by_one: Vec::new(),
    }
}

pub fn slots(slots: u32) -> NonZeroU32 {
    NonZeroU32::new(slots).expect("a test has slots")
}

/// So many wait, so many run.
pub fn jobs(waiting: u32, running: u32) -> Demand {
    Demand {
        waiting,
        running: Some(running),
        ..Demand::default()
    }
}

/// Members of one stage, named `PREFIX0` and so on.
pub fn members(prefix: &str, count: u32, stage: Stage) -> Vec<Listed> {
    let member = |index| Listed {
        member: Member::new(format!("{prefix}{index}")),
        stage,
    };
    (0..count).map(member).collect()
}

/// A group with so many desired, and these.
pub fn supply(desired: u32, members: impl IntoIterator<Item = Vec<Listed>>) -> Supply {
    Supply {
        desired,
        max: None,
        members: members.into_iter().flatten().collect(),
        held: None,
    }
}

pub fn up(count: u32) -> Supply {
    supply(count, [members("up", count, Stage::Up)])
}

pub fn trouble(kind: TroubleKind) -> Trouble {
    Trouble {
        kind,
        scope: String::new(),
        message: format!("{kind:?}"),
    }
}

/// What the next order is answered; without one it is accepted, and `desired` rises.
type Answer = Box<dyn FnOnce(&Order) -> Launched>;

pub struct Bench {
    pub planner: Planner,
    pub now: Instant,
    pub queues: BTreeMap<Queue, Result<Demand, String>>,
    pub hints: Hints,
    pub groups: BTreeMap<GroupId, Result<Supply, String>>,
    pub troubles: BTreeMap<GroupId, Vec<Trouble>>,
    pub answers: VecDeque<Answer>,
    /// Everything the planner wanted, in order.
    pub log: Vec<Action>,
}

impl Bench {
    pub fn new(settings: Settings) -> Bench {
        let now = Instant(Duration::from_secs(5000));
        let groups = settings.groups.iter().map(|group| group.id.clone());
        Bench {
            groups: groups.map(|id| (id, Ok(up(0)))).collect(),
            planner: Planner::new(settings, now, WALL),
            now,
            queues: BTreeMap::new(),
            hints: Hints::default(),
            troubles: BTreeMap::new(),
            answers: VecDeque::new(),
            log: Vec::new(),
        }
    }

    /// One group `g` with queue `q`.
    pub fn of_one(change: impl FnOnce(&mut GroupSettings)) -> Bench {
        let mut group = group("g", "q");
        change(&mut group);
        Bench::new(settings([group]))
    }

    pub fn queue(&mut self, queue: &str, demand: Demand) {
        self.queues.insert(Queue::new(queue), Ok(demand));
    }

    pub fn group(&mut self, group: &str, supply: Supply) {
        self.groups.insert(GroupId::new(group), Ok(supply));
    }

    pub fn has(&mut self, group: &str) -> &mut Supply {
        let supply = self.groups.get_mut(&GroupId::new(group));
        supply
            .and_then(|supply| supply.as_mut().ok())
            .expect("the test gave the group a supply")
    }

    pub fn answer(&mut self, answer: impl FnOnce(&Order) -> Launched + 'static) {
        self.answers.push_back(Box::new(answer));
    }

    /// Sends one event, and answers all that comes of it, at the same moment. Tells the orders.
    pub fn send(&mut self, event: Event) -> Vec<Order> {
        let mut orders = Vec::new();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.planner.handle(self.now, event) {
                self.log.push(action.clone());
                if let Action::Launch(ref order) = action {
                    orders.push(order.clone());
                }
                events.extend(self.perform(action));
            }
        }
        orders
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        Some(match action {
            Action::Fetch { source, queues } => {
                let told = queues.into_iter().filter_map(|queue| {
                    let told = self.queues.get(&queue)?.clone();
                    Some((queue, told))
                });
                Event::Demand {
                    source,
                    asked: self.now,
                    told: Ok(Harvest {
                        demands: told.collect(),
                        hints: self.hints,
                        remarks: Vec::new(),
                    }),
                }
            }
            Action::Describe { groups, .. } => Event::Supply {
                asked: self.now,
                told: groups
                    .into_iter()
                    .map(|group| {
                        let told = self.groups.get(&group).cloned();
                        (group, told.unwrap_or(Err("no such group".into())))
                    })
                    .collect(),
            },
            Action::Launch(order) => {
                let told = match self.answers.pop_front() {
                    Some(answer) => answer(&order),
                    None => {
                        if let Some(Ok(supply)) = self.groups.get_mut(&order.group) {
                            supply.desired = order.desired;
                        }
                        Launched::Accepted {
                            count: order.count.get(),
                            members: Vec::new(),
                        }
                    }
                };
                Event::Launched {
                    group: order.group,
                    token: order.token,
                    told,
                }
            }
            Action::Troubles(group) => Event::Troubles {
                told: Ok(self.troubles.get(&group).cloned().unwrap_or_default()),
                group,
            },
            Action::Decided(_) | Action::Report(_) => return None,
        })
    }

    /// Goes on for so many seconds, with a tick whenever one is due before they are over. Tells the
    /// orders.
    pub fn run(&mut self, seconds: u64) -> Vec<Order> {
        let end = self.now.after(Duration::from_secs(seconds));
        let mut orders = Vec::new();
        while let Some(next) = self.planner.next_deadline()
            && next < end
        {
            self.now = self.now.max(next);
            orders.extend(self.send(Event::Tick));
        }
        self.now = end;
        orders
    }

    /// Goes on for one interval.
    pub fn round(&mut self) -> Vec<Order> {
        self.run(INTERVAL.as_secs())
    }

    /// How many of each group one round launches, in order.
    pub fn launches(&mut self) -> Vec<(String, u32)> {
        let orders = self.round().into_iter();
        orders
            .map(|order| (order.group.as_str().to_owned(), order.count.get()))
            .collect()
    }

    pub fn view(&self, group: &str) -> GroupView {
        let view = self.planner.view(&GroupId::new(group));
        view.expect("the test has such a group")
    }

    /// The last decision on a group.
    pub fn decision(&self, group: &str) -> Decision {
        self.view(group).decision.expect("it was decided on")
    }

    pub fn reports(&self) -> Vec<&Report> {
        fn report(action: &Action) -> Option<&Report> {
            match action {
                Action::Report(report) => Some(report),
                _ => None,
            }
        }
        self.log.iter().filter_map(report).collect()
    }

    /// How many times each kind of question was asked: Fetch, Describe, Troubles.
    pub fn questions(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Action) -> bool| self.log.iter().filter(|action| is(action)).count();
        (
            count(|action| matches!(action, Action::Fetch { .. })),
            count(|action| matches!(action, Action::Describe { .. })),
            count(|action| matches!(action, Action::Troubles(_))),
        )
    }
}
