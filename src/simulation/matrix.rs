//! The matrix: what each notice does to a machine in each state, alone and followed by each other
//! one 30 seconds later, and by when.
//!
//! The machine has one agent with two slots, an hour to drain, and hooks of 30 seconds, which can
//! be kept for 3000. A busy one has a job that ends after 600 seconds and one of five hours.

mod rules;

use std::fmt::Write;
use std::time::Duration;

use super::agents::Manners;
use super::chance::Chance;
use super::fate::Fate;
use super::group::hook;
use super::story::Story;
use super::world::{Nature, World};
use crate::instance::notices::{
    MaintenanceCode, NoticePolicy, OnRebalance, Protect, SpotKind, Transition, Warm,
};
use crate::instance::{AtMinimum, Leave, leave};
use crate::lifecycle::*;

const TABLE: &str = include_str!("matrix.txt");

/// When the first notice comes: the machine is old enough for rebalance recommendations.
const START: Instant = Instant(Duration::from_secs(3600));
const APART: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Busy,
    /// As busy, and for a minute an operator has wanted it to drain.
    Draining,
    /// For 10 seconds it has been leaving for idle; its group, at its minimum, refuses after 60.
    Retiring,
}

const STATES: [(State, &str); 4] = [
    (State::Idle, "idle"),
    (State::Busy, "busy"),
    (State::Draining, "draining"),
    (State::Retiring, "retiring"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    Spot(SpotKind),
    Rebalance(OnRebalance),
    Reboot,
    Degraded,
    ScaleIn,
    Pool,
    Operator,
}

const NOTICES: [(Notice, &str); 11] = [
    (Notice::Spot(SpotKind::Terminate), "spot terminate"),
    (Notice::Spot(SpotKind::Stop), "spot stop"),
    (Notice::Spot(SpotKind::Hibernate), "spot hibernate"),
    (Notice::Rebalance(OnRebalance::Ignore), "rebalance, ignored"),
    (
        Notice::Rebalance(OnRebalance::AfterJob),
        "rebalance, after-job",
    ),
    (Notice::Rebalance(OnRebalance::Now), "rebalance, now"),
    (Notice::Reboot, "reboot"),
    (Notice::Degraded, "degraded"),
    (Notice::ScaleIn, "scale-in"),
    (Notice::Pool, "warm pool"),
    (Notice::Operator, "operator"),
];

impl Notice {
    fn fate(self) -> Fate {
        let seconds = Duration::from_secs;
        match self {
            // Hibernation begins as it is told.
            Notice::Spot(SpotKind::Hibernate) => Fate::Spot(SpotKind::Hibernate, seconds(10)),
            Notice::Spot(kind) => Fate::Spot(kind, seconds(120)),
            Notice::Rebalance(_) => Fate::Rebalance,
            Notice::Reboot => Fate::Maintenance(MaintenanceCode::InstanceReboot, seconds(7200)),
            Notice::Degraded => Fate::Maintenance(MaintenanceCode::InstanceStop, seconds(1800)),
            Notice::ScaleIn => Fate::ScaleIn(None),
            Notice::Pool => Fate::ScaleIn(Some(Warm::Running)),
            Notice::Operator => Fate::Operator(None),
        }
    }

    /// One machine has one policy, and its group either a pool or none.
    fn goes_with(self, other: Notice) -> bool {
        match (self, other) {
            (Notice::Rebalance(_), Notice::Rebalance(_)) => false,
            (Notice::ScaleIn | Notice::Pool, Notice::ScaleIn | Notice::Pool) => false,
            _ => self != other,
        }
    }
}

/// What became of a machine; times are seconds after [`START`].
#[derive(Debug, Clone, PartialEq)]
struct Fates {
    drain: Option<f64>,
    cancel: Option<f64>,
    retire: Option<f64>,
    passed: u32,
    cancelled: u32,
    reason: Option<Reason>,
    leaves: &'static str,
}

fn nature(state: State, notices: &[(Duration, Notice)]) -> Nature {
    let seconds = Duration::from_secs;
    let policy = notices.iter().find_map(|(_, notice)| match notice {
        Notice::Rebalance(policy) => Some(*policy),
        _ => None,
    });
    let idle_timeout = match state {
        // It is ready after 12 seconds, and its agent takes one to end.
        State::Retiring => Limit::At(START.0 - seconds(12 + 1 + 10)),
        _ => Limit::Never,
    };
    Nature {
        settings: Settings {
            agents: 1,
            slots: 2,
            slots_known: true,
            limits: Limits {
                max_jobs: Limit::Never,
                idle_timeout,
                max_lifetime: Limit::Never,
                boot_timeout: Limit::At(seconds(300)),
                drain_timeout: Limit::At(seconds(3600)),
            },
            detectors: vec![DetectorKind::Edges],
            sees_ready: true,
            drain: DrainMethod::Signal,
            needs_line: None,
            window: None,
            cordon: false,
            linger: None,
            cancel: Some(seconds(30)),
            exit_ok: Vec::new(),
            pass_through: false,
            sampling: None,
        },
        policy: NoticePolicy {
            on_rebalance: policy.unwrap_or_default(),
            ..NoticePolicy::default()
        },
        protect: Protect::Off,
        hooks: vec![hook(Transition::Terminating, seconds(30))],
        manners: Manners::Obedient,
        jobs: None,
        at_minimum: true,
        climb: seconds(60),
        pooled: None,
    }
}

/// Lets a machine in this state hear of these notices.
fn lives(state: State, notices: &[(Duration, Notice)]) -> Fates {
    let seconds = Duration::from_secs;
    let mut world = World::new(nature(state, notices), Chance::none(), Story::Quiet);
    let until_start = START.since(world.now);
    if matches!(state, State::Busy | State::Draining) {
        let before = until_start - seconds(300);
        world.fate(before, Fate::Job(0, seconds(300 + 600)));
        world.fate(before, Fate::Job(1, seconds(300 + 5 * 3600)));
    }
    if state == State::Draining {
        world.fate(until_start - seconds(60), Fate::Operator(None));
    }
    for (wait, notice) in notices {
        world.fate(until_start + *wait, notice.fate());
        world.fate(until_start + *wait, Fate::Looks);
    }
    world.plays(START.after(seconds(6 * 3600)));
    let wanted = &world.wanted;
    let at = |at: &Instant| at.0.as_secs_f64() - START.0.as_secs_f64();
    let first = |is: fn(&Action) -> bool| {
        let first = wanted.iter().find(|(_, action)| is(action));
        first.map(|(time, _)| at(time))
    };
    let jobs = |outcome| {
        let ended = wanted.iter().filter(|(_, action)| {
            matches!(action, Action::Report(Report::JobFinished { outcome: how, .. }) if *how == outcome)
        });
        ended.count() as u32
    };
    let asked = wanted.iter().find_map(|(time, action)| {
        let asks = matches!(action, Action::Retire(_)) && *time >= START;
        asks.then(|| at(time))
    });
    let end = wanted.iter().rev().find_map(|(time, action)| match action {
        Action::Retire(reason) => Some(Some((at(time), *reason))),
        Action::Report(Report::ReturnedToService { .. }) => Some(None),
        _ => None,
    });
    let retired = end.flatten();
    let pooled = first(|it| matches!(it, Action::Report(Report::Pooled))).is_some();
    Fates {
        drain: first(|it| matches!(it, Action::Report(Report::DrainBegan { .. }))),
        cancel: first(|it| matches!(it, Action::Report(Report::CancelledJobs { .. }))),
        retire: retired.map(|(at, _)| asked.unwrap_or(at)),
        passed: jobs(Outcome::Passed),
        cancelled: jobs(Outcome::Canceled),
        reason: retired.map(|(_, reason)| reason),
        leaves: match retired.map(|(_, reason)| leave(reason)) {
            // Before the ladder could do what it wanted for idle.
            Some(Leave::Shrink(AtMinimum::Stay)) => "is taken away",
            None if end.is_some() => "stays",
            None => "",
            Some(Leave::Pool) => "into its pool",
            Some(_) if pooled => "into its pool",
            Some(Leave::Chosen) => "completes the action",
            Some(Leave::Replace) => "is replaced",
            Some(Leave::Shrink(_)) => "decrements",
        },
    }
}

/// Each notice alone, then each with another.
fn cases() -> Vec<(Vec<(Duration, Notice)>, String)> {
    let alone = NOTICES.map(|(notice, name)| (vec![(Duration::ZERO, notice)], name.to_owned()));
    let mut cases = alone.to_vec();
    for (first, name) in NOTICES {
        for (then, other) in NOTICES
            .into_iter()
            .filter(|(then, _)| first.goes_with(*then))
        {
            let both = vec![(Duration::ZERO, first), (APART, then)];
            cases.push((both, format!("{name} + {other}")));
        }
    }
    cases
}

fn table() -> String {
    let mut table = String::from(
        "state    | notices                               | drain | cancel | retire | jobs          | reason      | the machine\n",
    );
    let time = |at: Option<f64>| at.map_or(String::new(), |at| format!("{at}"));
    for (state, name) in STATES {
        for (notices, title) in cases() {
            let fates = lives(state, &notices);
            let jobs = match (fates.passed, fates.cancelled) {
                (0, 0) => String::new(),
                (passed, 0) => format!("{passed} end"),
                (0, cancelled) => format!("{cancelled} cut"),
                (passed, cancelled) => format!("{passed} end, {cancelled} cut"),
            };
            let reason = fates.reason.map_or("", Reason::as_str);
            let row = format!(
                "{name:8} | {title:37} | {:>5} | {:>6} | {:>6} | {jobs:13} | {reason:11} | {}",
                time(fates.drain),
                time(fates.cancel),
                time(fates.retire),
                fates.leaves,
            );
            writeln!(table, "{}", row.trim_end()).expect("a string takes everything");
        }
    }
    table
}

/// `CLOCKOUT_BLESS=1` writes the table anew.
#[test]
fn the_matrix_is_as_written() {
    let table = table();
    if std::env::var_os("CLOCKOUT_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/simulation/matrix.txt");
        std::fs::write(path, &table).expect("the table can be written");
        return;
    }
    for (number, (is, was)) in table.lines().zip(TABLE.lines()).enumerate() {
        assert_eq!(is, was, "line {}", number + 1);
    }
    assert_eq!(table.lines().count(), TABLE.lines().count());
}
