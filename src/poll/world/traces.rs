//! The worlds that pollers are compared in: the same arrivals, the same boot times, the same
//! failures for all of them.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::plan::{BootBounds, Round};
use super::nature::{
    Arrival, Chain, Dispatch, Faults, GroupNature, How, Nature, Pollers, Shortage, Tells,
};
use crate::simulation::chance::Chance;

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// Makes the world of a trace from a seed.
pub type Make = fn(u64) -> Nature;

pub const TRACES: [(&str, Make); 6] = [
    ("steady", steady),
    ("burst", burst),
    ("nightly", nightly),
    ("flapping", flapping),
    ("boot failures", boot_failures),
    ("spot shortage", spot_shortage),
];

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A job about every so many seconds, for so long.
fn stream(chance: &mut Chance, every: u64, hours: u64, lasts: (u64, u64)) -> Vec<Arrival> {
    let mut jobs = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_millis(chance.below(2000 * every));
        if at > seconds(hours * HOUR) {
            return jobs;
        }
        jobs.push(job(chance, at, lasts));
    }
}

fn job(chance: &mut Chance, at: Duration, (least, most): (u64, u64)) -> Arrival {
    let span = 1000 * (most - least);
    let lasts = seconds(least) + Duration::from_millis(chance.below(span.max(1)));
    Arrival { at, lasts }
}

/// So many jobs within a few seconds.
fn crowd(chance: &mut Chance, at: u64, within: u64, jobs: u64, lasts: (u64, u64)) -> Vec<Arrival> {
    let mut times: Vec<_> = (0..jobs).map(|_| chance.below(1000 * within)).collect();
    times.sort_unstable();
    let at = |ms| seconds(at) + Duration::from_millis(ms);
    times
        .into_iter()
        .map(|ms| job(chance, at(ms), lasts))
        .collect()
}

/// All day long, up to ten jobs at a time.
fn steady(seed: u64) -> Nature {
    let chance = &mut Chance::of(seed);
    nature(stream(chance, 40, 4, (2 * MINUTE, 10 * MINUTE)), 40)
}

/// Thirty jobs at once, every forty minutes.
fn burst(seed: u64) -> Nature {
    let chance = &mut Chance::of(seed);
    let bursts = (0..4).flat_map(|n| {
        let at = 5 * MINUTE + n * 40 * MINUTE;
        crowd(chance, at, 3 * SECOND, 30, (3 * MINUTE, 8 * MINUTE))
    });
    nature(bursts.collect(), 40)
}

/// A quiet evening, and 120 jobs within five minutes of the night; more than the maximum.
fn nightly(seed: u64) -> Nature {
    let chance = &mut Chance::of(seed);
    let mut jobs = stream(chance, 15 * MINUTE, 3, (MINUTE, 5 * MINUTE));
    let night = 3 * HOUR + 5 * MINUTE;
    jobs.extend(crowd(
        chance,
        night,
        5 * MINUTE,
        120,
        (8 * MINUTE, 15 * MINUTE),
    ));
    nature(jobs, 60)
}

/// A few short jobs every few minutes: shorter than an instance takes to come up.
fn flapping(seed: u64) -> Nature {
    let chance = &mut Chance::of(seed);
    let mut jobs = Vec::new();
    let mut at = MINUTE;
    while at < 3 * HOUR {
        let many = 1 + chance.below(5);
        jobs.extend(crowd(chance, at, 20 * SECOND, many, (20 * SECOND, MINUTE)));
        at += 3 * MINUTE + chance.below(6 * MINUTE);
    }
    nature(jobs, 40)
}

/// Every fifth instance never comes up, every tenth never has an agent.
fn boot_failures(seed: u64) -> Nature {
    let chance = &mut Chance::of(seed);
    let mut nature = nature(stream(chance, 60, 3, (2 * MINUTE, 8 * MINUTE)), 40);
    nature.faults = Faults {
        until: seconds(3 * HOUR),
        stuck: 5,
        mute: 10,
        ..Faults::default()
    };
    nature
}

/// Bursts, and for an hour of them the first group gets nothing. Its fallback would.
fn spot_shortage(seed: u64) -> Nature {
    let mut nature = burst(seed);
    let fallback = nature.chains[0].groups[0].clone();
    nature.chains[0].groups.push(fallback);
    nature.faults = Faults {
        until: seconds(3 * HOUR),
        shortages: vec![Shortage {
            chain: 0,
            group: 0,
            from: seconds(30 * MINUTE),
            until: seconds(100 * MINUTE),
        }],
        ..Faults::default()
    };
    nature
}

fn nature(jobs: Vec<Arrival>, max: u32) -> Nature {
    let last = jobs.last().map_or(Duration::ZERO, |job| job.at);
    let group = GroupNature {
        min: 0,
        max,
        cap: None,
        slots: NonZeroU32::MIN,
        headroom: 0,
        step: None,
        round: Round::UP,
        how: How::SetDesired,
        listed: (seconds(2), seconds(8)),
        boot: (seconds(40), seconds(150)),
        ready: (seconds(5), seconds(20)),
        bounds: BootBounds {
            least: seconds(60),
            most: seconds(600),
        },
        idle_timeout: seconds(5 * MINUTE),
        max_jobs: None,
        detach_early: false,
    };
    Nature {
        interval: seconds(10),
        max_instances: None,
        chains: vec![Chain {
            jobs,
            groups: vec![group],
        }],
        tells: Tells {
            running: true,
            free: true,
            agents: true,
            names: true,
        },
        dispatch: Dispatch::Oldest,
        demand_lag: Duration::ZERO,
        supply_lag: seconds(1),
        network: (Duration::from_millis(30), Duration::from_millis(200)),
        pollers: Pollers::One,
        faults: Faults::default(),
        ends: last + seconds(3 * HOUR),
    }
}
