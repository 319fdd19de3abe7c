//! What is missing, with the faults of other autoscalers as cases.

use crate::poll::plan::arithmetic::{Allowance, Bounds, Grant, Jobs, Part, Why, grant, need};
use crate::poll::plan::testing::slots;
use crate::poll::plan::words::Round;

fn part(of_slots: u32, usable: u32, booting: u32) -> Part {
    Part {
        slots: slots(of_slots),
        round: Round::UP,
        usable,
        booting,
        settling: 0,
    }
}

fn known(waiting: u32, running: u32) -> Jobs {
    Jobs {
        waiting,
        running: Some(running),
        free: None,
    }
}

fn blind(waiting: u32, free: Option<u32>) -> Jobs {
    Jobs {
        waiting,
        running: None,
        free,
    }
}

#[test]
fn what_is_missing_where_running_jobs_are_known() {
    for (case, jobs, headroom, part, expected) in [
        ("nothing to do", known(0, 0), 0, part(1, 0, 0), 0),
        ("the README's example", known(7, 10), 0, part(4, 3, 0), 2),
        (
            "booting instances are supply",
            known(5, 0),
            0,
            part(1, 5, 5),
            0,
        ),
        ("some are booting", known(5, 0), 0, part(1, 3, 3), 2),
        (
            "idle instances take waiting jobs",
            known(2, 3),
            0,
            part(1, 5, 0),
            0,
        ),
        (
            "headroom on top of the jobs",
            known(2, 3),
            2,
            part(1, 5, 0),
            2,
        ),
        (
            "headroom while nothing runs",
            known(0, 0),
            2,
            part(1, 1, 1),
            1,
        ),
        (
            "headroom that is idle is enough",
            known(0, 0),
            2,
            part(1, 2, 0),
            0,
        ),
        // Their two jobs still run, and nothing waits.
        (
            "draining instances are not listed",
            known(0, 5),
            0,
            part(1, 3, 0),
            0,
        ),
        (
            "detached instances' jobs do not wait",
            known(1, 10),
            0,
            part(1, 2, 0),
            1,
        ),
        (
            "what boots serves what waits",
            known(3, 10),
            0,
            part(1, 3, 3),
            0,
        ),
        (
            "headroom beside draining ones",
            known(0, 5),
            1,
            part(1, 3, 0),
            1,
        ),
        ("more supply than jobs", known(1, 0), 0, part(1, 9, 0), 0),
        ("a slot left over", known(1, 3), 0, part(4, 1, 0), 0),
        ("one job too many", known(2, 3), 0, part(4, 1, 0), 1),
        // woodpecker's autoscaler forgets them and adds again each minute.
        (
            "twenty wait for twenty that boot",
            known(20, 0),
            0,
            part(1, 20, 20),
            0,
        ),
        // Kraken counts busy agents as supply for waiting jobs.
        (
            "busy instances are no supply for more",
            known(4, 4),
            0,
            part(1, 4, 0),
            4,
        ),
    ] {
        assert_eq!(need(jobs, headroom, &[part], 0).need, expected, "{case}");
    }
}

#[test]
fn what_is_missing_where_only_free_slots_are_known() {
    for (case, jobs, headroom, part, expected) in [
        ("nothing waits", blind(0, Some(0)), 0, part(4, 2, 0), 0),
        (
            "free slots take what waits",
            blind(3, Some(3)),
            0,
            part(4, 2, 0),
            0,
        ),
        (
            "one more than is free",
            blind(4, Some(3)),
            0,
            part(4, 2, 0),
            1,
        ),
        (
            "booting slots count",
            blind(9, Some(1)),
            0,
            part(4, 3, 2),
            0,
        ),
        (
            "beyond the booting slots",
            blind(10, Some(1)),
            0,
            part(4, 3, 2),
            1,
        ),
        (
            "headroom is free instances",
            blind(0, Some(4)),
            2,
            part(4, 2, 0),
            1,
        ),
        (
            "headroom that boots",
            blind(0, Some(0)),
            2,
            part(4, 2, 2),
            0,
        ),
    ] {
        assert_eq!(need(jobs, headroom, &[part], 0).need, expected, "{case}");
    }
}

#[test]
fn what_is_missing_where_only_waiting_jobs_are_known() {
    for (case, jobs, headroom, part, expected) in [
        ("nothing waits", blind(0, None), 0, part(1, 0, 0), 0),
        (
            "all of them may be busy",
            blind(3, None),
            0,
            part(1, 9, 0),
            3,
        ),
        ("what boots is free", blind(3, None), 0, part(1, 9, 2), 1),
        ("slots", blind(9, None), 0, part(4, 0, 0), 3),
        ("headroom is the least", blind(0, None), 2, part(1, 1, 0), 1),
        // Else two more would come with each job that waits for a moment.
        (
            "headroom is not added again",
            blind(1, None),
            2,
            part(1, 2, 0),
            1,
        ),
    ] {
        assert_eq!(need(jobs, headroom, &[part], 0).need, expected, "{case}");
    }
}

