//! One property for each rule.

use std::time::Duration;

use proptest::prelude::*;

use super::lives;
use super::script::{self, Step};
use super::world::{Nature, Obedience, World};
use crate::lifecycle::*;

/// Limits under which only jobs end the machine.
fn only_jobs(max: u32) -> Limits {
    Limits {
        max_jobs: Limit::At(max),
        ..Limits::none()
    }
}

/// Rule 1 can only be kept where an agent's signal lets it finish, or it runs one job.
fn drainable() -> impl Strategy<Value = Settings> {
    script::jobs().prop_map(|settings| Settings {
        drain: match settings.drain {
            DrainMethod::WaitIdle => DrainMethod::Signal,
            possible => possible,
        },
        ..settings
    })
}

/// Only limits count here: nobody tells the supervisor to drain.
fn loyal() -> impl Strategy<Value = Nature> {
    script::nature().prop_map(|nature| Nature {
        obedience: Obedience::Full,
        ..nature
    })
}

proptest! {
    #![proptest_config(lives())]

    /// Rule 1, where the agent's signal or its single job makes it possible.
    #[test]
    fn never_more_than_max_jobs_start(
        settings in drainable(),
        max in 1..8_u32,
        other_limits in any::<bool>(),
        nature in loyal(),
        steps in script::steps(script::rush()),
    ) {
        let others = if other_limits { settings.limits } else { Limits::none() };
        let limits = Limits { max_jobs: Limit::At(max), ..others };
        let mut world = World::new(Settings { limits, ..settings }, nature);
        world.plays(&steps);
        prop_assert!(world.jobs <= max, "{} of {max} jobs began", world.jobs);
    }

    /// Rule 1, the other side: no job is withheld that was safe to allow.
    #[test]
    fn as_many_jobs_start_as_is_safe(
        settings in drainable(),
        max in 1..12_u32,
        lag in any::<bool>(),
        rounds in prop::collection::vec(any::<u16>(), 0..20),
    ) {
        let agents = if settings.slots == 1 { settings.agents } else { 1 };
        let slots = settings.slots;
        let settings = Settings { agents, limits: only_jobs(max), ..settings };
        let mut world = World::new(settings, Nature { lag, ..Nature::kind() });
        for slots in rounds {
            world.work(slots);
        }
        for _ in 0..2 * max + 2 {
            world.work(u16::MAX);
            world.hear_all();
        }
        prop_assert!(world.jobs <= max);
        prop_assert!(world.jobs + slots > max, "only {} of {max} jobs", world.jobs);
        prop_assert_eq!(world.watch.heard, world.jobs);
        prop_assert_eq!(world.life.started(), world.jobs);
        if !lag {
            prop_assert_eq!(world.watch.told.0, world.jobs);
        }
    }

    /// A cordon, where the server keeps it, makes a drain that cancels as good as one that does
    /// not: levels are asked after it.
    #[test]
    fn a_cordoned_agent_is_never_drained_in_a_job(
        settings in script::jobs(),
        window in prop::option::of((1..10_u64).prop_map(Duration::from_secs)),
        nature in loyal(),
        steps in script::steps(script::work()),
    ) {
        let sampling = Sampling {
            while_idle: Duration::from_secs(15),
            while_busy: Duration::from_secs(5),
        };
        let settings = Settings {
            detectors: vec![DetectorKind::Edges, DetectorKind::AdvisoryLevel],
            sampling: Some(sampling),
            drain: DrainMethod::WaitIdle,
            cordon: true,
            window: window.map(|lasts| Window { lasts, patience: lasts }),
            limits: only_jobs(1000),
            ..settings
        };
        let mut world = World::new(settings, Nature { answers: true, ..nature });
        world.plays(&steps);
        world.blind = false;
        let reason = Reason::Operator;
        world.tell(Event::Drain { reason, deadline: None });
        for _ in 0..20 {
            world.work(u16::MAX);
            world.wait(Duration::from_secs(7));
        }
        prop_assert_eq!(world.cancelled, 0);
        prop_assert!(!matches!(world.life.phase(), Phase::Working));
    }

    /// Rule 2 is watched in every world; here worlds in which idle time matters.
    #[test]
    fn idle_is_a_full_idle_time_without_a_job(
        settings in script::settings(),
        idle in 1..600_u64,
        nature in script::nature(),
        steps in script::steps(script::work()),
    ) {
        let limits = Limits {
            idle_timeout: Limit::At(Duration::from_secs(idle)),
            ..only_jobs(1000)
        };
        let mut world = World::new(Settings { limits, ..settings }, nature);
        world.plays(&steps);
    }

    /// Rule 2: in the instant of the timeout the job wins; without one it is idle in that instant.
    #[test]
    fn a_job_in_the_instant_of_the_timeout_wins(
        settings in script::settings(),
        idle in 1..600_u64,
        job in any::<bool>(),
    ) {
        let timeout = Duration::from_secs(idle);
        let limits = Limits { idle_timeout: Limit::At(timeout), ..Limits::none() };
        let mut world = World::new(Settings { limits, ..settings }, Nature::kind());
        let born = world.now;
        world.wait(timeout - Duration::from_millis(1));
        prop_assert_eq!(world.life.phase(), Phase::Working);
        if job {
            world.now = born.after(timeout);
            world.work(1);
            world.hear_all();
            world.tell(Event::Tick);
            prop_assert_eq!(world.life.phase(), Phase::Working);
        } else {
            world.wait(Duration::from_millis(1));
            prop_assert_eq!(world.life.reason(), Some(Reason::Idle));
        }
    }

    /// Rule 3: in a world that ignores every signal the machine retires in time all the same.
    #[test]
    fn whatever_ignores_the_deadline_the_machine_retires(
        settings in script::settings(),
        before in script::steps(script::work()),
        notices in prop::collection::vec((0..60_u64, 0..5000_u64), 0..5),
    ) {
        let nature = Nature { obedience: Obedience::Nothing, ..Nature::kind() };
        let limits = Limits {
            drain_timeout: settings.limits.drain_timeout,
            ..Limits::none()
        };
        let mut world = World::new(Settings { limits, ..settings }, nature);
        world.plays(&before);
        world.nature.answers = false;
        let asked = world.now;
        let timeout = world.settings.limits.drain_timeout.get().expect("it is finite");
        let mut deadline = asked.after(timeout);
        let reason = Reason::Operator;
        world.tell(Event::Drain { reason, deadline: None });
        for (wait, at) in notices {
            world.wait(Duration::from_secs(wait));
            let notice = Instant(Duration::from_secs(at));
            if let Phase::Draining { urgency: Urgency::Drain, .. } = world.life.phase() {
                deadline = deadline.min(notice.max(world.now));
            }
            world.tell(Event::Drain { reason: Reason::Spot, deadline: Some(notice) });
        }
        world.wait(Duration::from_secs(8000));
        let seconds = Duration::from_secs;
        let terminated = asked.after(seconds(10));
        let cancelled = deadline.after(world.settings.cancel.unwrap_or_default());
        // Ten kills a second apart, then the sweep: two seconds and fifty times a tenth.
        let latest = terminated.max(cancelled).after(seconds(10) + seconds(7));
        let retired = world.retirements.first().map(|(at, _)| *at);
        prop_assert!(retired.is_some_and(|at| at <= latest), "{retired:?} after {latest}");
    }

    /// Rule 4 is watched in every world; here worlds that are often sent back to service.
    #[test]
    fn once_draining_never_back_but_from_idle(
        settings in script::settings(),
        nature in script::nature(),
        steps in script::steps(script::life()),
    ) {
        let mut world = World::new(settings, nature);
        world.plays(&steps);
    }

    /// Rule 4: who is sent back to service without having worked waits longer each time.
    #[test]
    fn the_idle_time_backs_off(
        settings in script::jobs(),
        idle in 1..7200_u64,
        returns in 1..15_u32,
    ) {
        let timeout = Duration::from_secs(idle);
        let limits = Limits { idle_timeout: Limit::At(timeout), ..Limits::none() };
        let slow = Duration::from_secs(1000);
        let sampling = settings.sampling.map(|_| Sampling { while_idle: slow, while_busy: slow });
        let settings = Settings { sampling, ..settings };
        let mut world = World::new(Settings { limits, ..settings }, Nature::kind());
        let longest = timeout.max(Duration::from_secs(3600));
        for n in 1..=returns {
            let until = world.life.idle_deadline().expect("it is idle");
            world.wait(until.since(world.now));
            world.hear_all();
            prop_assert_eq!(world.retirements.len(), n as usize);
            world.tell(Event::AtMinimum);
            world.hear_all();
            prop_assert_eq!(world.watch.waits.len(), n as usize);
            let wait = timeout.saturating_mul(1 << n.min(16)).min(longest);
            prop_assert_eq!(world.watch.waits[n as usize - 1], wait);
        }
        world.work(u16::MAX);
        world.hear_all();
        world.work(u16::MAX);
        world.hear_all();
        prop_assert!(world.jobs > 0);
        let idle = world.life.idle_since().zip(world.life.idle_deadline());
        prop_assert!(idle.is_none_or(|(since, until)| until.since(since) == timeout));
    }

    /// Rule 5: whatever happened, when all falls silent an operator's drain ends the machine.
    #[test]
    fn every_path_ends_in_gone(
        settings in script::settings(),
        nature in script::nature(),
        steps in script::steps(script::hard_life()),
    ) {
        let mut world = World::new(settings, nature);
        world.plays(&steps);
        let reason = Reason::Operator;
        world.tell(Event::Drain { reason, deadline: None });
        let took = world.fall_silent();
        // The longest drain, cancel, kills and sweep; then two hours and five minutes of retiring.
        let longest = 4000 + 60 + 17 + 7200 + 300;
        prop_assert!(took <= Duration::from_secs(longest), "took {took:?}");
    }

    /// Rule 6: crashes wait 1, 2, 4 and 8 seconds; five in a minute are a loop, and that is final.
    #[test]
    fn crashes_back_off_and_five_in_a_minute_are_a_loop(
        settings in script::settings(),
        lives in prop::collection::vec((0..40_000_u64, any::<bool>()), 1..20),
    ) {
        let limits = Limits::none();
        let settings = Settings { agents: 1, pass_through: false, limits, ..settings };
        let mut world = World::new(settings, Nature::kind());
        let mut crashes: Vec<Instant> = Vec::new();
        for (lived, restart) in lives {
            world.wait(Duration::from_millis(lived));
            world.plays(&[Step::Die(0, 1)]);
            world.hear_all();
            if restart {
                world.plays(&[Step::Restart]);
            }
            let now = world.now;
            crashes.push(now);
            crashes.retain(|at| now.since(*at) <= Duration::from_secs(60));
            let spawns = world.spawns;
            if crashes.len() == 5 {
                prop_assert_eq!(world.life.reason(), Some(Reason::CrashLoop));
                world.tell(Event::AtMinimum);
                world.wait(Duration::from_secs(10_000));
                prop_assert_eq!(world.spawns, spawns);
                return Ok(());
            }
            let pause = Duration::from_secs(1 << (crashes.len() - 1));
            world.wait(pause - Duration::from_millis(1));
            prop_assert_eq!(world.spawns, spawns);
            world.wait(Duration::from_millis(1));
            world.hear_all();
            prop_assert_eq!(world.spawns, spawns + 1);
        }
    }

    /// Rule 6: a one-job agent is started once for each job that is allowed.
    #[test]
    fn a_one_job_agent_is_started_until_max_jobs(settings in script::settings(), max in 1..30_u32) {
        let limits = only_jobs(max);
        let settings = Settings {
            agents: 1,
            slots: 1,
            drain: DrainMethod::SingleJob,
            limits,
            ..settings
        };
        let mut world = World::new(settings, Nature::kind());
        for _ in 0..2 * max {
            world.work(1);
            world.hear_all();
        }
        prop_assert_eq!((world.jobs, world.spawns), (max, max));
        prop_assert_eq!(world.retirements.len(), 1);
        prop_assert_eq!(world.life.reason(), Some(Reason::MaxJobs));
    }

    /// Rule 6: who is never ready ends the machine, even if it crashes or ends meanwhile.
    #[test]
    fn never_ready_ends_the_machine(
        settings in script::settings(),
        boot in 1..400_u64,
        ends in prop::collection::vec((0..100_u64, any::<bool>()), 0..10),
    ) {
        let boot = Duration::from_secs(boot);
        let limits = Limits { boot_timeout: Limit::At(boot), ..Limits::none() };
        let settings = Settings { limits, sees_ready: true, ..settings };
        let nature = Nature { ready_at_once: false, ..Nature::kind() };
        let mut world = World::new(settings, nature);
        let born = world.now;
        for (wait, fine) in ends {
            world.wait(Duration::from_secs(wait));
            world.plays(&[Step::Die(0, i32::from(!fine))]);
        }
        world.wait(boot);
        world.hear_all();
        let reason = world.life.reason();
        prop_assert!(reason.is_some(), "still working, born {born}");
    }
}
