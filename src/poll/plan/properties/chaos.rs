//! Any event at any time, answered or not, with any numbers.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::cases;
use super::watch::Watch;
use crate::lifecycle::Instant;
use crate::poll::plan::testing::WALL;
use crate::poll::plan::{
    Action, BackendId, BootBounds, Demand, Event, GroupId, GroupSettings, Harvest, Hints, Launched,
    Listed, Member, Place, Queue, Round, Settings, SourceId, Stage, Supply, Trouble, TroubleKind,
};

/// Small numbers most of the time, and the edges.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        40 => 0..12u32,
        1 => Just(u32::MAX),
        1 => Just(u32::MAX - 1),
        1 => any::<u32>(),
    ]
}

/// How long nothing happens.
fn pause() -> impl Strategy<Value = Duration> {
    prop_oneof![
        20 => (0..15u64).prop_map(Duration::from_secs),
        4 => (0..70u64).prop_map(Duration::from_secs),
        1 => (0..2000u64).prop_map(Duration::from_secs),
    ]
}

/// What a server may say, or a person write.
fn seconds() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => (0..70u64).prop_map(Duration::from_secs),
        2 => (0..2000u64).prop_map(Duration::from_secs),
        1 => Just(Duration::MAX),
        1 => Just(Duration::from_nanos(1)),
    ]
}

fn demand() -> impl Strategy<Value = Demand> {
    (
        number(),
        option::of(number()),
        option::of(number()),
        option::of(number()),
        option::of(vec("ci-m[0-9]|other", 0..4)),
        option::of(seconds()),
    )
        .prop_map(|(waiting, running, free, agents, names, oldest)| Demand {
            waiting,
            running,
            free,
            agents,
            names,
            oldest,
        })
}

fn supply() -> impl Strategy<Value = Supply> {
    let stage = prop_oneof![Just(Stage::Booting), Just(Stage::Up), Just(Stage::Away)];
    let listed = (0..10u32, stage).prop_map(|(index, stage)| Listed {
        member: Member::new(format!("m{index}")),
        stage,
    });
    (
        number(),
        option::weighted(0.3, number()),
        vec(listed, 0..6),
        option::weighted(0.1, Just("held".to_owned())),
    )
        .prop_map(|(desired, max, members, held)| Supply {
            desired,
            max,
            members,
            held,
        })
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let kind = prop_oneof![
        Just(TroubleKind::Capacity),
        Just(TroubleKind::Quota),
        Just(TroubleKind::Throttled),
        Just(TroubleKind::Conflict),
        Just(TroubleKind::Other),
    ];
    kind.prop_map(|kind| Trouble {
        kind,
        scope: "us-east-1a".into(),
        message: "no".into(),
    })
}

/// What becomes of an order; numbers are cut to what was asked for.
fn launched() -> impl Strategy<Value = Launched> {
    prop_oneof![
        4 => number().prop_map(|count| Launched::Accepted { count, members: Vec::new() }),
        1 => (number(), trouble()).prop_map(|(count, trouble)| Launched::Partly { count, trouble }),
        1 => trouble().prop_map(Launched::Refused),
        1 => Just(Launched::Unknown("timed out".into())),
    ]
}

fn hints() -> impl Strategy<Value = Hints> {
    (
        option::weighted(0.1, seconds()),
        option::weighted(0.1, seconds()),
    )
        .prop_map(|(not_before, every)| Hints { not_before, every })
}

/// What one round of a world tells, whoever asks.
#[derive(Debug, Clone)]
struct Told {
    demands: Vec<Result<Demand, String>>,
    supplies: Vec<Result<Supply, String>>,
    source_fails: bool,
    hints: Hints,
    launched: Launched,
    troubles: Vec<Trouble>,
}

fn told() -> impl Strategy<Value = Told> {
    let known = |fails: f64| prop::bool::weighted(fails);
    (
        vec((known(0.05), demand()), 4),
        vec((known(0.05), supply()), 4),
        known(0.05),
        hints(),
        launched(),
        vec(trouble(), 0..3),
    )
        .prop_map(
            |(demands, supplies, source_fails, hints, launched, troubles)| Told {
                demands: demands.into_iter().map(unless).collect(),
                supplies: supplies.into_iter().map(unless).collect(),
                source_fails,
                hints,
                launched,
                troubles,
            },
        )
}

fn unless<T>((fails, told): (bool, T)) -> Result<T, String> {
    if fails { Err("fails".into()) } else { Ok(told) }
}

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, and a tick comes.
    Wait(Duration),
    /// The outstanding question of this number is answered.
    Answer(usize, Box<Told>),
    /// Something is told that nobody asked for.
    Unasked(usize, Box<Told>),
    Leader(bool),
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => pause().prop_map(Step::Wait),
        16 => (0..8usize, told()).prop_map(|(which, told)| Step::Answer(which, Box::new(told))),
        1 => (0..8usize, told()).prop_map(|(which, told)| Step::Unasked(which, Box::new(told))),
        1 => prop::bool::weighted(0.8).prop_map(Step::Leader),
        1 => Just(Step::Reload),
    ]
}

