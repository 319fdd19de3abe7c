//! `kill -9` of the supervisor at random moments of drain and retirement, each time restarted:
//! the instance ends terminated exactly once, and is never decremented twice.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::support::{Cloud, Fault, TestBed, Times, wait_until};

const MOMENTS: usize = 50;
/// At a time: most of a moment is waiting.
const AT_ONCE: usize = 4;
/// From the drain's beginning to the end of the instance it takes about so long.
const WHOLE_WAY: Duration = Duration::from_millis(800);

#[test]
fn killed_at_any_moment_the_machine_ends_exactly_once() {
    let seed = seed();
    println!("CLOCKOUT_TEST_SEED={seed} repeats these moments");
    let mut random = fastrand::Rng::with_seed(seed);
    let moments: Vec<_> = (0..MOMENTS).map(|_| random.u64(..)).collect();
    let moments = Mutex::new(moments);
    let landed = Mutex::new(BTreeMap::<String, u32>::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(seed) = next(&moments) {
                    for last_word in moment(&mut fastrand::Rng::with_seed(seed)) {
                        let mut landed = landed.lock().expect("no holder panics");
                        *landed.entry(last_word).or_default() += 1;
                    }
                }
            });
        }
    });
    let landed = landed.into_inner().expect("no holder panicked");
    println!("killed after it had last said: {landed:#?}");
}

fn seed() -> u64 {
    let given = std::env::var("CLOCKOUT_TEST_SEED").ok();
    given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("a number"))
}

fn next(moments: &Mutex<Vec<u64>>) -> Option<u64> {
    moments.lock().expect("no holder panics").pop()
}

/// One machine that drains at its first job, and whose supervisor dies once or more on the way;
/// what each had last said.
fn moment(random: &mut fastrand::Rng) -> Vec<String> {
    let cloud = Cloud::start();
    let group = cloud.group(0, 3, 5);
    let instance = group.members().remove(0);
    // Every answer takes a while, so that some die between a call and its answer.
    let delay = Duration::from_millis(random.u64(5..40));
    cloud.fail("*", Fault::Slow(delay), Times::Forever);
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
    let agent = bed.agent("--job-ms 400");
    let start = || bed.run("--preset buildkite --max-jobs 1", &agent.argv());

    let mut last_words = Vec::new();
    let mut run = start();
    run.wait_event("drain.began");
    for _ in 0..random.usize(1..=3) {
        thread::sleep(WHOLE_WAY.mul_f64(random.f64()));
        run.kill_9();
        let last_word = run.log().last().map(|line| line.event().to_owned());
        last_words.push(last_word.unwrap_or_else(|| "nothing".to_owned()));
        run = start();
    }
    let cloud = bed.cloud();
    let terminated = || cloud.instance_state(&instance) == "terminated";
    wait_until("the end of the instance", terminated);
    // One that starts on a machine that is going has nothing left to do.
    run.kill_9();
    let run = start();
    run.wait_event("retire.resumed");

    let calls = cloud.changes();
    assert_eq!(cloud.terminations(&instance), 1, "{calls:?}");
    assert_eq!(cloud.decrements(&instance), 1, "{calls:?}");
    assert_eq!(
        (group.desired(), group.launched().len()),
        (2, 3),
        "{calls:?}"
    );
    let jobs = ["started", "finished", "canceled"].map(|name| agent.count(name));
    assert_eq!(
        jobs,
        [1, 1, 0],
        "the job was let finish, and no other began"
    );
    last_words
}

#[test]
fn a_configuration_changed_while_nobody_watched_costs_no_job() {
    for (change, word) in [
        ("--idle-timeout 2s", "agent.adopted"),
        ("--idle-timeout 1h --slots 2", "agent.replaced"),
    ] {
        let bed = TestBed::new();
        let agent = bed
            .agent("--log silent --job-ms 1500 --jobs 1")
            .with_hooks();
        let options = "--preset generic --retire poweroff";
        let first = bed.run(&format!("{options} --idle-timeout 1h"), &agent.argv());
        first.wait_event("job.started");
        first.kill_9();
        let second = bed.run(&format!("{options} {change}"), &agent.argv());
        wait_until(word, || {
            second
                .log()
                .iter()
                .any(|line| line.event().starts_with(word))
        });
        wait_until("the end of the first job", || agent.count("finished") > 0);
        assert_eq!(agent.count("canceled"), 0, "{change}");
    }
}
