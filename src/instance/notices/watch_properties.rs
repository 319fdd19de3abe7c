//! What holds for the watch whatever it is told.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::watch_tests::{boot, clock, event, wall};
use super::*;
use crate::lifecycle::{Instant, Reason};

fn reading<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Reading<T>> {
    prop_oneof![
        1 => Just(Reading::Nothing),
        1 => Just(Reading::Unknown),
        2 => value.prop_map(Reading::Is),
    ]
}

fn any_round() -> impl Strategy<Value = Round> {
    let action = (select(SpotKind::ALL.to_vec()), 0..9000_u64)
        .prop_map(|(kind, at)| SpotAction { kind, at: wall(at) });
    let codes = select(vec!["system-reboot", "instance-stop", "new-code"]);
    let states = select(vec![
        EventState::Active,
        EventState::Active,
        EventState::Over,
        EventState::Other,
    ]);
    let event = (codes, prop::option::of(0..9000_u64), states).prop_map(|(code, at, state)| {
        let mut event = event(code, at);
        event.state = state;
        event
    });
    let targets = select(vec![
        Target::InService,
        Target::Terminated,
        Target::Standby,
        Target::Warmed(Warm::Running),
        Target::Other("New".to_owned()),
    ]);
    let parts = (
        reading(action),
        reading((0..9000_u64).prop_map(wall)),
        reading(vec(event, 0..3)),
        reading(targets),
    );
    parts.prop_map(|(spot, rebalance, maintenance, target)| Round {
        spot,
        rebalance,
        maintenance,
        target,
    })
}

/// Rounds at growing times, with the wall clock up to two seconds off.
fn any_rounds() -> impl Strategy<Value = Vec<(Clock, Round)>> {
    let step = (1..600_u64, 0..2000_u64, any_round());
    vec(step, 1..30).prop_map(|steps| {
        let mut second = 0;
        let mut rounds = Vec::new();
        for (pause, skew, round) in steps {
            second += pause;
            let mut now = clock(second);
            now.wall += Duration::from_millis(skew);
            rounds.push((now, round));
        }
        rounds
    })
}

fn any_watch() -> impl Strategy<Value = Watch> {
    (select(OnRebalance::ALL.to_vec()), 0..4000_u64).prop_map(|(on_rebalance, age)| {
        let policy = NoticePolicy {
            on_rebalance,
            rebalance_min_age: Duration::from_secs(age),
            ..NoticePolicy::default()
        };
        Watch::new(policy, boot(0))
    })
}

proptest! {
    #[test]
    fn for_one_reason_things_only_get_sooner(mut watch in any_watch(), rounds in any_rounds()) {
        let mut told: Vec<(Reason, bool, Option<Instant>)> = Vec::new();
        for (clock, round) in rounds {
            for news in watch.round(clock, &round) {
                let (reason, grave, deadline) = match news {
                    News::Drain { reason, deadline } => (reason, true, deadline),
                    News::DrainAfterJob { reason, deadline } => (reason, false, deadline),
                    _ => continue,
                };
                let before = told.iter().rfind(|(told, ..)| *told == reason);
                let is_kept = before.is_some_and(|(_, _, was)| deadline == *was);
                prop_assert!(is_kept || deadline.is_none_or(|at| at >= clock.boot));
                if let Some((_, was_grave, was)) = before {
                    let sooner = match (deadline, was) {
                        (Some(new), Some(old)) => old.since(new) >= Duration::from_secs(1),
                        (Some(_), None) => true,
                        (None, _) => false,
                    };
                    prop_assert!(sooner || (grave && !was_grave), "told without need");
                    prop_assert!(grave >= *was_grave, "less grave than before");
                    let not_later = was.is_none_or(|old| deadline.is_some_and(|new| new <= old));
                    prop_assert!(not_later, "{deadline:?} after {was:?}");
                }
                told.push((reason, grave, deadline));
            }
        }
    }

    #[test]
    fn the_same_round_is_told_once(mut watch in any_watch(), rounds in any_rounds()) {
        for (clock, round) in rounds {
            watch.round(clock, &round);
            prop_assert_eq!(watch.round(clock, &round), []);
        }
    }

    #[test]
    fn unknown_and_nothing_are_no_news(mut watch in any_watch(), rounds in any_rounds()) {
        for (clock, round) in rounds {
            watch.round(clock, &round);
            prop_assert_eq!(watch.round(clock, &Round::default()), []);
        }
    }

    /// What is unknown in between, even for good, never makes a drain later.
    #[test]
    fn a_spot_notice_that_was_seen_once_ends_the_work_in_time(
        mut watch in any_watch(),
        rounds in any_rounds(),
    ) {
        let mut soonest: Option<Instant> = None;
        let mut told: Option<Instant> = None;
        for (clock, round) in rounds {
            if let Reading::Is(action) = round.spot {
                let due = clock.before(action.at, Duration::from_secs(20));
                soonest = Some(soonest.map_or(due, |known| known.min(due)));
            }
            for news in watch.round(clock, &round) {
                if let News::Drain { reason: Reason::Spot, deadline } = news {
                    told = deadline;
                }
            }
            let (Some(soonest), Some(told)) = (soonest, told) else {
                prop_assert_eq!(soonest, told);
                continue;
            };
            prop_assert!(told.since(soonest) < Duration::from_secs(1));
        }
    }
}
