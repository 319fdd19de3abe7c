//! What holds in every row of the matrix.

use super::*;

/// When something happens; never is later than everything.
fn time(at: Option<f64>) -> f64 {
    at.unwrap_or(f64::INFINITY)
}

fn times(fates: &Fates) -> [f64; 3] {
    [fates.drain, fates.cancel, fates.retire].map(time)
}

/// A job that is not there need not be cancelled: that the agents end by themselves is sooner.
fn no_later(fates: &Fates, alone: &Fates) -> bool {
    let [drain, cancel, retire] = times(fates);
    let [drain_alone, cancel_alone, retire_alone] = times(alone);
    let cancels = cancel <= cancel_alone || retire <= cancel_alone;
    drain <= drain_alone && cancels && retire <= retire_alone
}

fn pairs() -> impl Iterator<Item = (State, Notice, Notice)> {
    let notices = || NOTICES.into_iter().map(|(notice, _)| notice);
    let states = STATES.into_iter().map(|(state, _)| state);
    states.flat_map(move |state| {
        notices().flat_map(move |first| {
            let others = notices().filter(move |then| first.goes_with(*then));
            others.map(move |then| (state, first, then))
        })
    })
}

#[test]
fn two_notices_make_nothing_later_than_either_alone() {
    for (state, first, then) in pairs() {
        let both = lives(state, &[(Duration::ZERO, first), (APART, then)]);
        for alone in [(Duration::ZERO, first), (APART, then)] {
            let alone = lives(state, &[alone]);
            assert!(
                no_later(&both, &alone),
                "{state:?}, {first:?} + {then:?}: {both:?}, alone {alone:?}"
            );
        }
    }
}

#[test]
fn the_order_of_two_notices_changes_nothing() {
    let tie = Duration::ZERO;
    for (state, first, then) in pairs() {
        let one = lives(state, &[(tie, first), (tie, then)]);
        let other = lives(state, &[(tie, then), (tie, first)]);
        assert_eq!(one, other, "{state:?}, {first:?} + {then:?}");
    }
}

#[test]
fn a_job_that_ends_before_the_deadline_is_not_cut() {
    let busy = [State::Busy, State::Draining];
    for (state, first, then) in pairs().filter(|(state, ..)| busy.contains(state)) {
        let fates = lives(state, &[(Duration::ZERO, first), (APART, then)]);
        let ends = [600.0, 5.0 * 3600.0];
        let in_time = ends.into_iter().filter(|at| *at < time(fates.cancel));
        let (passed, cut) = (fates.passed, fates.cancelled);
        assert_eq!(passed as usize, in_time.count(), "{first:?} + {then:?}");
        assert_eq!(passed + cut, 2, "{first:?} + {then:?}");
    }
}

#[test]
fn before_a_spot_interruption_jobs_are_cancelled_in_time_and_the_machine_leaves() {
    let spot = [SpotKind::Terminate, SpotKind::Stop].map(Notice::Spot);
    let at = |notice, at| {
        if spot.contains(&notice) {
            at
        } else {
            f64::INFINITY
        }
    };
    for (state, first, then) in pairs() {
        let ends = at(first, 120.0).min(at(then, 150.0));
        if ends.is_infinite() {
            continue;
        }
        let fates = lives(state, &[(Duration::ZERO, first), (APART, then)]);
        let last = fates.cancel.or(fates.drain);
        assert!(time(last) <= ends - 20.0, "{first:?} + {then:?}: {fates:?}");
        assert!(time(fates.retire) < ends, "{first:?} + {then:?}: {fates:?}");
    }
}

#[test]
fn every_notice_that_is_acted_on_drains_at_once_or_after_the_first_job() {
    for (notice, _) in NOTICES {
        let ignored = notice == Notice::Rebalance(OnRebalance::Ignore);
        let after_job = [Notice::Rebalance(OnRebalance::AfterJob), Notice::Reboot];
        let idle = lives(State::Idle, &[(Duration::ZERO, notice)]);
        let busy = lives(State::Busy, &[(Duration::ZERO, notice)]);
        let acted = (!ignored).then_some(0.0);
        assert_eq!(idle.drain, acted, "{notice:?}");
        let waits = after_job.contains(&notice);
        assert_eq!(
            busy.drain,
            if waits { Some(600.0) } else { acted },
            "{notice:?}"
        );
    }
}
