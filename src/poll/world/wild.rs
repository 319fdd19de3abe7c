//! Worlds by chance, and the rules that must hold in every one of them.
//!
//! A world is its seed: `CLOCKOUT_SEED=17` tells that one aloud, `CLOCKOUT_WORLDS=1000000` makes
//! more of them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::super::plan::{BootBounds, Round};
use super::World;
use super::nature::{
    Arrival, Chain, Dispatch, Faults, GroupNature, How, Nature, Pollers, Shortage, Span, Tells,
};
use super::ours::Ours;
use super::peers::{PEERS, Peer};
use super::tally::{Broken, Rule, Tally};
use super::wire::Poller;
use crate::simulation::chance::Chance;

/// What is certain of a world; the rest is chance.
#[derive(Debug, Clone, Copy)]
struct Kind {
    pollers: Pollers,
    calls_fail: bool,
    machines_fail: bool,
    restarts: bool,
    reads_lag: bool,
    dispatch: Dispatch,
}

const FAULTLESS: Kind = Kind {
    pollers: Pollers::One,
    calls_fail: false,
    machines_fail: false,
    restarts: false,
    reads_lag: false,
    dispatch: Dispatch::Any,
};

fn any(chance: &mut Chance) -> Kind {
    Kind {
        pollers: chance.pick(&[
            Pollers::One,
            Pollers::One,
            Pollers::Two,
            Pollers::TwoWithLease,
        ]),
        calls_fail: chance.one_in(2),
        machines_fail: chance.one_in(3),
        restarts: chance.one_in(3),
        reads_lag: chance.one_in(2),
        dispatch: Dispatch::Any,
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn span(chance: &mut Chance, least: &[u64], more: &[u64]) -> Span {
    let least = chance.pick(least);
    (seconds(least), seconds(least + chance.pick(more)))
}

fn nature(chance: &mut Chance, kind: Kind) -> Nature {
    let chains: Vec<_> = (0..chance.pick(&[1, 1, 2, 3]))
        .map(|_| chain(chance))
        .collect();
    let groups = || chains.iter().flat_map(|chain| &chain.groups);
    let kept: u32 = groups().map(|group| group.min + group.headroom).sum();
    let budget = kept + 1 + chance.below(8) as u32;
    let lag = |chance: &mut Chance, of: &[u64]| match kind.reads_lag {
        true => seconds(chance.pick(of)),
        false => Duration::ZERO,
    };
    let faults = faults(chance, kind, &chains);
    let jobs = || chains.iter().flat_map(|chain| &chain.jobs);
    let work: Duration = jobs().map(|job| job.lasts + seconds(900)).sum();
    Nature {
        interval: seconds(chance.pick(&[5, 10, 10, 30])),
        max_instances: chance.one_in(3).then_some(budget),
        tells: tells(chance),
        dispatch: kind.dispatch,
        demand_lag: lag(chance, &[0, 2, 10]),
        supply_lag: lag(chance, &[1, 3, 8]),
        network: (Duration::from_millis(20), Duration::from_millis(400)),
        pollers: kind.pollers,
        ends: faults.until + seconds(4 * 3600) + work,
        faults,
        chains,
    }
}

fn chain(chance: &mut Chance) -> Chain {
    let mut at = Duration::ZERO;
    let jobs = (0..1 + chance.below(12)).map(|_| {
        if chance.one_in(2) {
            at += chance.seconds(0, 600);
        }
        Arrival {
            at,
            lasts: chance.seconds(5, 900),
        }
    });
    let jobs = jobs.collect();
    let slots = chance.pick(&[1, 1, 2, 4]);
    let first = group(chance, slots);
    let mut groups = vec![first.clone()];
    for _ in 0..chance.pick(&[0, 0, 1, 2]) {
        groups.push(GroupNature {
            headroom: 0,
            ..group(chance, slots)
        });
    }
    Chain { jobs, groups }
}

fn group(chance: &mut Chance, slots: u32) -> GroupNature {
    let min = chance.pick(&[0, 0, 0, 1]);
    GroupNature {
        min,
        max: min + 1 + chance.below(8) as u32,
        cap: chance.one_in(3).then(|| 1 + chance.below(5) as u32),
        slots: NonZeroU32::new(slots).unwrap_or(NonZeroU32::MIN),
        headroom: chance.pick(&[0, 0, 0, 0, 0, 0, 1, 2]),
        step: chance.one_in(6).then_some(NonZeroU32::MIN),
        round: match chance.one_in(6) {
            true => Round::new(0.35).unwrap_or(Round::UP),
            false => Round::UP,
        },
        how: chance.pick(&[How::SetDesired, How::LaunchInstances]),
        listed: span(chance, &[0, 2], &[1, 10]),
        boot: span(chance, &[10, 60], &[10, 120]),
        ready: span(chance, &[1, 10], &[1, 30]),
        bounds: BootBounds {
            least: seconds(60),
            most: seconds(300),
        },
        idle_timeout: seconds(chance.pick(&[60, 300])),
        // An agent that is offered more slots than it may run jobs is not started at all.
        max_jobs: chance.pick(&[None, None, Some(slots), Some(3 * slots)]),
        detach_early: chance.one_in(3),
    }
}

fn tells(chance: &mut Chance) -> Tells {
    Tells {
        running: !chance.one_in(4),
        free: chance.one_in(2),
        agents: chance.one_in(2),
        names: chance.one_in(2),
    }
}

fn faults(chance: &mut Chance, kind: Kind, chains: &[Chain]) -> Faults {
    let mut faults = Faults {
        until: seconds(900 + chance.below(900)),
        ..Faults::default()
    };
    let often = |chance: &mut Chance| chance.pick(&[0, 0, 3, 10]);
    if kind.calls_fail {
        faults.demand = often(chance);
        faults.missing = often(chance);
        faults.limited = often(chance);
        faults.supply = often(chance);
        faults.throttled = often(chance);
        faults.lost = often(chance);
        faults.slow = often(chance);
        faults.paused = chance.one_in(6).then(|| (seconds(60), seconds(400)));
    }
    if kind.machines_fail {
        faults.stuck = often(chance);
        faults.mute = often(chance);
        faults.reclaimed = often(chance);
        if chance.one_in(2) {
            let at = chance.below(chains.len() as u64) as usize;
            let from = seconds(chance.below(300));
            faults.shortages.push(Shortage {
                chain: at,
                group: chance.below(chains[at].groups.len() as u64) as usize,
                from,
                until: from + seconds(chance.below(1500)),
            });
        }
    }
    if kind.restarts {
        faults.lives = seconds(chance.pick(&[5, 20, 120]));
    }
    faults
}

fn lives(nature: &Nature, seed: u64, aloud: bool) -> (Tally, Vec<Broken>) {
    let maker = |now| {
        let ours = Ours::new(nature, now);
        let ours = if aloud { ours.aloud() } else { ours };
        Box::new(ours) as Box<dyn Poller>
    };
    let world = World::new(nature.clone(), seed, &maker);
    let world = if aloud { world.aloud() } else { world };
    world.lives()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Lives through so many worlds of a kind. Which rules are broken is told by the first seeds that
/// break them; one seed alone is told aloud.
fn worlds(count: u64, kind: impl Fn(&mut Chance) -> Kind) -> Tally {
    let one = number("CLOCKOUT_SEED");
    let first = one.or(number("CLOCKOUT_FIRST")).unwrap_or(0);
    let count = if one.is_some() { 1 } else { count };
    let mut sum = Tally::default();
    let mut broken: BTreeMap<Rule, (u64, Vec<String>)> = BTreeMap::new();
    for seed in first..first + count {
        let mut chance = Chance::of(seed);
        let kind = kind(&mut chance);
        let nature = nature(&mut chance, kind);
        if one.is_some() {
            println!("{nature:#?}");
        }
        let lived = catch_unwind(AssertUnwindSafe(|| lives(&nature, seed, one.is_some())));
        let Ok((mut tally, rules)) = lived else {
            panic!("CLOCKOUT_SEED={seed}: it panics");
        };
        // A million worlds have many jobs, and nobody looks at their waits.
        tally.waits.clear();
        sum.add(&tally);
        if let Some(rule) = rules.first() {
            let (times, told) = broken.entry(rule.rule).or_default();
            *times += 1;
            if told.len() < 5 {
                told.push(format!("CLOCKOUT_SEED={seed}: {rule}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    sum
}

#[test]
fn a_million_worlds_break_no_rule() {
    let count = number("CLOCKOUT_WORLDS").unwrap_or(100);
    let sum = worlds(count, any);
    println!(
        "{count} worlds, {:.0} hours, {} instances, {} faults, {} restarts, lowered {}, above {}",
        sum.lasted.as_secs_f64() / 3600.0,
        sum.started,
        sum.faults,
        sum.restarts,
        sum.lowered,
        sum.exceeded,
    );
    assert!(sum.faults > count, "too little goes wrong");
}

#[test]
fn without_faults_nothing_is_launched_that_no_job_needs() {
    let sum = worlds(40, |_| Kind {
        dispatch: Dispatch::Oldest,
        ..FAULTLESS
    });
    assert!(sum.started > 0);
}

#[test]
fn two_pollers_with_lagging_reads_never_exceed_the_maximum() {
    worlds(40, |_| Kind {
        pollers: Pollers::Two,
        reads_lag: true,
        ..FAULTLESS
    });
}

#[test]
fn with_a_lease_nothing_is_launched_twice() {
    worlds(40, |_| Kind {
        pollers: Pollers::TwoWithLease,
        calls_fail: true,
        restarts: true,
        reads_lag: true,
        ..FAULTLESS
    });
}

#[test]
fn pollers_killed_at_any_point_break_no_rule() {
    let sum = worlds(40, |_| Kind {
        calls_fail: true,
        restarts: true,
        ..FAULTLESS
    });
    assert!(sum.restarts > 0);
}

#[test]
fn same_seed_is_the_same_world() {
    for seed in 0..5 {
        let mut chance = Chance::of(seed);
        let kind = any(&mut chance);
        let nature = nature(&mut chance, kind);
        assert_eq!(lives(&nature, seed, false), lives(&nature, seed, false));
    }
}

/// A judge that finds nothing anywhere would prove nothing.
#[test]
fn every_peer_breaks_rules_that_the_planner_keeps() {
    for (name, make) in PEERS {
        let mut found = BTreeSet::new();
        for seed in 0..120 {
            let kind = Kind {
                calls_fail: seed % 2 == 0,
                reads_lag: seed % 3 == 0,
                ..FAULTLESS
            };
            let nature = nature(&mut Chance::of(seed), kind);
            let maker = |now| Box::new(Peer::new(&nature, make, now)) as Box<dyn Poller>;
            let (_, broken) = World::new(nature.clone(), seed, &maker).lives();
            found.extend(broken.into_iter().map(|broken| broken.rule));
        }
        println!("{name}: {found:?}");
        assert!(found.len() > 1, "{name} breaks only {found:?}");
    }
}
