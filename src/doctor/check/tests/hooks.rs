//! Lifecycle hooks.

use super::*;

#[test]
fn without_a_termination_hook_jobs_get_no_time() {
    let none = |facts: &mut Facts| asked(facts).hooks = Ok(Vec::new());
    let words = [
        "no termination hook",
        "put-lifecycle-hook --auto-scaling-group-name ci",
    ];
    expect(bad("", none), Warning, "hooks", &words);
    all_good("protect=busy", none, &["no termination hook"]);
}

#[test]
fn the_hook_that_is_ours_is_named_with_the_reason() {
    let hooks = |names: &'static [&'static str]| {
        move |facts: &mut Facts| {
            let hooks = names.iter().map(|name| Hook {
                has_target: name.ends_with('!'),
                ..hook(name.trim_end_matches('!'), Transition::Terminating)
            });
            asked(facts).hooks = Ok(hooks.collect());
        }
    };
    all_good("", hooks(&["drain!"]), &["hook drain (the only one)"]);
    all_good(
        "",
        hooks(&["drain", "other!"]),
        &["hook drain (it tells nobody else)"],
    );
    all_good(
        "terminate-hook=b",
        hooks(&["a", "b"]),
        &["hook b (as told)"],
    );
    let found = bad("terminate-hook=c", hooks(&["a", "b"]));
    expect(found, Error, "hooks", &["--terminate-hook c", "only a, b"]);
    let found = bad("launch-hook=c", hooks(&["a"]));
    expect(
        found,
        Error,
        "hooks",
        &["--launch-hook c", "no launch hook"],
    );
    let found = bad("", hooks(&["a!", "b!"]));
    expect(found, Warning, "hooks", &["(a, b)", "--terminate-hook"]);
}

#[test]
fn a_hook_that_ends_before_its_jobs_may_is_a_warning() {
    let found = bad("drain-timeout=9h", |_| ());
    expect(
        found,
        Warning,
        "hooks",
        &[
            "after 8h19m40s, with --drain-timeout 9h",
            "HeartbeatTimeout",
        ],
    );
    let found = bad("drain-timeout=never", |_| ());
    expect(found, Warning, "hooks", &["--drain-timeout never"]);
    let long = |facts: &mut Facts| {
        asked(facts).hooks.as_mut().expect("hooks")[0].heartbeat_timeout = HOUR;
    };
    let found = bad("drain-timeout=3days", long);
    expect(
        found,
        Warning,
        "hooks",
        &["at most 2days", "AWS allows no more"],
    );
    let found = bad("", |facts| {
        asked(facts).hooks.as_mut().expect("hooks")[0].heartbeat_timeout = Duration::from_secs(40);
    });
    expect(found, Warning, "hooks", &["40s", "throttled"]);
    let found = bad("", |facts| {
        asked(facts).hooks.as_mut().expect("hooks")[0].abandons = true;
        group(facts).retains = true;
    });
    expect(found, Warning, "hooks", &["stays billed", "CONTINUE"]);
    let found = bad("boot-timeout=never", |facts| {
        let hooks = asked(facts).hooks.as_mut().expect("hooks");
        hooks.push(hook("launch", Transition::Launching));
    });
    expect(
        found,
        Warning,
        "hooks",
        &["launch hook launch", "--boot-timeout is never"],
    );
}

#[test]
fn a_hook_that_nobody_keeps_waiting_gives_its_own_time() {
    let found = bad("retire=poweroff", |_| ());
    expect(
        found,
        Warning,
        "hooks",
        &["clockout-drain", "jobs get its 5m", "--drain-timeout is 1h"],
    );
    all_good(
        "retire=poweroff drain-timeout=5m",
        |_| (),
        &["jobs get its 5m"],
    );
    let found = bad("retire=poweroff drain-timeout=5m", |facts| {
        let hooks = asked(facts).hooks.as_mut().expect("hooks");
        hooks.push(hook("launch", Transition::Launching));
    });
    expect(
        found,
        Warning,
        "hooks",
        &["nobody completes it, each launch takes 5m"],
    );
}
