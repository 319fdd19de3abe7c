//! Worlds that are steered to where one promise bites.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::cases;
use crate::lifecycle::Instant;
use crate::poll::plan::testing::{
    Bench, INTERVAL, WALL, group, jobs, members, settings, supply, trouble,
};
use crate::poll::plan::{
    Action, Demand, Event, GroupSettings, Harvest, Launched, Listed, Member, Order, Planner, Queue,
    SourceId, Stage, TroubleKind,
};

fn sized(id: &str, queue: &str, slots: u32, headroom: u32) -> GroupSettings {
    GroupSettings {
        slots: NonZeroU32::new(slots).expect("from 1"),
        headroom,
        ..group(id, queue)
    }
}

/// Orders of one round in a world as it is.
fn once(group: &GroupSettings, has: (u32, u32, u32), demand: Demand) -> Vec<Order> {
    let mut bench = Bench::new(settings([group.clone()]));
    let (desired, up, booting) = has;
    let members = [
        members("up", up, Stage::Up),
        members("new", booting, Stage::Booting),
    ];
    bench.group("g", supply(desired, members));
    bench.queue("q", demand);
    bench.send(Event::Tick)
}

/// A group in which every instance boots for `boot` rounds, and then takes jobs for good.
struct World {
    group: GroupSettings,
    jobs: u32,
    boot: usize,
    /// How many rounds each instance has lived.
    ages: Vec<usize>,
}

impl World {
    fn demand(&self) -> Demand {
        let up = self.ages.iter().filter(|age| **age >= self.boot).count();
        let slots = u32::try_from(up).expect("few") * self.group.slots.get();
        let running = self.jobs.min(slots);
        jobs(self.jobs - running, running)
    }

    fn members(&self) -> Vec<Listed> {
        let listed = |(index, age): (usize, &usize)| Listed {
            member: Member::new(format!("m{index}")),
            stage: if *age >= self.boot {
                Stage::Up
            } else {
                Stage::Booting
            },
        };
        self.ages.iter().enumerate().map(listed).collect()
    }
}

const START: Instant = Instant(Duration::from_secs(100));

/// The orders of so many rounds, each with its round. A queue of which the world tells nothing is
/// one of a source that does not answer. Groups are empty, and orders are refused.
fn orders(
    planner: &mut Planner,
    world: impl Fn(usize, &Queue) -> Option<Demand>,
    rounds: usize,
) -> Vec<(usize, Order)> {
    let mut orders = Vec::new();
    let mut now = START.after(Duration::from_secs(1));
    for round in 0..rounds {
        let mut events = vec![Event::Tick];
        while let Some(event) = events.pop() {
            for action in planner.handle(now, event) {
                match action {
                    Action::Fetch { source, queues } => {
                        let told = |queue: Queue| {
                            let demand = world(round, &queue)?;
                            Some((queue, Ok(demand)))
                        };
                        let demands: Option<Vec<_>> = queues.into_iter().map(told).collect();
                        events.extend(demands.map(|demands| Event::Demand {
                            source,
                            asked: now,
                            told: Ok(Harvest {
                                demands,
                                ..Harvest::default()
                            }),
                        }));
                    }
                    Action::Describe { groups, .. } => events.push(Event::Supply {
                        asked: now,
                        told: groups
                            .into_iter()
                            .map(|group| (group, Ok(supply(0, []))))
                            .collect(),
                    }),
                    Action::Launch(order) => {
                        events.push(Event::Launched {
                            group: order.group.clone(),
                            token: order.token.clone(),
                            told: Launched::Refused(trouble(TroubleKind::Conflict)),
                        });
                        orders.push((round, order));
                    }
                    Action::Troubles(_) | Action::Decided(_) | Action::Report(_) => {}
                }
            }
        }
        now = now.after(INTERVAL);
    }
    orders
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn more_waiting_never_means_fewer_launched(
        slots in 1..5u32,
        headroom in 0..3u32,
        has in (0..9u32, 0..9u32, 0..9u32),
        waiting in 0..40u32,
        more in 0..40u32,
        running in proptest::option::of(0..30u32),
        free in proptest::option::of(0..30u32),
    ) {
        let group = sized("g", "q", slots, headroom);
        let demand = |waiting| Demand { running, free, ..jobs(waiting, 0) };
        let launched = |waiting| -> u32 {
            let orders = once(&group, has, demand(waiting));
            orders.iter().map(|order| order.count.get()).sum()
        };
        prop_assert!(launched(waiting) <= launched(waiting + more));
    }

    #[test]
    fn never_more_is_launched_than_the_jobs_that_wait_and_the_headroom_need(
        slots in 1..5u32,
        headroom in 0..3u32,
        has in (0..9u32, 0..9u32, 0..9u32),
        waiting in 0..40u32,
        running in proptest::option::of(0..30u32),
        free in proptest::option::of(0..30u32),
    ) {
        let demand = Demand { running, free, ..jobs(waiting, 0) };
        let group = sized("g", "q", slots, headroom);
        let orders = once(&group, has, demand);
        let launched: u32 = orders.iter().map(|order| order.count.get()).sum();
        prop_assert!(launched <= waiting.div_ceil(slots) + headroom);
    }

    #[test]
    fn the_same_view_has_the_same_order_to_the_last_letter(
        has in (0..9u32, 0..9u32, 0..9u32),
        waiting in 0..40u32,
    ) {
        let group = sized("g", "q", 1, 0);
        let one = once(&group, has, jobs(waiting, 0));
        prop_assert_eq!(one, once(&group, has, jobs(waiting, 0)));
    }

    #[test]
    fn a_poller_that_is_restarted_at_any_point_launches_each_instance_once(
        slots in 1..5u32,
        headroom in 0..3u32,
        total in 0..40u32,
        boot in 0..6usize,
        restarts in vec(any::<bool>(), 20),
    ) {
        let group = sized("g", "q", slots, headroom);
        let want = total.div_ceil(slots) + headroom;
        let mut world = World { group: group.clone(), jobs: total, boot, ages: Vec::new() };
        let mut bench = Bench::new(settings([group.clone()]));
        for restart in restarts {
            if restart {
                bench.planner = Planner::new(settings([group.clone()]), bench.now, WALL);
            }
            let desired = bench.has("g").desired;
            bench.group("g", supply(desired, [world.members()]));
            bench.queue("q", world.demand());
            bench.round();
            let desired = bench.has("g").desired;
            prop_assert!(desired <= want, "{} of {}", desired, want);
            for age in &mut world.ages {
                *age += 1;
            }
            // One of what was asked for is listed each round, and the others later.
            if world.ages.len() < usize::try_from(desired).expect("few") {
                world.ages.push(0);
            }
        }
        prop_assert_eq!(bench.has("g").desired, want);
    }

    #[test]
    fn a_source_that_says_nothing_delays_no_other_one(
        demands in vec(0..20u32, 12),
        told in 0..12usize,
    ) {
        let mut other = group("b", "qb");
        other.queue = Some((SourceId::new("other"), Queue::new("qb")));
        let both = settings([group("a", "qa"), other]);
        let orders_of_a = |told: usize| {
            let mut planner = Planner::new(both.clone(), START, WALL);
            let world = |round: usize, queue: &Queue| match queue.as_str() {
                "qb" if round < told => Some(jobs(3, 0)),
                "qb" => None,
                _ => Some(jobs(demands[round], 0)),
            };
            let mut orders = orders(&mut planner, world, demands.len());
            orders.retain(|(_, order)| order.group.as_str() == "a");
            orders
        };
        prop_assert_eq!(orders_of_a(told), orders_of_a(demands.len()));
    }
}
