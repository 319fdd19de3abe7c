//! What no supervisor would send, and what no supervisor has stored.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::world::{Nature, World};
use super::{lives, script};
use crate::lifecycle::*;

/// Any event, of agents and detectors that may not exist.
fn event() -> impl Strategy<Value = Event> {
    let agent = || select(vec![0, 1, 2, 3, 9, u32::MAX]).prop_map(AgentIndex);
    let detector = select(vec![0, 1, 2, 63, 64, usize::MAX]).prop_map(DetectorIndex);
    let exit = || {
        let codes = select(vec![0, 1, 7, i32::MIN, i32::MAX]);
        prop_oneof![
            codes.prop_map(Exit::Code),
            Just(Exit::Signal(9)),
            Just(Exit::Unknown)
        ]
    };
    let id = || select(vec![None, Some("a".to_owned()), Some("b".to_owned())]);
    let jobs = select(vec![None, Some(0), Some(1), Some(7), Some(u32::MAX)]);
    let seen = prop_oneof![
        Just(Observation::Ready),
        id().prop_map(|id| Observation::Started { id }),
        id().prop_map(|id| Observation::Finished {
            id,
            outcome: Outcome::Failed
        }),
        jobs.prop_map(|jobs| Observation::Running { jobs }),
    ];
    let at = select(vec![0, 1, 1000, u64::MAX]).prop_map(|s| Instant(Duration::from_secs(s)));
    let reason = select(Reason::ALL.to_vec());
    prop_oneof![
        2 => agent().prop_map(Event::Spawned),
        1 => (agent(), exit()).prop_map(|(agent, exit)| Event::SpawnFailed(agent, exit)),
        3 => (agent(), exit()).prop_map(|(agent, exit)| Event::Exited(agent, exit)),
        6 => (agent(), detector, seen).prop_map(|(n, by, seen)| Event::Observed(n, by, seen)),
        1 => (reason, prop::option::of(at))
            .prop_map(|(reason, deadline)| Event::Drain { reason, deadline }),
        6 => select(vec![
            Event::Sampled,
            Event::Interrupt,
            Event::Quit,
            Event::PassThrough,
            Event::TreeGone,
            Event::AtMinimum,
            Event::Retired,
            Event::Tick,
            Event::Tick,
            Event::Tick,
        ]),
    ]
}

/// Times that jump forth and back.
fn events() -> impl Strategy<Value = Vec<(Instant, Event)>> {
    let at = prop_oneof![
        8 => 1000..3000_u64,
        1 => Just(0),
        1 => Just(1 << 40),
    ];
    vec(
        (at.prop_map(|s| Instant(Duration::from_secs(s))), event()),
        0..40,
    )
}

/// Feeds the events; afterwards an operator's deadline ends the machine by its own timers alone.
fn survives(mut life: Lifecycle, events: Vec<(Instant, Event)>) {
    let mut now = Instant::default();
    for (at, event) in events {
        now = now.max(at);
        life.handle(at, event);
    }
    // One of the machine's own times may lie ahead of every event.
    now = now.max(life.now);
    let drain = Event::Drain {
        reason: Reason::Operator,
        deadline: Some(now.after(Duration::from_secs(60))),
    };
    life.handle(now, drain);
    for _ in 0..2000 {
        if matches!(life.phase(), Phase::Gone { .. }) {
            return;
        }
        let next = life.next_deadline().expect("something is waited for");
        assert!(next > now, "{next} is not after {now}");
        now = next;
        life.handle(now, Event::Tick);
    }
    panic!("never gone: {life:?}");
}

/// Changes one value somewhere in a document.
fn damage(value: &mut Value, place: &Index, by: &Value) {
    let count = count(value);
    let mut at = place.index(count);
    replace(value, &mut at, by);
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(items) => items.values().map(count).sum(),
        _ => 0,
    }
}

fn replace(value: &mut Value, at: &mut usize, by: &Value) -> bool {
    if *at == 0 {
        *value = match (by.as_str(), value.take()) {
            (Some("twice"), Value::Array(items)) => [items.clone(), items].concat().into(),
            (Some("shorter"), Value::Array(mut items)) => {
                items.pop();
                items.into()
            }
            _ => by.clone(),
        };
        return true;
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| replace(item, at, by)),
        Value::Object(items) => items.values_mut().any(|item| replace(item, at, by)),
        _ => false,
    }
}

fn junk() -> impl Strategy<Value = Value> {
    let stages = [
        "Starting",
        "Ready",
        "AwaitIdle",
        "AwaitExit",
        "Ended",
        "Working",
        "Edges",
        "Level",
    ];
    let mut values: Vec<Value> = stages.iter().map(|stage| json!(stage)).collect();
    values.extend([
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(5),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(-1),
        json!("twice"),
        json!("shorter"),
        json!([]),
        json!({"secs": u64::MAX, "nanos": 999_999_999}),
        json!({"Backoff": {"until": {"secs": u64::MAX, "nanos": 0}}}),
        json!({"Killing": {"again": {"secs": 1000, "nanos": 0}, "tries": u32::MAX}}),
        json!({"Gone": {"reason": "idle"}}),
    ]);
    select(values)
}

proptest! {
    #![proptest_config(lives())]

    #[test]
    fn no_order_of_events_is_too_strange(
        settings in script::settings(),
        events in events(),
    ) {
        let (life, _) = Lifecycle::new(settings, Instant(Duration::from_secs(1000)));
        survives(life, events);
    }

    #[test]
    fn a_damaged_snapshot_is_refused_or_harmless(
        settings in script::settings(),
        steps in script::steps(script::life()),
        damages in vec((any::<Index>(), junk()), 1..3),
        events in events(),
    ) {
        let mut world = World::new(settings, Nature::kind());
        world.plays(&steps);
        let mut stored = serde_json::to_value(&world.life).expect("a life can be stored");
        for (place, by) in damages {
            damage(&mut stored, &place, &by);
        }
        let read = serde_json::from_value::<Lifecycle>(stored);
        let resumed = read.ok().and_then(|life| life.resume(world.settings, world.now));
        if let Some((life, _)) = resumed {
            survives(life, events);
        }
    }

    #[test]
    fn a_snapshot_of_another_configuration_is_refused(
        settings in script::settings(),
        other in script::settings(),
        steps in script::steps(script::life()),
    ) {
        let mut world = World::new(settings.clone(), Nature::kind());
        world.plays(&steps);
        let same = Settings {
            limits: other.limits,
            pass_through: other.pass_through,
            ..settings.clone()
        };
        prop_assert!(world.life.clone().resume(same.clone(), world.now).is_some());
        let earlier = Instant(Duration::from_secs(999));
        prop_assert!(world.life.clone().resume(same.clone(), earlier).is_none(), "another boot");
        let other = Settings { limits: same.limits, pass_through: same.pass_through, ..other };
        if other != same {
            prop_assert!(world.life.resume(other, world.now).is_none());
        }
    }
}
