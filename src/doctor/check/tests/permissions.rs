//! What is denied.

use super::*;

#[test]
fn a_denied_permission_says_what_happens_without_it() {
    let table = [
        ("", Action::TerminateInstances, Error, "it powers off"),
        (
            "",
            Action::DetachInstances,
            Warning,
            "the group is asked to end",
        ),
        (
            "detach-early=true",
            Action::DetachInstances,
            Error,
            "the group is asked",
        ),
        (
            "retire=detach",
            Action::DetachInstances,
            Error,
            "the group is asked",
        ),
        (
            "",
            Action::TerminateInstanceInAutoScalingGroup,
            Warning,
            "EC2 ends the machine",
        ),
        (
            "retire=terminate",
            Action::TerminateInstanceInAutoScalingGroup,
            Error,
            "EC2 ends the machine",
        ),
        (
            "",
            Action::RecordLifecycleActionHeartbeat,
            Error,
            "heartbeat timeout",
        ),
        (
            "",
            Action::CompleteLifecycleAction,
            Error,
            "until the hook's timeout",
        ),
        (
            "protect=busy",
            Action::SetInstanceProtection,
            Error,
            "--protect has no effect",
        ),
        (
            "",
            Action::DescribeAutoScalingInstances,
            Warning,
            "not repeated",
        ),
    ];
    for (line, action, level, words) in table {
        let deny = |facts: &mut Facts| {
            let permissions = asked(facts).permissions.iter_mut();
            for (_, allowed) in permissions.filter(|(one, _)| *one == action) {
                *allowed = Allowed::No("no policy allows it".to_owned());
            }
        };
        let words = [
            action.name(),
            "is denied (no policy allows it)",
            words,
            "clockout policy",
        ];
        expect(bad(line, deny), level, "permission", &words);
    }
}

#[test]
fn permissions_for_hooks_matter_where_there_are_hooks() {
    let lines = found("", |facts| asked(facts).hooks = Ok(Vec::new()));
    let about_hooks = lines
        .iter()
        .filter(|one| one.what.contains("LifecycleAction"));
    assert_eq!(about_hooks.count(), 0);
    let denied = |facts: &mut Facts| {
        let asked = asked(facts);
        asked.hooks = Err(Unknown::Denied(Action::DescribeLifecycleHooks));
        for (action, allowed) in &mut asked.permissions {
            if *action == Action::CompleteLifecycleAction {
                *allowed = Allowed::No("no policy".to_owned());
            }
        }
    };
    // Nobody knows whether there are hooks, unless their names were given.
    assert_eq!(found_topics("", denied, Warning), ["hooks", "permission"]);
    assert_eq!(
        found_topics("terminate-hook=a", denied, Error),
        ["permission"]
    );
}
