//! The watch's rules, by table.

use std::time::{Duration, SystemTime};

use super::*;
use crate::lifecycle::{Instant, Reason};

/// The machine's wall clock as it started.
const START: u64 = 1_600_000_000;

pub fn wall(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(START + second)
}

pub fn boot(second: u64) -> Instant {
    Instant(Duration::from_secs(second))
}

pub fn clock(second: u64) -> Clock {
    Clock {
        boot: boot(second),
        wall: wall(second),
    }
}

fn watch(on_rebalance: OnRebalance) -> Watch {
    let policy = NoticePolicy {
        on_rebalance,
        ..NoticePolicy::default()
    };
    Watch::new(policy, boot(0))
}

fn spot(kind: SpotKind, at: u64) -> Round {
    Round {
        spot: Reading::Is(SpotAction { kind, at: wall(at) }),
        ..Round::default()
    }
}

pub fn event(code: &str, not_before: Option<u64>) -> Maintenance {
    Maintenance {
        id: format!("event-{code}"),
        code: MaintenanceCode::new(code),
        description: String::new(),
        state: EventState::Active,
        not_before: not_before.map(wall),
        not_after: None,
    }
}

fn maintenance(events: impl IntoIterator<Item = Maintenance>) -> Round {
    Round {
        maintenance: Reading::Is(events.into_iter().collect()),
        ..Round::default()
    }
}

fn rebalance() -> Round {
    Round {
        rebalance: Reading::Is(wall(0)),
        ..Round::default()
    }
}

fn target(target: Target) -> Round {
    Round {
        target: Reading::Is(target),
        ..Round::default()
    }
}

/// News as short text: `spot terminate at 120 | drain spot by 100`.
fn told(watch: &mut Watch, second: u64, round: &Round) -> String {
    let news = watch.round(clock(second), round);
    let lines: Vec<_> = news.iter().map(line).collect();
    lines.join(" | ")
}

fn line(news: &News) -> String {
    let by = |deadline: &Option<Instant>| {
        deadline.map_or(String::new(), |at| format!(" by {}", at.0.as_secs()))
    };
    match news {
        News::Notice(notice) => {
            let at = notice.at.map_or(String::new(), |at| {
                let second = at.duration_since(wall(0)).expect("after the start");
                format!(" at {}", second.as_secs())
            });
            let ignored = if notice.acted_on { "" } else { " ignored" };
            format!("{} {}{at}{ignored}", notice.reason, notice.what)
        }
        News::Drain { reason, deadline } => format!("drain {reason}{}", by(deadline)),
        News::DrainAfterJob { reason, deadline } => format!("after job {reason}{}", by(deadline)),
        News::Target(target) => format!("target {target}"),
    }
}

#[test]
fn a_spot_notice_drains_with_a_margin_before_its_time() {
    for kind in SpotKind::ALL {
        let mut watch = watch(OnRebalance::Ignore);
        let expected = format!("spot {} at 120 | drain spot by 100", kind.as_str());
        assert_eq!(told(&mut watch, 5, &spot(kind, 120)), expected);
        assert_eq!(told(&mut watch, 10, &spot(kind, 120)), "");
    }
}

#[test]
fn a_time_that_has_passed_or_is_within_the_margin_is_now() {
    let mut watch = watch(OnRebalance::Ignore);
    let round = spot(SpotKind::Terminate, 110);
    let expected = "spot terminate at 110 | drain spot by 100";
    assert_eq!(told(&mut watch, 100, &round), expected);
    assert_eq!(told(&mut watch, 105, &round), "");
    // EC2 failed to terminate it, and the notice stays.
    assert_eq!(told(&mut watch, 7200, &round), "");

    let mut late = super::Watch::new(NoticePolicy::default(), boot(0));
    let expected = "spot terminate at 110 | drain spot by 7200";
    assert_eq!(told(&mut late, 7200, &round), expected);
}

