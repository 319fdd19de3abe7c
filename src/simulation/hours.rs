//! Ten thousand hours of notices, faults and jobs, one machine's life after the other.
//!
//! A life is its seed: `CLOCKOUT_SEED=17` tells that one aloud, `CLOCKOUT_HOURS=1000000` lives
//! longer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::agents::Manners;
use super::chance::Chance;
use super::fate::Fate;
use super::group::hook;
use super::story::{Story, Totals};
use super::world::{Nature, World};
use crate::instance::notices::{
    MaintenanceCode, NoticePolicy, OnRebalance, Protect, SpotKind, Transition, Warm,
};
use crate::lifecycle::*;

const HOURS: u64 = 10_000;
const HOUR: u64 = 3600;
/// Whoever has not ended until then never will.
const LONGEST: Instant = Instant(Duration::from_secs(100 * HOUR));
const SECOND: Duration = Duration::from_secs(1);

fn nature(chance: &mut Chance) -> Nature {
    let hooks = [
        (Transition::Launching, [60, 300, 3600]),
        (Transition::Terminating, [30, 300, 7200]),
    ];
    let hooks = hooks.map(|(transition, timeouts)| {
        let timeout = Duration::from_secs(chance.pick(&timeouts));
        let mut hook = hook(transition, timeout);
        hook.abandons = !chance.one_in(3);
        (!chance.one_in(3)).then_some(hook)
    });
    let manners = [Manners::Obedient, Manners::Obedient, Manners::Stubborn];
    let margin = chance.pick(&[5, 20, 20, 60]);
    let young = chance.pick(&[0, 1800]);
    Nature {
        settings: settings(chance),
        policy: NoticePolicy {
            on_rebalance: chance.pick(&OnRebalance::ALL),
            rebalance_min_age: Duration::from_secs(young),
            cancel_before: Duration::from_secs(margin),
            ..NoticePolicy::default()
        },
        protect: chance.pick(&Protect::ALL),
        hooks: hooks.into_iter().flatten().collect(),
        manners: chance.pick(&manners),
        jobs: Some((
            Duration::from_secs(chance.pick(&[300, HOUR, 3 * HOUR])),
            Duration::from_secs(chance.pick(&[300, HOUR, 6 * HOUR])),
        )),
        at_minimum: chance.one_in(3),
        climb: SECOND,
        pooled: chance.one_in(8).then(|| warm(chance)),
    }
}

fn settings(chance: &mut Chance) -> Settings {
    let limit = |seconds: u64| match seconds {
        0 => Limit::Never,
        seconds => Limit::At(Duration::from_secs(seconds)),
    };
    let drain = chance.pick(&[
        DrainMethod::Signal,
        DrainMethod::Signal,
        DrainMethod::WaitIdle,
        DrainMethod::SingleJob,
    ]);
    let slots = if drain == DrainMethod::SingleJob {
        1
    } else {
        3
    };
    let cancel = chance.pick(&[0, 10, 30]);
    Settings {
        agents: 1 + chance.below(2) as u32,
        slots: 1 + chance.below(slots) as u32,
        slots_known: true,
        limits: Limits {
            max_jobs: match chance.pick(&[0, 0, 0, 20]) {
                0 => Limit::Never,
                jobs => Limit::At(jobs),
            },
            idle_timeout: limit(chance.pick(&[0, 600, HOUR])),
            max_lifetime: limit(chance.pick(&[0, 0, 12 * HOUR])),
            boot_timeout: limit(300),
            drain_timeout: limit(chance.pick(&[0, 600, HOUR, 4 * HOUR])),
        },
        detectors: vec![DetectorKind::Edges],
        sees_ready: true,
        drain,
        needs_line: None,
        window: None,
        cordon: false,
        linger: None,
        cancel: (cancel > 0).then(|| Duration::from_secs(cancel)),
        exit_ok: Vec::new(),
        pass_through: false,
        sampling: None,
    }
}

fn warm(chance: &mut Chance) -> Warm {
    chance.pick(&[Warm::Stopped, Warm::Running, Warm::Hibernated])
}

fn out_of_the_pool(chance: &mut Chance) -> Fate {
    if chance.one_in(4) {
        Fate::LeavesPool
    } else {
        Fate::Wakes
    }
}

fn code(chance: &mut Chance) -> MaintenanceCode {
    chance.pick(&[
        MaintenanceCode::InstanceReboot,
        MaintenanceCode::InstanceRetirement,
        MaintenanceCode::InstanceStop,
        MaintenanceCode::SystemMaintenance,
        MaintenanceCode::SystemReboot,
    ])
}

