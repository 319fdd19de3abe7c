//! What can happen in a world, and how often.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::world::{Nature, Obedience};
use crate::lifecycle::*;

/// Agents and slots are numbers of which the world takes the remainder.
#[derive(Debug, Clone)]
pub enum Step {
    Ready(usize),
    /// These slots end their jobs and begin others, in one instant.
    Work(u16),
    /// One piece of news of this agent arrives.
    Hear(usize),
    /// This agent ends by itself.
    Die(usize, i32),
    Wait(Duration),
    /// This agent's process shows that it survives its drain step.
    Arm(usize),
    /// This agent shows that it takes no job for a moment.
    Safe(usize),
    /// Levels can not be told.
    Blind(bool),
    Tell(Event),
    /// The supervisor is killed and started again.
    Restart,
    /// The supervisor is killed after it decided, before it did anything.
    Lose(Event),
}

/// Agents at work; nobody wants them to end.
pub fn work() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..4_usize).prop_map(Step::Ready),
        8 => any::<u16>().prop_map(Step::Work),
        6 => (0..4_usize).prop_map(Step::Hear),
        1 => (0..4_usize, select(vec![0, 0, 1, 7])).prop_map(|(n, code)| Step::Die(n, code)),
        4 => wait().prop_map(Step::Wait),
        2 => (0..4_usize).prop_map(Step::Safe),
        1 => (0..4_usize).prop_map(Step::Arm),
        1 => any::<bool>().prop_map(Step::Blind),
        1 => Just(Step::Restart),
    ]
}

/// Agents that work as fast as they are heard.
pub fn rush() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<u16>().prop_map(Step::Work),
        12 => (0..4_usize).prop_map(Step::Hear),
        1 => work(),
    ]
}

/// Agents at work, and people and clouds that want something.
pub fn life() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => work(),
        2 => outside().prop_map(Step::Tell),
        2 => select(vec![Event::AtMinimum, Event::Pooled, Event::Retired, Event::TreeGone, Event::Sampled])
            .prop_map(Step::Tell),
    ]
}

/// The same, and a supervisor that dies between word and deed.
pub fn hard_life() -> impl Strategy<Value = Step> {
    prop_oneof![
        9 => life(),
        1 => outside().prop_map(Step::Lose),
        1 => Just(Step::Lose(Event::Tick)),
    ]
}

pub fn steps<S: Strategy<Value = Step>>(step: S) -> impl Strategy<Value = Vec<Step>> {
    vec(step, 0..40)
}

fn outside() -> impl Strategy<Value = Event> {
    let reason = select(Reason::ALL.to_vec());
    let deadline = prop::option::of((0..3000_u64).prop_map(|s| Instant(Duration::from_secs(s))));
    prop_oneof![
        3 => (reason.clone(), deadline.clone())
            .prop_map(|(reason, deadline)| Event::Drain { reason, deadline }),
        2 => (reason, deadline)
            .prop_map(|(reason, deadline)| Event::DrainAfterJob { reason, deadline }),
        2 => Just(Event::Wake),
        1 => Just(Event::Pooled),
        2 => Just(Event::Interrupt),
        1 => Just(Event::Quit),
        1 => Just(Event::PassThrough),
        2 => limits().prop_map(Event::Limits),
    ]
}

fn wait() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..5_u64).prop_map(Duration::from_secs),
        (0..900_u64).prop_map(Duration::from_secs),
        (0..3000_u64).prop_map(Duration::from_millis),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let seconds =
        |range: std::ops::Range<u64>| range.prop_map(|s| Limit::At(Duration::from_secs(s)));
    let maybe = move |range| prop_oneof![1 => Just(Limit::Never), 3 => seconds(range)];
    let max_jobs = prop_oneof![Just(Limit::Never), (1..20_u32).prop_map(Limit::At)];
    let times = (
        maybe(1..900),
        maybe(60..5000),
        maybe(1..400),
        seconds(1..4000),
    );
    (max_jobs, times).prop_map(|(max_jobs, (idle, lifetime, boot, drain))| Limits {
        max_jobs,
        idle_timeout: idle,
        max_lifetime: lifetime,
        boot_timeout: boot,
        drain_timeout: drain,
    })
}

fn detectors() -> impl Strategy<Value = Vec<DetectorKind>> {
    use DetectorKind::*;
    select(vec![
        vec![Edges],
        vec![Edges, AdvisoryEdges],
        vec![Edges, AdvisoryLevel],
        vec![Edges, Level],
        vec![Edges, Census],
        vec![Edges, AdvisoryEdges, AdvisoryLevel],
    ])
}

/// Any configuration whose first detector sees every job, or its steps.
pub fn settings() -> impl Strategy<Value = Settings> {
    let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    let linger = prop::option::weighted(0.2, seconds(1..30));
    let window = (seconds(1..10), seconds(1..60));
    let window = window.prop_map(|(lasts, patience)| Window { lasts, patience });
    let window = prop::option::weighted(0.3, window);
    let needs_line = prop::option::weighted(0.3, Just(DrainMethod::WaitIdle));
    let cordon = prop::bool::weighted(0.3);
    let all = (jobs(), linger, window, needs_line, cordon);
    all.prop_map(|(settings, linger, window, needs_line, cordon)| Settings {
        cordon,
        linger,
        window,
        needs_line,
        ..settings
    })
}

/// Any configuration whose first detector sees every job as one.
pub fn jobs() -> impl Strategy<Value = Settings> {
    let drain = select(vec![
        DrainMethod::Signal,
        DrainMethod::WaitIdle,
        DrainMethod::SingleJob,
    ]);
    let cancel = prop::option::of((1..60_u64).prop_map(Duration::from_secs));
    let flags = (any::<bool>(), any::<bool>());
    let shape = (1..4_u32, 1..4_u32);
    (shape, limits(), detectors(), drain, cancel, flags).prop_map(
        |((agents, slots), limits, detectors, drain, cancel, (sees_ready, pass_through))| {
            let single = drain == DrainMethod::SingleJob;
            let levels = detectors.iter().any(|kind| kind.is_level());
            Settings {
                agents,
                slots: if single { 1 } else { slots },
                slots_known: true,
                limits,
                sees_ready,
                drain,
                needs_line: None,
                window: None,
                cordon: false,
                linger: None,
                cancel,
                exit_ok: vec![7],
                pass_through,
                sampling: levels.then_some(Sampling {
                    while_idle: Duration::from_secs(15),
                    while_busy: Duration::from_secs(5),
                }),
                detectors,
            }
        },
    )
}

/// Any world.
pub fn nature() -> impl Strategy<Value = Nature> {
    let obedience = select(vec![
        Obedience::Full,
        Obedience::Full,
        Obedience::OnlyKill,
        Obedience::Nothing,
    ]);
    let often = || prop::bool::weighted(0.8);
    let lag_and_ids = (any::<bool>(), any::<bool>());
    let flags = (often(), often(), often(), often(), lag_and_ids);
    let eager = prop_oneof![Just(0_u16), any::<u16>()];
    (obedience, flags, eager).prop_map(
        |(obedience, (woken, starts, ready_at_once, answers, (lag, ids)), eager)| Nature {
            obedience,
            woken,
            starts,
            ready_at_once,
            answers,
            lag,
            ids,
            eager,
        },
    )
}