#[test]
fn a_moving_time_only_makes_it_sooner() {
    let mut watch = watch(OnRebalance::Ignore);
    let expected = "spot stop at 500 | drain spot by 480";
    assert_eq!(told(&mut watch, 0, &spot(SpotKind::Stop, 500)), expected);
    assert_eq!(told(&mut watch, 5, &spot(SpotKind::Stop, 505)), "");
    let expected = "spot stop at 499 | drain spot by 479";
    assert_eq!(told(&mut watch, 10, &spot(SpotKind::Stop, 499)), expected);
    assert_eq!(told(&mut watch, 15, &spot(SpotKind::Stop, 500)), "");
    // Another action is another notice, and as late as the first.
    let round = spot(SpotKind::Terminate, 499);
    assert_eq!(told(&mut watch, 20, &round), "spot terminate at 499");
}

#[test]
fn a_withdrawn_or_unknown_notice_changes_nothing() {
    let mut watch = watch(OnRebalance::Ignore);
    let round = spot(SpotKind::Terminate, 500);
    assert_ne!(told(&mut watch, 0, &round), "");
    let nothing = Round {
        spot: Reading::Nothing,
        rebalance: Reading::Nothing,
        maintenance: Reading::Nothing,
        target: Reading::Nothing,
    };
    assert_eq!(told(&mut watch, 5, &nothing), "");
    assert_eq!(told(&mut watch, 10, &Round::default()), "");
    assert_eq!(told(&mut watch, 15, &round), "");
}

#[test]
fn the_services_clock_is_the_one_that_counts() {
    let mut watch = watch(OnRebalance::Ignore);
    // The machine has no battery and believes that it is 1970.
    let news = watch.round(
        Clock {
            boot: boot(7),
            wall: wall(1000),
        },
        &spot(SpotKind::Terminate, 1120),
    );
    assert_eq!(line(&news[1]), "drain spot by 107");
}

#[test]
fn a_correction_of_the_clock_within_a_second_is_not_told() {
    let mut watch = watch(OnRebalance::Ignore);
    let round = spot(SpotKind::Terminate, 120);
    let corrected = |by: u64| Clock {
        boot: boot(5),
        wall: wall(5) + Duration::from_millis(by),
    };
    assert_eq!(watch.round(corrected(0), &round).len(), 2);
    assert_eq!(watch.round(corrected(900), &round), []);
    let news = watch.round(corrected(1100), &round);
    assert_eq!(news.len(), 1, "{news:?}");
}

#[test]
fn maintenance_waits_for_the_job_unless_the_hardware_fails() {
    let table = [
        ("system-reboot", "scheduled reboot", "after job maintenance"),
        (
            "instance-reboot",
            "scheduled reboot",
            "after job maintenance",
        ),
        (
            "system-maintenance",
            "power maintenance",
            "after job maintenance",
        ),
        ("instance-vanish", "", "after job maintenance"),
        ("instance-stop", "", "drain maintenance"),
        ("instance-retirement", "", "drain maintenance"),
        (
            "system-reboot",
            "The instance is running on Degraded hardware",
            "drain maintenance",
        ),
        (
            "system-maintenance",
            "scheduled for retirement",
            "drain maintenance",
        ),
    ];
    for (code, description, expected) in table {
        let at = |not_before| {
            let mut event = event(code, not_before);
            event.description = description.to_owned();
            maintenance([event])
        };
        let mut ahead = watch(OnRebalance::Ignore);
        let line = format!("maintenance {code} at 9000 | {expected} by 8980");
        assert_eq!(told(&mut ahead, 100, &at(Some(9000))), line);
        assert_eq!(told(&mut ahead, 105, &at(Some(9000))), "");

        let mut begun = watch(OnRebalance::Ignore);
        let line = format!("maintenance {code} at 90 | {expected}");
        assert_eq!(told(&mut begun, 100, &at(Some(90))), line);

        let mut undated = watch(OnRebalance::Ignore);
        let line = format!("maintenance {code} | {expected}");
        assert_eq!(told(&mut undated, 100, &at(None)), line);
    }
}

#[test]
fn events_that_are_over_are_not_told_and_strange_ones_not_acted_on() {
    let mut watch = watch(OnRebalance::Ignore);
    let mut over = event("instance-stop", Some(9000));
    over.state = EventState::Over;
    assert_eq!(told(&mut watch, 0, &maintenance([over.clone()])), "");
    let mut strange = event("system-reboot", Some(9000));
    strange.state = EventState::Other;
    let expected = "maintenance system-reboot at 9000 ignored";
    assert_eq!(
        told(&mut watch, 5, &maintenance([over, strange.clone()])),
        expected
    );
    strange.state = EventState::Active;
    let expected = "maintenance system-reboot at 9000 | after job maintenance by 8980";
    assert_eq!(told(&mut watch, 9, &maintenance([strange])), expected);
}