#[test]
fn an_instance_that_just_came_up_counts_as_booting_where_nobody_tells_whether_it_is_busy() {
    let settling = Part {
        settling: 2,
        ..part(1, 9, 0)
    };
    assert_eq!(need(blind(3, None), 0, &[settling], 0).need, 1);
    assert_eq!(need(blind(3, Some(0)), 0, &[settling], 0).need, 1);
    assert_eq!(need(known(3, 9), 0, &[settling], 0).need, 3);
}

#[test]
fn a_fraction_of_an_instance_that_is_not_worth_one_waits() {
    let round = Round::new(0.35).expect("a fraction");
    let lazy = |usable| Part {
        round,
        ..part(4, usable, 0)
    };
    for (waiting, usable, expected) in [
        (0, 0, 0),
        // At least one for any job.
        (1, 0, 1),
        (5, 0, 1),
        (6, 0, 2),
        (9, 0, 2),
        (9, 1, 1),
        (10, 0, 3),
    ] {
        let need = need(known(waiting, 0), 0, &[lazy(usable)], 0).need;
        assert_eq!(need, expected, "{waiting} beside {usable}");
    }
}

#[test]
fn what_other_groups_of_the_chain_have_counts_in_jobs() {
    let fallback = part(2, 3, 0);
    for (case, jobs, headroom, first, expected) in [
        ("they serve all", known(0, 6), 0, part(4, 0, 0), 0),
        ("they serve some", known(4, 6), 0, part(4, 0, 0), 1),
        (
            "they serve some of what waits",
            known(6, 2),
            0,
            part(4, 0, 0),
            1,
        ),
        ("idle ones are headroom", known(0, 0), 1, part(4, 0, 0), 0),
        ("half an instance is none", known(0, 3), 1, part(4, 0, 0), 1),
        ("headroom only once", known(0, 6), 1, part(4, 1, 0), 0),
    ] {
        let parts = [first, fallback];
        assert_eq!(need(jobs, headroom, &parts, 0).need, expected, "{case}");
    }
    // They boot for what waits.
    let booting = part(2, 3, 3);
    assert_eq!(need(known(6, 9), 0, &[part(4, 2, 0), booting], 0).need, 0);
    assert_eq!(
        need(blind(6, None), 0, &[part(4, 2, 0), booting], 0).need,
        0
    );
    assert_eq!(
        need(blind(8, Some(1)), 0, &[part(4, 2, 0), booting], 0).need,
        1
    );
}

#[test]
fn extreme_numbers_are_numbers() {
    let most = u32::MAX;
    for jobs in [
        known(most, most),
        blind(most, Some(most)),
        blind(most, None),
    ] {
        for one in [part(1, 0, 0), part(most, most, most), part(1, most, most)] {
            let parts = [one; 5];
            for index in 0..parts.len() {
                need(jobs, most, &parts, index);
            }
        }
    }
    assert_eq!(
        need(known(most, most), most, &[part(1, 0, 0)], 0).need,
        most
    );
}

fn bounds(change: impl FnOnce(&mut Bounds)) -> Bounds {
    let mut bounds = Bounds {
        room: 100,
        budget: 100,
        step: None,
        breaker: Allowance::Any,
        held: false,
        leader: true,
    };
    change(&mut bounds);
    bounds
}

#[test]
fn what_bounds_a_launch_and_what_is_left_to_the_fallback() {
    for (case, need, bounds, launch, why, rest) in [
        ("nothing", 0, bounds(|b| b.room = 0), 0, Why::Enough, 0),
        ("all", 5, bounds(|_| ()), 5, Why::Launched, 0),
        // Kraken launches all that is missing whatever the limit leaves.
        ("room", 5, bounds(|b| b.room = 2), 2, Why::Max, 3),
        ("no room", 5, bounds(|b| b.room = 0), 0, Why::Max, 5),
        ("budget", 5, bounds(|b| b.budget = 2), 2, Why::Budget, 0),
        (
            "step",
            5,
            bounds(|b| b.step = Some(slots(2))),
            2,
            Why::Step,
            0,
        ),
        (
            "open",
            5,
            bounds(|b| b.breaker = Allowance::None),
            0,
            Why::Breaker,
            5,
        ),
        (
            "probe",
            5,
            bounds(|b| b.breaker = Allowance::One),
            1,
            Why::Breaker,
            4,
        ),
        ("held", 5, bounds(|b| b.held = true), 0, Why::Held, 5),
        (
            "not leader",
            5,
            bounds(|b| b.leader = false),
            0,
            Why::NotLeader,
            0,
        ),
        (
            "what the step refuses is not passed on",
            9,
            bounds(|b| (b.room, b.step) = (1, Some(slots(3)))),
            1,
            Why::Max,
            2,
        ),
        (
            "what the budget refuses is not passed on",
            9,
            bounds(|b| (b.room, b.budget) = (1, 4)),
            1,
            Why::Max,
            3,
        ),
    ] {
        assert_eq!(grant(need, bounds), Grant { launch, why, rest }, "{case}");
    }
}
