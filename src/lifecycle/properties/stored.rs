//! What may be wrong with a stored life, one by one: each is refused.

use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::script;
use super::world::{Nature, World};
use crate::lifecycle::*;

/// A machine at work with two agents of two slots, and what would be stored of it.
fn at_work() -> (World, Value) {
    let mut runner = TestRunner::deterministic();
    let any = script::settings().new_tree(&mut runner);
    let settings = Settings {
        agents: 2,
        slots: 2,
        limits: Limits::none(),
        detectors: vec![DetectorKind::Edges, DetectorKind::Level],
        drain: DrainMethod::WaitIdle,
        window: Some(Window {
            lasts: Duration::from_secs(5),
            patience: Duration::from_secs(30),
        }),
        linger: Some(Duration::from_secs(10)),
        ..any.expect("settings can be made").current()
    };
    let mut world = World::new(settings, Nature::kind());
    world.wait(Duration::from_secs(10));
    let stored = serde_json::to_value(&world.life).expect("a life can be stored");
    (world, stored)
}

fn resumes(world: &World, stored: Value) -> bool {
    let life = serde_json::from_value::<Lifecycle>(stored).ok();
    let resumed = life.and_then(|life| life.resume(world.settings.clone(), world.now));
    resumed.is_some()
}

#[test]
fn each_contradiction_is_refused() {
    let (world, stored) = at_work();
    assert!(resumes(&world, stored.clone()));
    let later = json!({"secs": u64::MAX, "nanos": 0});
    let lies = [
        ("/now", later.clone()),
        ("/born", later.clone()),
        ("/idle_since", later.clone()),
        ("/idle_not_before", later.clone()),
        ("/settings/agents", json!(3)),
        ("/settings/detectors", json!(["Edges"])),
        ("/agents", json!([])),
        ("/agents/0/index", json!(2)),
        ("/agents/0/unready_since", later.clone()),
        ("/agents/0/spawned_at", later.clone()),
        ("/agents/0/stage", json!({"Backoff": {"until": later}})),
        ("/agents/0/stage", json!({"Cancelling": {"until": later}})),
        ("/agents/0/stage", json!({"Terminating": {"until": later}})),
        (
            "/agents/0/stage",
            json!({"Killing": {"again": later, "tries": 0}}),
        ),
        ("/agents/0/ledger/slots", json!(0)),
        ("/agents/0/ledger/slots", json!(null)),
        ("/agents/0/ledger/detectors", json!(["Edges"])),
        ("/agents/0/ledger/levels", json!([])),
        ("/agents/0/ledger/levels/0", json!(5)),
        ("/agents/0/ledger/rises", json!([0])),
        ("/agents/0/steps", json!(null)),
        ("/agents/0/steps/linger", json!({"secs": 9, "nanos": 0})),
        ("/agents/0/steps/bursts", json!([])),
        ("/agents/0/steps/bursts/0/quiet_since", later.clone()),
        ("/agents/0/overstays_at", later.clone()),
        ("/agents/0/hold/confirms", json!(3)),
        ("/agents/0/hold/safe_at", later.clone()),
        (
            "/agents/0/hold/cordon/step",
            json!({"Asked": {"until": later, "job_ended": true}}),
        ),
        (
            "/agents/0/hold/cordon/step",
            json!({"Again": {"at": later}}),
        ),
        (
            "/agents/0/hold/cordon/step",
            json!({"Settling": {"until": later}}),
        ),
        ("/agents/0/hold/patience", json!({"Until": later})),
        ("/phase", json!({"Gone": {"reason": "idle"}})),
        ("/phase", json!({"Parked": {"pooled": true}})),
        (
            "/phase",
            phase("Draining", "since", json!({"secs": 1000, "nanos": 0})),
        ),
        (
            "/phase",
            phase("Sweeping", "kill_at", json!({"secs": 1000, "nanos": 0})),
        ),
    ];
    for (place, lie) in lies {
        let mut stored = stored.clone();
        let value = stored.pointer_mut(place).expect("it is stored");
        *value = lie.clone();
        assert!(!resumes(&world, stored), "{place} = {lie} is believed");
    }
}

#[test]
fn no_phase_lasts_longer_than_it_may() {
    let (mut world, _) = at_work();
    world.nature.answers = false;
    world.tell(Event::Quit);
    world.hear_all();
    let stored = serde_json::to_value(&world.life).expect("a life can be stored");
    assert!(stored.pointer("/phase/Sweeping").is_some(), "{stored}");
    assert!(resumes(&world, stored.clone()));
    let later = json!({"secs": u64::MAX, "nanos": 0});
    for (name, time) in [("Sweeping", "kill_at"), ("Retiring", "since")] {
        let mut stored = stored.clone();
        let now = serde_json::to_value(world.now).expect("a time can be stored");
        stored["phase"] = phase(name, time, now);
        assert!(resumes(&world, stored.clone()), "{name} is refused");
        stored["phase"] = phase(name, time, later.clone());
        assert!(!resumes(&world, stored), "{name} for ever is believed");
    }
    let mut stored = stored;
    stored["leaving"] = json!({"reason": "rebalance", "deadline": null});
    assert!(!resumes(&world, stored), "it leaves and waits to leave");
}

fn phase(name: &str, time: &str, at: Value) -> Value {
    let mut phase = json!({
        "reason": "operator",
        "deadline": null,
        "urgency": "Drain",
        "rounds": 0,
        "pending": null,
        "powered_off": false,
    });
    phase[time] = at;
    json!({ name: phase })
}
