//! Launches that fail, instances that never boot.

use std::time::Duration;

use crate::poll::plan::testing::{Bench, jobs, members, supply, trouble, up};
use crate::poll::plan::{BreakerView, GroupId, Launched, Report, Stage, TroubleKind, Why};

fn opened(bench: &Bench) -> Vec<u64> {
    let wait = |report: &&Report| match report {
        Report::BreakerOpened { wait, .. } => Some(wait.as_secs()),
        _ => None,
    };
    bench.reports().iter().filter_map(wait).collect()
}

fn closed(bench: &Bench) -> usize {
    let is_closed = |report: &&&Report| matches!(report, Report::BreakerClosed { .. });
    bench.reports().iter().filter(is_closed).count()
}

#[test]
fn a_refused_group_is_tried_with_one_instance_after_two_minutes_and_then_half_as_often() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(5, 0));
    let mut tries = Vec::new();
    for _ in 0..6 {
        bench.answer(|_| Launched::Refused(trouble(TroubleKind::Capacity)));
    }
    let start = bench.now;
    for _ in 0..200 {
        let began = bench.now.since(start).as_secs();
        tries.extend(bench.round().iter().map(|order| (began, order.count.get())));
    }
    let expected = [(0, 5), (120, 1), (360, 1), (840, 1), (1800, 1)];
    assert_eq!(tries, expected);
    assert_eq!(opened(&bench), [120, 240, 480, 960, 1800]);
}

#[test]
fn a_probe_that_comes_closes_the_breaker() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(5, 0));
    bench.answer(|_| Launched::Refused(trouble(TroubleKind::Capacity)));
    bench.round();
    bench.run(110);
    assert_eq!(bench.launches(), [("g".into(), 1)]);
    // The probe is asked for, and not listed: no second one.
    assert_eq!(bench.launches(), []);
    bench.group("g", supply(1, [members("new", 1, Stage::Booting)]));
    assert_eq!(bench.launches(), [("g".into(), 4)]);
    assert_eq!(closed(&bench), 1);
}

#[test]
fn what_a_person_must_mend_is_tried_every_five_minutes() {
    for kind in [TroubleKind::Quota, TroubleKind::Denied] {
        let mut bench = Bench::of_one(|_| ());
        bench.queue("q", jobs(5, 0));
        for _ in 0..3 {
            bench.answer(move |_| Launched::Refused(trouble(kind)));
        }
        bench.run(700);
        assert_eq!(opened(&bench), [300, 300, 300]);
    }
}

#[test]
fn a_failure_of_no_known_kind_opens_it_the_third_time() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(5, 0));
    for _ in 0..3 {
        bench.answer(|_| Launched::Refused(trouble(TroubleKind::Other)));
    }
    let rounds: Vec<_> = (0..5).map(|_| bench.round().len()).collect();
    assert_eq!(rounds, [1, 1, 1, 0, 0]);
    assert_eq!(opened(&bench), [120]);
}

#[test]
fn instances_that_never_boot_count_against_the_maximum_only_and_the_third_opens_the_breaker() {
    let mut bench = Bench::of_one(|group| group.max = Some(7));
    bench.queue("q", jobs(2, 0));
    bench.launches();
    bench.group("g", supply(2, [members("dud", 2, Stage::Booting)]));
    bench.run(600);
    assert_eq!(opened(&bench), Vec::<u64>::new());
    // The two are stale: two more come, with room for five.
    assert_eq!(bench.launches(), []);
    assert_eq!(bench.launches(), [("g".into(), 2)]);
    let decision = bench.decision("g");
    assert_eq!((decision.stale, decision.room), (2, 5));
    bench.group("g", supply(4, [members("dud", 4, Stage::Booting)]));
    bench.run(640);
    assert_eq!(bench.launches(), []);
    assert_eq!(bench.decision("g").why, Why::Breaker);
    assert_eq!(opened(&bench), [120]);
    assert_eq!(bench.view("g").totals.boot_failures, 4);
}

#[test]
fn a_machine_that_boots_closes_the_breaker() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.round();
    bench.group("g", supply(3, [members("dud", 3, Stage::Booting)]));
    bench.round();
    bench.group("g", up(0));
    bench.round();
    // Three more were asked for meanwhile: they end themselves likewise.
    bench.group("g", up(0));
    bench.round();
    assert_eq!(opened(&bench), [120], "{:?}", bench.reports());
    assert!(matches!(bench.view("g").breaker, BreakerView::Open { .. }));
    bench.run(110);
    let probe = bench.launches();
    assert_eq!(probe, [("g".into(), 1)]);
    assert!(matches!(
        bench.view("g").breaker,
        BreakerView::HalfOpen { .. }
    ));
    bench.group("g", supply(1, [members("good", 1, Stage::Booting)]));
    assert_eq!(bench.launches(), []);
    bench.group("g", supply(1, [members("good", 1, Stage::Up)]));
    assert_eq!(bench.launches(), [("g".into(), 2)]);
    assert_eq!(bench.view("g").breaker, BreakerView::Closed);
}

#[test]
fn a_group_that_asks_in_vain_is_never_asked_for_more() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    assert_eq!(bench.launches(), [("g".into(), 3)]);
    // Nobody says why, and nothing comes, for an hour.
    let more: Vec<_> = (0..360).flat_map(|_| bench.launches()).collect();
    assert_eq!(more, []);
    assert_eq!(bench.has("g").desired, 3);
    let asked = bench.questions().2;
    assert!((55..=61).contains(&asked), "asked {asked} times why");
}

#[test]
fn a_group_is_not_asked_why_before_half_a_minute_has_passed() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.run(31);
    assert_eq!(bench.questions().2, 0);
    bench.run(10);
    assert_eq!(bench.questions().2, 1);
}

#[test]
fn filled_orders_close_what_missing_capacity_had_opened() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench
        .troubles
        .insert(GroupId::new("g"), vec![trouble(TroubleKind::Capacity)]);
    bench.run(60);
    assert!(matches!(bench.view("g").breaker, BreakerView::Open { .. }));
    bench.group("g", supply(3, [members("new", 2, Stage::Booting)]));
    bench.run(10);
    assert_eq!(closed(&bench), 0);
    bench.group("g", supply(3, [members("new", 3, Stage::Booting)]));
    bench.run(10);
    assert_eq!(closed(&bench), 1);
}

#[test]
fn a_late_instance_is_told_once() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(1, 0));
    bench.round();
    bench.group("g", supply(1, [members("dud", 1, Stage::Booting)]));
    bench.run(3000);
    let late = bench
        .reports()
        .into_iter()
        .filter(|report| matches!(report, Report::BootedTooLate { member, .. } if member.as_str() == "dud0"))
        .count();
    assert_eq!(late, 1);
    assert_eq!(bench.view("g").boot_deadline, Duration::from_secs(600));
}
