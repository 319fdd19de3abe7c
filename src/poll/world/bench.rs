//! The planner beside its peers, in the worlds of [`super::traces`], as a table.

use std::time::Duration;

use super::World;
use super::ours::Ours;
use super::peers::{PEERS, Peer};
use super::tally::Tally;
use super::traces::{self, TRACES};

/// Worlds of each trace; boot times and jobs differ.
const SEEDS: u64 = 5;

/// The sum of all worlds, and how many rules were broken in them.
fn ours(make: traces::Make, interval: u64) -> (Tally, usize) {
    let (mut sum, mut rules) = (Tally::default(), 0);
    for seed in 0..SEEDS {
        let mut nature = make(seed);
        nature.interval = Duration::from_secs(interval);
        let maker = |now| Box::new(Ours::new(&nature, now)) as Box<dyn super::wire::Poller>;
        let (tally, broken) = World::new(nature.clone(), seed, &maker).lives();
        rules += broken.len();
        sum.add(&tally);
    }
    (sum, rules)
}

fn peer(make: traces::Make, peer: super::peers::Make) -> (Tally, usize) {
    let (mut sum, mut rules) = (Tally::default(), 0);
    for seed in 0..SEEDS {
        let nature = make(seed);
        let maker = |now| Box::new(Peer::new(&nature, peer, now)) as Box<dyn super::wire::Poller>;
        let (tally, broken) = World::new(nature.clone(), seed, &maker).lives();
        rules += broken.len();
        sum.add(&tally);
    }
    (sum, rules)
}

fn row(name: &str, (tally, rules): &(Tally, usize)) -> String {
    let hours = tally.lasted.as_secs_f64() / 3600.0;
    let wait = |percent| tally.wait(percent).as_secs();
    format!(
        "| {name} | {:.1} | {:.1} | {} | {} | {} | {} | {} | {} | {:.0} | {:.0} | {} | {} | {rules} |",
        tally.over_seconds / 3600.0,
        tally.instance_seconds / 3600.0,
        wait(50),
        wait(95),
        wait(99),
        tally.waits.len(),
        tally.started,
        tally.never_used,
        tally.queue_calls as f64 / hours,
        tally.cloud_calls as f64 / hours,
        tally.exceeded,
        tally.lowered,
    )
}

/// Where every instance comes up. What is left is instances that take themselves out of their
/// group between a read and a write: an absolute desired capacity is then one too high.
#[test]
fn no_trace_gets_more_than_a_thousandth_that_no_job_needs() {
    for (name, make) in &TRACES[..4] {
        let (tally, rules) = ours(*make, 10);
        assert_eq!(rules, 0, "{name}");
        let share = tally.over_seconds / tally.instance_seconds;
        assert!(share < 0.001, "{name}: {share}");
        assert_eq!(tally.jobs_lost, 0, "{name}");
    }
}

#[test]
#[ignore = "prints a table; scripts/bench-poll runs it"]
fn table_of_all_pollers() {
    for (name, make) in TRACES {
        println!("\n### {name}\n");
        println!(
            "| poller | over-provisioned, instance-hours | instance-hours | wait p50, s | p95 | \
             p99 | jobs run | instances started | never used | queue calls an hour | \
             cloud calls an hour | most above the maximum | lowered | rules broken |"
        );
        println!("|---|{}", "--:|".repeat(13));
        println!("{}", row("clockout, 10 s", &ours(make, 10)));
        println!("{}", row("clockout, 5 s", &ours(make, 5)));
        for (peer_name, peer_make) in PEERS {
            println!("{}", row(peer_name, &peer(make, peer_make)));
        }
    }
}
