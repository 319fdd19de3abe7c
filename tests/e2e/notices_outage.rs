//! When the metadata service or Auto Scaling is in trouble: nothing is lost, and the log is quiet.

use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::notices::{WATCHFUL, busy, drains_for, jobs, rounds};
use crate::retire_ladder::{SHRUNK, end, machine, wait_terminated};
use crate::support::{Fault, Hook, ImdsFault, SPOT, Times, Way, wait_until};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn an_outage_of_the_metadata_service_is_two_lines() {
    for fault in [
        ImdsFault::Status(503),
        ImdsFault::Status(429),
        ImdsFault::Status(403),
        ImdsFault::Status(401),
        ImdsFault::Close,
        ImdsFault::Hang,
    ] {
        let (bed, _, instance) = machine(0, 2);
        let agent = bed.agent("--job-ms 50");
        let run = busy(&bed, "", &agent, 1);
        rounds(&bed, SPOT, 1);
        let before = bed.imds().requests().len();
        bed.imds().fail("", fault, Times::Forever);
        bed.imds().spot("terminate", HOUR);
        // A request that hangs takes its two seconds.
        wait_until("requests", || bed.imds().requests().len() >= before + 4);
        run.wait_event("imds.unavailable");
        let done = agent.count("finished");
        wait_until("more jobs", || agent.count("finished") > done + 3);
        assert!(
            run.events("drain.began").is_empty(),
            "unknown is not an interruption"
        );
        bed.imds().heal();
        assert_eq!(
            drains_for(&run),
            "spot",
            "{fault:?}: it was there all the time"
        );
        assert_eq!(run.events("imds.unavailable").len(), 1, "{fault:?}");
        wait_terminated(&bed, &instance);
    }
}

#[test]
fn the_outage_of_one_path_hides_no_other() {
    let (bed, _, _) = machine(0, 2);
    let agent = bed.agent("--job-ms 50");
    bed.imds()
        .fail(SPOT, ImdsFault::Status(503), Times::Forever);
    let run = busy(&bed, "", &agent, 1);
    bed.imds().target("Terminated");
    assert_eq!(drains_for(&run), "scale-in");
}

#[test]
fn a_machine_whose_metadata_is_silent_at_boot_works_in_the_end() {
    let (bed, _, _) = machine(0, 2);
    bed.imds().fail("", ImdsFault::Status(503), Times::Forever);
    let agent = bed.agent("--job-ms 50");
    let run = bed.run(WATCHFUL, &agent.argv());
    run.wait_event("instance.woken");
    wait_until("jobs", || agent.count("finished") >= 3);
    bed.imds().heal();
    bed.imds().rebalance();
    run.wait_event("notice.received");
}

#[test]
fn the_watcher_keeps_one_connection_and_one_token() {
    let (bed, _, _) = machine(0, 2);
    let agent = bed.agent("--job-ms 50");
    let _run = busy(&bed, "", &agent, 1);
    rounds(&bed, SPOT, 2);
    let (connections, tokens) = (bed.imds().connections(), bed.imds().count("api/token"));
    rounds(&bed, SPOT, 10);
    assert_eq!(bed.imds().connections(), connections);
    assert_eq!(bed.imds().count("api/token"), tokens);
    bed.imds().expire_tokens();
    rounds(&bed, SPOT, 5);
    assert_eq!(
        bed.imds().count("api/token"),
        tokens + 1,
        "a new token after a 401"
    );
}

#[test]
fn credentials_that_end_during_a_drain_are_renewed() {
    let (bed, group, instance) = machine(0, 2);
    let valid = Duration::from_secs(5);
    bed.imds().credentials("ASIAFIRST", valid);
    bed.cloud().key_ends("ASIAFIRST", SystemTime::now() + valid);
    let agent = bed.agent("--job-ms 8000");
    let run = busy(&bed, "", &agent, 1);
    run.signal(Signal::SIGTERM);
    run.wait_event("drain.began");
    bed.imds().credentials("ASIASECOND", HOUR);
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 1, 0));
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
}

#[test]
fn credentials_that_come_late_are_waited_for() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud()
        .hook(&group, Hook::terminating("drain").heartbeat(HOUR));
    bed.imds().credentials("ASIAFIRST", Duration::from_secs(1));
    bed.cloud()
        .key_ends("ASIAFIRST", SystemTime::now() + Duration::from_secs(1));
    let path = "meta-data/iam/security-credentials";
    let agent = bed.agent("--job-ms 2000");
    let run = busy(&bed, "", &agent, 1);
    bed.imds()
        .fail(path, ImdsFault::Status(503), Times::Forever);
    bed.cloud().lead(&group, &instance, Way::Out, 1);
    bed.imds().target("Terminated");
    run.wait_event("hook.failed");
    wait_until("the job's end", || agent.count("finished") == 1);
    bed.imds().credentials("ASIASECOND", HOUR);
    bed.imds().heal();
    wait_terminated(&bed, &instance);
    let changes = bed.cloud().changes();
    let done = "CompleteLifecycleAction CONTINUE: 200".to_owned();
    assert!(changes.contains(&done), "{changes:?}");
}

#[test]
fn an_account_that_is_throttled_for_long_loses_nothing() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud()
        .hook(&group, Hook::terminating("drain").heartbeat(HOUR));
    let agent = bed.agent("--job-ms 4000");
    let run = busy(&bed, "", &agent, 1);
    bed.cloud().fail("*", Fault::Throttled, Times::N(12));
    bed.cloud().lead(&group, &instance, Way::Out, 1);
    bed.imds().target("Terminated");
    wait_terminated(&bed, &instance);
    let (started, finished, _) = jobs(&agent);
    assert_eq!(started, finished);
    // The launch may still be asking whether it has a hook, too.
    let failed = run.events("hook.failed").into_iter();
    let ours = failed.filter(|line| line.field("transition") == "terminating");
    assert!(ours.count() <= 1, "one line an episode");
    assert_eq!((group.desired(), group.launched().len()), (1, 2));
}