#[test]
fn of_several_events_the_gravest_and_the_soonest_count() {
    let mut watch = watch(OnRebalance::Ignore);
    let reboot = event("system-reboot", Some(5000));
    let expected = "maintenance system-reboot at 5000 | after job maintenance by 4980";
    assert_eq!(
        told(&mut watch, 0, &maintenance([reboot.clone()])),
        expected
    );
    let stop = event("instance-stop", Some(9000));
    let both = maintenance([stop, reboot]);
    let expected = "maintenance instance-stop at 9000 | drain maintenance by 4980";
    assert_eq!(told(&mut watch, 5, &both), expected);
    let sooner = maintenance([event("system-maintenance", Some(4000))]);
    let expected = "maintenance system-maintenance at 4000 | drain maintenance by 3980";
    assert_eq!(told(&mut watch, 10, &sooner), expected);
}

#[test]
fn rebalance_is_done_as_told_and_not_before_the_machine_is_old_enough() {
    let table = [
        (OnRebalance::Ignore, ""),
        (
            OnRebalance::AfterJob,
            "rebalance recommended | after job rebalance",
        ),
        (OnRebalance::Now, "rebalance recommended | drain rebalance"),
    ];
    for (choice, when_old) in table {
        let mut watch = watch(choice);
        let young = "rebalance recommended ignored";
        assert_eq!(told(&mut watch, 1795, &rebalance()), young);
        assert_eq!(told(&mut watch, 1799, &rebalance()), "");
        assert_eq!(told(&mut watch, 1800, &rebalance()), when_old);
        assert_eq!(told(&mut watch, 1805, &rebalance()), "");
    }
}

#[test]
fn the_groups_wish_is_told_as_it_changes() {
    let mut watch = watch(OnRebalance::Ignore);
    let mut at = |second, wish| told(&mut watch, second, &target(wish));
    assert_eq!(at(0, Target::InService), "target InService");
    assert_eq!(at(5, Target::InService), "");
    let pool = Target::Warmed(Warm::Stopped);
    assert_eq!(at(10, pool), "target Warmed:Stopped");
    assert_eq!(at(15, Target::InService), "target InService");
    let expected = "target Terminated | scale-in Terminated | drain scale-in";
    assert_eq!(at(20, Target::Terminated), expected);
    assert_eq!(at(25, Target::Terminated), "");
}

#[test]
fn the_most_urgent_of_a_round_comes_first() {
    let mut watch = watch(OnRebalance::Now);
    let mut round = rebalance();
    round.spot = spot(SpotKind::Terminate, 3120).spot;
    round.target = Reading::Is(Target::Terminated);
    round.maintenance = maintenance([event("instance-stop", None)]).maintenance;
    let news = watch.round(clock(3000), &round);
    let reasons = news.iter().filter_map(|news| match news {
        News::Drain { reason, .. } => Some(*reason),
        _ => None,
    });
    let expected = [
        Reason::Spot,
        Reason::ScaleIn,
        Reason::Maintenance,
        Reason::Rebalance,
    ];
    assert!(reasons.eq(expected), "{news:?}");
}

#[test]
fn a_notice_is_written_with_its_kind_and_time() {
    let notice = |at| Notice {
        reason: Reason::Maintenance,
        what: "instance-stop".to_owned(),
        id: Some("event-1".to_owned()),
        at,
        acted_on: true,
    };
    let json = |at| serde_json::to_string(&notice(at)).expect("serializable");
    assert_eq!(
        json(Some(wall(0))),
        r#"{"kind":"maintenance","what":"instance-stop","id":"event-1","at":"2020-09-13T12:26:40Z","acted_on":true}"#
    );
    assert!(json(None).contains(r#""at":null"#));
    let ancient = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert!(json(Some(ancient)).contains(r#""at":null"#));
}
