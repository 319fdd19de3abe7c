//! What agents tell of instances.

use crate::poll::plan::testing::{Bench, jobs, members, supply, up};
use crate::poll::plan::{Demand, Report, Stage};

fn with_agents(waiting: u32, running: u32, agents: u32) -> Demand {
    Demand {
        agents: Some(agents),
        ..jobs(waiting, running)
    }
}

#[test]
fn instances_without_a_connected_agent_are_no_supply_once_their_time_is_over() {
    let mut bench = Bench::of_one(|_| ());
    bench.group("g", up(5));
    bench.queue("q", with_agents(3, 2, 2));
    assert_eq!(bench.launches(), []);
    bench.run(590);
    // Found up, they had their time to connect: three of the five never did.
    assert_eq!(bench.launches(), []);
    assert_eq!(bench.launches(), [("g".into(), 3)]);
    assert_eq!(bench.decision("g").stale, 3);
}

#[test]
fn more_agents_than_instances_accuse_nobody() {
    let mut bench = Bench::of_one(|_| ());
    bench.group("g", up(5));
    bench.queue("q", with_agents(3, 2, 20));
    bench.run(700);
    assert_eq!(bench.decision("g").stale, 0);
}

#[test]
fn an_instance_whose_agent_is_gone_is_no_supply_where_names_tell() {
    let mut bench = Bench::of_one(|_| ());
    bench.group("g", up(3));
    let names = |names: &[&str]| Demand {
        names: Some(names.iter().map(|name| format!("ci-{name}")).collect()),
        ..jobs(3, 0)
    };
    bench.queue("q", names(&["up0", "up1", "up2"]));
    bench.run(620);
    assert_eq!(bench.decision("g").stale, 0);
    bench.queue("q", names(&["up0"]));
    // It may be between two jobs.
    let early: Vec<_> = (0..5).flat_map(|_| bench.launches()).collect();
    assert_eq!(early, []);
    assert_eq!(bench.launches(), [("g".into(), 2)]);
    assert_eq!(bench.decision("g").stale, 2);
}

#[test]
fn free_slots_beside_waiting_jobs_are_told_once() {
    let mut bench = Bench::of_one(|_| ());
    bench.group("g", up(3));
    bench.queue("q", jobs(2, 1));
    bench.run(600);
    let waits = bench.reports();
    assert_eq!(waits.len(), 1, "{waits:?}");
    assert!(matches!(
        waits[0],
        Report::JobsWait {
            waiting: 2,
            free: 2,
            ..
        }
    ));
}

#[test]
fn an_instance_that_just_came_up_is_given_time_to_take_a_job() {
    let mut bench = Bench::of_one(|_| ());
    let waiting = Demand {
        waiting: 2,
        ..Demand::default()
    };
    bench.queue("q", waiting);
    assert_eq!(bench.launches(), [("g".into(), 2)]);
    bench.group("g", supply(2, [members("new", 2, Stage::Booting)]));
    assert_eq!(bench.launches(), []);
    bench.group("g", supply(2, [members("new", 2, Stage::Up)]));
    assert_eq!(bench.launches(), []);
    bench.run(50);
    // They are busy, or never connected: the source does not tell.
    assert_eq!(bench.launches(), [("g".into(), 2)]);
}

#[test]
fn boot_times_are_learned_and_shown() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(6, 0));
    bench.round();
    bench.group("g", supply(6, [members("new", 6, Stage::Booting)]));
    bench.run(100);
    bench.group("g", supply(6, [members("new", 6, Stage::Up)]));
    bench.round();
    let view = bench.view("g");
    assert_eq!(view.boot_p50.map(|took| took.as_secs()), Some(100));
    assert_eq!(view.boot_deadline.as_secs(), 150);
}