/// Something comes over the machine at that time, and perhaps something else because of it.
fn befall(world: &mut World, chance: &mut Chance, at: Duration) {
    let seconds = Duration::from_secs;
    let soon = at + chance.seconds(1, 300);
    let later = at + chance.seconds(300, 6 * HOUR);
    let short = chance.seconds(1, 60);
    let long = chance.seconds(60, HOUR);
    let fate = match chance.below(20) {
        0 | 1 => {
            match chance.below(4) {
                0 => world.fate(soon, Fate::SpotMoves(chance.seconds(0, 300))),
                1 => world.fate(soon, Fate::SpotWithdrawn),
                _ => {}
            }
            let kind = chance.pick(&SpotKind::ALL);
            Fate::Spot(kind, chance.pick(&[0, 5, 120, 120, 120]) * SECOND)
        }
        2 => Fate::Rebalance,
        3 | 4 => {
            if chance.one_in(3) {
                world.fate(soon, Fate::MaintenanceCanceled);
            }
            Fate::Maintenance(code(chance), chance.seconds(0, 12 * HOUR))
        }
        5 | 6 => Fate::ScaleIn(None),
        7 => {
            world.fate(later, out_of_the_pool(chance));
            Fate::ScaleIn(Some(warm(chance)))
        }
        8 => {
            world.fate(later, Fate::InService);
            Fate::Standby
        }
        9 if chance.one_in(2) => {
            world.fate(later, Fate::InService);
            Fate::Strange
        }
        9 => Fate::Detached,
        10 => Fate::Operator(None),
        11 => Fate::Operator(Some(chance.seconds(0, HOUR))),
        12 => {
            if chance.one_in(2) {
                world.fate(soon, Fate::Interrupt);
            }
            Fate::Interrupt
        }
        13 => Fate::Throttled(seconds(HOUR).min(long)),
        14 => Fate::Lossy(long),
        15 => Fate::Denied(long),
        16 => Fate::Silent(chance.below(4) as usize, chance.seconds(10, 3 * HOUR)),
        17 => Fate::Doomed(short),
        _ => Fate::Killed(short),
    };
    world.fate(at, fate);
}

/// One machine, from its boot to its end.
fn live(seed: u64, story: Story) -> Totals {
    let mut chance = Chance::of(seed);
    let nature = nature(&mut chance);
    story.tells(Instant::default(), || format!("life {seed}: {nature:#?}"));
    let is_pooled = nature.pooled.is_some();
    let mut world = World::new(nature, chance.fork(), story);
    if is_pooled {
        world.fate(chance.seconds(60, 6 * HOUR), out_of_the_pool(&mut chance));
    }
    for _ in 0..1 + chance.below(8) {
        let at = chance.seconds(0, 10 * HOUR);
        befall(&mut world, &mut chance, at);
        if chance.one_in(3) {
            // Troubles come together.
            let soon = at + chance.seconds(0, 600);
            befall(&mut world, &mut chance, soon);
        }
    }
    for _ in 0..3 {
        world.fate(chance.seconds(0, 24 * HOUR), Fate::Looks);
    }
    world.fate(Duration::from_secs(48 * HOUR), Fate::Operator(None));
    world.fate(Duration::from_secs(60 * HOUR), Fate::Interrupt);
    world.fate(Duration::from_secs(60 * HOUR) + SECOND, Fate::Interrupt);
    world.plays(LONGEST);
    assert!(world.is_over() || world.is_asleep(), "it has no end");
    world.totals()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn ten_thousand_hours_break_no_rule() {
    if let Some(seed) = number("CLOCKOUT_SEED") {
        live(seed, Story::Aloud);
        return;
    }
    let hours = number("CLOCKOUT_HOURS").unwrap_or(HOURS);
    let mut totals = Totals::default();
    let mut seed = 0;
    while totals.lived < Duration::from_secs(hours * HOUR) {
        let lived = catch_unwind(AssertUnwindSafe(|| live(seed, Story::Quiet)));
        match lived {
            Ok(lived) => totals.add(&lived),
            Err(_) => {
                live(seed, Story::Aloud);
                panic!("life {seed} broke a rule, and then did not");
            }
        }
        seed += 1;
    }
    println!("{totals:#?}");
    totals.assert_eventful();
}
