//! Scheduled maintenance: after the current job, at once for failing hardware, and by its date.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::notices::{ENDLESS, WATCHFUL, assert_no_agent, busy, drains_for, jobs, record, rounds};
use crate::retire_ladder::{REPLACED, end, machine, wait_terminated};
use crate::support::{Event, ImdsFault, MAINTENANCE, Times, wait_until};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn failing_hardware_drains_a_machine_at_once() {
    let events = [
        Event::new("instance-stop"),
        Event::new("instance-retirement"),
        Event::new("system-maintenance")
            .description("The instance is running on degraded hardware"),
        Event::new("instance-reboot").description("Scheduled for retirement"),
    ];
    for event in events {
        let (bed, group, instance) = machine(0, 2);
        let agent = bed.agent("--slots 2 --job-ms 3000");
        let run = busy(&bed, "", &agent, 2);
        bed.imds().maintenance(&[event.clone().begins_in(DAY)]);
        wait_until("the drain", || !agent.signals().is_empty());
        wait_terminated(&bed, &instance);
        assert_eq!(jobs(&agent), (2, 2, 0), "{event:?}");
        assert!(run.events("drain.after_job").is_empty(), "{event:?}");
        assert_eq!(drains_for(&run), "maintenance");
        assert_eq!(end(&bed, &group, &instance), REPLACED);
    }
}

#[test]
fn reboots_and_the_like_wait_for_a_job_to_end() {
    for code in [
        "system-reboot",
        "instance-reboot",
        "system-maintenance",
        "a-new-code",
    ] {
        let (bed, _, instance) = machine(0, 2);
        let agent = bed.agent("--slots 2 --job-ms 1000 2500");
        let run = busy(&bed, "", &agent, 2);
        bed.imds().maintenance(&[Event::new(code).begins_in(DAY)]);
        run.wait_event("drain.after_job");
        wait_terminated(&bed, &instance);
        let (started, finished, _) = jobs(&agent);
        assert_eq!(started, finished, "{code}");
        let record = record(&run);
        assert_eq!(record["reason"], "maintenance");
        assert_eq!(record["notices"][0]["what"], code);
        assert!(
            record["seconds_left"]
                .as_u64()
                .is_some_and(|left| left > 3600),
            "{record}"
        );
    }
}

#[test]
fn a_date_cancels_what_runs_before_it() {
    for code in ["instance-stop", "system-reboot"] {
        let (bed, _, instance) = machine(0, 2);
        let agent = bed.agent(&format!("--slots 2 {ENDLESS}"));
        let _run = busy(&bed, "--cancel-before 1s", &agent, 2);
        let soon = Event::new(code).begins_in(Duration::from_secs(4));
        bed.imds().maintenance(&[soon]);
        wait_terminated(&bed, &instance);
        assert_eq!(jobs(&agent), (2, 0, 2), "{code}");
    }
}

#[test]
fn without_a_date_ahead_jobs_finish() {
    let events = [
        Event::new("instance-stop").not_before("21 Jan 2019 09:00:43 GMT"),
        Event::new("instance-stop").not_before(""),
        Event::new("instance-stop").not_after(""),
        Event::new("instance-stop").not_after("21 Jan 2099 09:00:43 GMT"),
    ];
    for event in events {
        let (bed, _, instance) = machine(0, 2);
        let agent = bed.agent("--job-ms 1500");
        let run = busy(&bed, "", &agent, 1);
        bed.imds().maintenance(std::slice::from_ref(&event));
        wait_terminated(&bed, &instance);
        let (started, finished, _) = jobs(&agent);
        assert_eq!(started, finished, "{event:?}");
        assert_eq!(drains_for(&run), "maintenance", "{event:?}");
    }
}

#[test]
fn what_is_over_is_no_notice() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 100");
    bed.imds().maintenance(&[
        Event::new("instance-stop").state("canceled"),
        Event::new("instance-retirement").state("completed"),
    ]);
    let run = busy(&bed, "", &agent, 1);
    rounds(&bed, MAINTENANCE, 5);
    bed.imds().set(MAINTENANCE, "[]");
    rounds(&bed, MAINTENANCE, 5);
    assert!(run.events("notice.received").is_empty());
    assert!(run.events("drain.began").is_empty());
    run.signal(Signal::SIGTERM);
    wait_terminated(&bed, &instance);
}

#[test]
fn one_event_without_an_array_is_read() {
    let (bed, _, instance) = machine(0, 2);
    // The official mock's documentation shows it so.
    bed.imds().set(
        MAINTENANCE,
        r#"{"NotBefore":"21 Jan 2019 09:00:43 GMT","Code":"system-reboot","EventId":"e",
            "Description":"scheduled reboot","State":"active"}"#,
    );
    let agent = bed.agent("");
    let run = bed.run(WATCHFUL, &agent.argv());
    wait_terminated(&bed, &instance);
    assert_no_agent(&run, &agent);
    assert_eq!(record(&run)["notices"][0]["what"], "system-reboot");
}

#[test]
fn a_graver_event_is_not_hidden_by_a_milder_one() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent(&format!("--slots 2 {ENDLESS}"));
    let run = busy(&bed, "--cancel-before 1s", &agent, 2);
    bed.imds()
        .maintenance(&[Event::new("system-reboot").begins_in(DAY)]);
    run.wait_event("drain.after_job");
    let soon = Event::new("instance-stop").begins_in(Duration::from_secs(4));
    bed.imds()
        .maintenance(&[Event::new("system-reboot").begins_in(DAY), soon]);
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (2, 0, 2));
}

#[test]
fn events_that_cannot_be_read_are_unknown() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 100");
    let run = busy(&bed, "", &agent, 1);
    bed.imds()
        .fail(MAINTENANCE, ImdsFault::Text("soon"), Times::Forever);
    rounds(&bed, MAINTENANCE, 5);
    assert!(run.events("drain.began").is_empty());
    assert_eq!(
        run.events("notice.unreadable").len(),
        1,
        "one line an episode"
    );
    bed.imds().heal();
    bed.imds().maintenance(&[Event::new("instance-stop")]);
    wait_terminated(&bed, &instance);
}
