//! `kill -9` of the supervisor at random moments of drain and retirement, each time restarted:
//! the instance ends terminated exactly once, and is never decremented twice.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::support::{Cloud, Fault, TestBed, Times, wait_until};

const MOMENTS: usize = 50;
/// At a time: most of a moment is waiting.
const AT_ONCE: usize = 4;

#[test]
fn killed_at_any_moment_the_machine_ends_exactly_once() {
    let seed = seed();
    println!("CLOCKOUT_TEST_SEED={seed} repeats these moments");
    let mut random = fastrand::Rng::with_seed(seed);
    let moments: Vec<_> = (0..MOMENTS).map(|n| (n, random.u64(..))).collect();
    let moments = Mutex::new(moments);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((number, seed)) = next(&moments) {
                    moment(number, &mut fastrand::Rng::with_seed(seed));
                }
            });
        }
    });
}

fn seed() -> u64 {
    let given = std::env::var("CLOCKOUT_TEST_SEED").ok();
    given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("a number"))
}

fn next(moments: &Mutex<Vec<(usize, u64)>>) -> Option<(usize, u64)> {
    moments.lock().expect("no holder panics").pop()
}

/// One machine that drains after its first job, and dies once or more on the way.
fn moment(number: usize, random: &mut fastrand::Rng) {
    let cloud = Cloud::start();
    let group = cloud.group(0, 3, 5);
    let instance = group.members().remove(0);
    // Every answer takes a while, so that the kill falls between sending and hearing of it.
    cloud.fail(
        "*",
        Fault::Slow(Duration::from_millis(random.u64(5..40))),
        Times::Forever,
    );
    let trouble = [
        None,
        Some(("DetachInstances", Fault::Lost, Times::N(1))),
        Some(("DetachInstances", Fault::Denied, Times::Forever)),
        Some(("TerminateInstances", Fault::Throttled, Times::N(2))),
    ];
    if let Some((action, fault, times)) = random.choice(trouble).flatten() {
        cloud.fail(action, fault, times);
    }
    let bed = TestBed::on_ec2(cloud, &instance, Some(&group));
    let agent = bed.agent("--job-ms 100");
    let start = || bed.run("--preset buildkite --max-jobs 1", &agent.argv());

    let mut run = start();
    run.wait_event("drain.began");
    for _ in 0..random.usize(1..=3) {
        // The whole way takes about so long.
        thread::sleep(Duration::from_micros(random.u64(0..350_000)));
        run.kill_9();
        run = start();
    }
    let cloud = bed.cloud();
    wait_until("the end of the instance", || {
        cloud.instance_state(&instance) == "terminated"
    });
    // Nothing is left to do, and nothing more is done by one that finds itself terminated.
    run.kill_9();
    let run = start();
    run.wait_event("retire.rung");
    let calls = cloud.changes();
    assert_eq!(
        cloud.terminations(&instance),
        1,
        "moment {number}: {calls:?}"
    );
    assert_eq!(cloud.decrements(&instance), 1, "moment {number}: {calls:?}");
    assert_eq!(group.desired(), 2, "moment {number}: {calls:?}");
    assert_eq!(group.launched().len(), 3, "moment {number}: {calls:?}");
    assert_eq!(agent.count("started"), 1, "moment {number}: no second job");
    assert_eq!(
        agent.count("canceled"),
        0,
        "moment {number}: the job was let finish"
    );
}