/// Four groups: one alone, a chain of two, and one of another source and backend.
fn settings() -> impl Strategy<Value = Settings> {
    let group = (
        1..6u32,
        option::of(5..40u32),
        0..3u32,
        option::of(1..4u32),
        0.0..0.9f64,
    );
    (vec(group, 4), option::of(10..90u32), any::<bool>()).prop_map(
        |(groups, max_instances, one_by_one)| Settings {
            interval: Duration::from_secs(10),
            max_instances,
            groups: (0..)
                .zip(groups)
                .map(
                    |(index, (slots, max, headroom, step, round))| GroupSettings {
                        id: id(index),
                        backend: BackendId::new(if index == 3 { "other" } else { "aws" }),
                        place: Place::new(format!("place{index}")),
                        queue: match index {
                            2 => None,
                            3 => Some((SourceId::new("b"), queue(index))),
                            _ => Some((SourceId::new("a"), queue(index))),
                        },
                        fallback: (index == 1).then(|| id(2)),
                        slots: NonZeroU32::new(slots).expect("from 1"),
                        max,
                        headroom,
                        step: step.and_then(NonZeroU32::new),
                        round: Round::new(round).expect("below 1"),
                        boot: BootBounds {
                            least: Duration::from_secs(30),
                            most: Duration::from_secs(300),
                        },
                    },
                )
                .collect(),
            one_by_one: one_by_one.then(|| SourceId::new("a")).into_iter().collect(),
        },
    )
}

fn id(index: usize) -> GroupId {
    GroupId::new(format!("g{index}"))
}

fn queue(index: usize) -> Queue {
    Queue::new(format!("q{index}"))
}

fn index_of(name: &str) -> usize {
    name[1..].parse().expect("a name is a letter and a number")
}

/// The event that answers an action.
fn answer(asked: Instant, action: Action, told: &Told) -> Option<Event> {
    let hints = told.hints;
    Some(match action {
        Action::Fetch { source, queues } => Event::Demand {
            source,
            asked,
            told: if told.source_fails {
                Err(("down".into(), hints))
            } else {
                let demand = |queue: Queue| {
                    let demand = told.demands[index_of(queue.as_str())].clone();
                    (queue, demand)
                };
                Ok(Harvest {
                    demands: queues.into_iter().map(demand).collect(),
                    hints,
                    remarks: Vec::new(),
                })
            },
        },
        Action::Describe { groups, .. } => {
            let supply = |group: GroupId| {
                let supply = told.supplies[index_of(group.as_str())].clone();
                (group, supply)
            };
            Event::Supply {
                asked,
                told: groups.into_iter().map(supply).collect(),
            }
        }
        Action::Launch(order) => {
            let most = order.count.get();
            let told = match told.launched.clone() {
                Launched::Accepted { count, members } => Launched::Accepted {
                    count: count.min(most),
                    members,
                },
                Launched::Partly { count, trouble } => Launched::Partly {
                    count: count.min(most),
                    trouble,
                },
                told => told,
            };
            Event::Launched {
                group: order.group,
                token: order.token,
                told,
            }
        }
        Action::Troubles(group) => Event::Troubles {
            group,
            told: Ok(told.troubles.clone()),
        },
        Action::Decided(_) | Action::Report(_) => return None,
    })
}

/// What nobody asked for: an empty answer, an answer of strangers, or a listing of discovery.
fn unasked(asked: Instant, which: usize, told: &Told) -> Event {
    let group = id(which % 5);
    match which {
        0 => Event::Demand {
            source: SourceId::new("stranger"),
            asked,
            told: Ok(Harvest::default()),
        },
        1 => Event::Launched {
            group,
            token: "stranger".into(),
            told: Launched::Unknown("stranger".into()),
        },
        2 => Event::Supply {
            asked,
            told: Vec::new(),
        },
        _ => Event::Supply {
            asked,
            told: vec![(group, told.supplies[0].clone())],
        },
    }
}

fn live(settings: &Settings, steps: &[Step]) -> Vec<Action> {
    let mut now = Instant(Duration::from_secs(100));
    let mut watch = Watch::new(settings.clone(), now, WALL);
    let mut log = watch.handle(now, Event::Tick);
    let mut open: Vec<(Instant, Action)> = log.iter().map(|action| (now, action.clone())).collect();
    for step in steps {
        open.retain(|(_, action)| !matches!(action, Action::Decided(_) | Action::Report(_)));
        let event = match step {
            Step::Wait(wait) => {
                now = now.after(*wait);
                Some(Event::Tick)
            }
            Step::Answer(which, told) if !open.is_empty() => {
                let (asked, action) = open.remove(which % open.len());
                answer(asked, action, told)
            }
            Step::Answer(..) => None,
            Step::Unasked(which, told) => Some(unasked(now, *which, told)),
            Step::Leader(leader) => Some(Event::Leader(*leader)),
            Step::Reload => Some(Event::Settings(settings.clone())),
        };
        let Some(event) = event else {
            continue;
        };
        let actions = watch.handle(now, event);
        open.extend(actions.iter().map(|action| (now, action.clone())));
        log.extend(actions);
        for group in &settings.groups {
            let view = watch.planner.view(&group.id);
            assert!(view.is_some(), "{} has no view", group.id);
        }
    }
    log
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn whatever_happens_the_promises_hold_and_the_same_life_has_the_same_deeds(
        settings in settings(),
        steps in vec(step(), 0..150),
    ) {
        let first = live(&settings, &steps);
        prop_assert_eq!(first, live(&settings, &steps));
    }
}
