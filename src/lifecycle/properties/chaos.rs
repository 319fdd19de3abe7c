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
        select(vec![
            Observation::Ready,
            Observation::SafeWindow,
            Observation::DrainArmed,
            Observation::Absent,
        ]),
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
        1 => (agent(), any::<bool>()).prop_map(|(agent, done)| Event::Cordoned(agent, done)),
        6 => (agent(), detector, seen).prop_map(|(n, by, seen)| Event::Observed(n, by, seen)),
        2 => (reason, prop::option::of(at), any::<bool>()).prop_map(|(reason, deadline, now)| {
            match now {
                true => Event::Drain { reason, deadline },
                false => Event::DrainAfterJob { reason, deadline },
            }
        }),
        1 => select(vec![Event::Wake, Event::Pooled]),
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

/// Feeds the events; afterwards an operator's deadline ends the machine by its own timers alone,
/// in time, and starts nothing any more.
fn survives(mut life: Lifecycle, events: Vec<(Instant, Event)>) {
    let mut now = Instant::default();
    for (at, event) in events {
        now = now.max(at);
        life.handle(at, event);
    }
    // One of the machine's own times may lie ahead of every event.
    now = now.max(life.now);
    let asked = now;
    let drain = Event::Drain {
        reason: Reason::Operator,
        deadline: Some(now.after(Duration::from_secs(60))),
    };
    life.handle(now, drain);
    for _ in 0..2000 {
        if matches!(life.phase(), Phase::Gone { .. }) {
            assert!(
                now.since(asked) < Duration::from_secs(8000),
                "gone at {now}"
            );
            return;
        }
        let next = life.next_deadline().expect("something is waited for");
        assert!(next > now, "{next} is not after {now}");
        now = next;
        let actions = life.handle(now, Event::Tick);
        let spawn = |action: &Action| matches!(action, Action::Spawn(_));
        assert!(!actions.iter().any(spawn), "starts an agent at {now}");
    }
    panic!("never gone: {life:?}");
}

/// One value of a document becomes another of its kind.
#[derive(Debug, Clone)]
struct Damage {
    place: Index,
    number: u64,
    word: &'static str,
    longer: bool,
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = select(vec![0, 1, 3, 5, u64::from(u32::MAX), u64::MAX]);
    let word = select(vec![
        "Starting",
        "Ready",
        "AwaitIdle",
        "AwaitExit",
        "Ended",
        "Over",
        "Working",
        "Edges",
        "Level",
        "idle",
    ]);
    let rest = (number, word, any::<bool>());
    (any::<Index>(), rest).prop_map(|(place, (number, word, longer))| Damage {
        place,
        number,
        word,
        longer,
    })
}

impl Damage {
    fn strike(&self, document: &mut Value) {
        let mut at = self.place.index(count(document));
        self.descend(document, &mut at);
    }

    fn descend(&self, value: &mut Value, at: &mut usize) -> bool {
        if *at == 0 {
            *value = self.other(value.take());
            return true;
        }
        *at -= 1;
        match value {
            Value::Array(items) => items.iter_mut().any(|item| self.descend(item, at)),
            Value::Object(items) => items.values_mut().any(|item| self.descend(item, at)),
            _ => false,
        }
    }

    fn other(&self, value: Value) -> Value {
        let time = || json!({"secs": self.number, "nanos": 0});
        match value {
            Value::Null if self.longer => time(),
            Value::Null | Value::Number(_) => json!(self.number),
            Value::Bool(flag) => json!(!flag),
            Value::Array(items) if self.longer => [items.clone(), items].concat().into(),
            Value::Array(mut items) => {
                items.pop();
                items.into()
            }
            Value::Object(items) if items.contains_key("secs") => time(),
            Value::String(_) if self.longer => json!({"Backoff": {"until": time()}}),
            Value::String(_) | Value::Object(_) => json!(self.word),
        }
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(items) => items.values().map(count).sum(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(lives())]

    #[test]
    fn no_order_of_events_is_too_strange(
        settings in script::settings(),
        parked in any::<bool>(),
        events in events(),
    ) {
        let now = Instant(Duration::from_secs(1000));
        let life = match parked {
            true => Lifecycle::parked(settings, now),
            false => Lifecycle::new(settings, now).0,
        };
        survives(life, events);
    }

    #[test]
    fn a_damaged_snapshot_is_refused_or_harmless(
        settings in script::settings(),
        steps in script::steps(script::life()),
        damages in vec(damage(), 1..4),
        events in events(),
    ) {
        let mut world = World::new(settings, Nature::kind());
        world.plays(&steps);
        let mut stored = serde_json::to_value(&world.life).expect("a life can be stored");
        for damage in damages {
            damage.strike(&mut stored);
        }
        let read = serde_json::from_value::<Lifecycle>(stored);
        let (settings, now) = (world.settings, world.now);
        let resumed = read.ok().and_then(|life| life.resume(settings.clone(), now));
        if let Some((life, _)) = resumed {
            let agents = life.agents().map(|(index, ..)| index.0);
            prop_assert!(agents.eq(1..=settings.agents));
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
            sampling: other.sampling,
            pass_through: other.pass_through,
            ..settings.clone()
        };
        prop_assert!(world.life.clone().resume(same.clone(), world.now).is_some());
        let earlier = Instant(Duration::from_secs(999));
        prop_assert!(world.life.clone().resume(same.clone(), earlier).is_none(), "another boot");
        let other = Settings {
            limits: same.limits,
            sampling: same.sampling,
            pass_through: same.pass_through,
            ..other
        };
        if other != same {
            prop_assert!(world.life.resume(other, world.now).is_none());
        }
    }
}
