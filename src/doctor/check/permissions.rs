//! What the role may do of what this configuration needs.

use super::{Case, hooks, not_checked};
use crate::doctor::facts::{Allowed, Asked, Unknown};
use crate::doctor::finding::{Finding, Level};
use crate::iam::{Action, Need};
use crate::instance::Mode;

const PERMISSION: &str = "permission";

pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let Some(asked) = case.asked() else {
        return Vec::new();
    };
    let all = asked.permissions.iter();
    all.filter_map(|(action, allowed)| one(case, asked, *action, allowed))
        .collect()
}

fn one(case: &Case<'_>, asked: &Asked, action: Action, allowed: &Allowed) -> Option<Finding> {
    let name = action.name();
    let level = level(case, asked, action)?;
    Some(match allowed {
        Allowed::Yes => Finding::ok(PERMISSION, format!("{name} is allowed")),
        Allowed::No(why) => Finding::error(
            PERMISSION,
            format!("{name} is denied ({why}): {}", Need::of(action).without),
            "attach what `clockout policy` prints to the instance's role",
        )
        .at(level),
        Allowed::Unknown(why) => not_checked(PERMISSION, name, &Unknown::because(why)),
    })
}

/// How bad it is when it is denied; `None` where it is of no use.
fn level(case: &Case<'_>, asked: &Asked, action: Action) -> Option<Level> {
    let retire = &case.config.retire;
    let can_detach = asked
        .permissions
        .contains(&(Action::DetachInstances, Allowed::Yes));
    Some(match action {
        Action::TerminateInstances | Action::SetInstanceProtection => Level::Error,
        // The group can end the machine instead.
        Action::DetachInstances if retire.detach_early || retire.mode == Mode::Detach => {
            Level::Error
        }
        Action::DetachInstances => Level::Warning,
        Action::TerminateInstanceInAutoScalingGroup if can_detach => Level::Warning,
        Action::TerminateInstanceInAutoScalingGroup => Level::Error,
        Action::RecordLifecycleActionHeartbeat | Action::CompleteLifecycleAction => {
            return hooks::level_without(case);
        }
        Action::DescribeLifecycleHooks => Level::Warning,
        // Where tags do not tell the group, nothing does.
        Action::DescribeAutoScalingInstances if asked.membership.is_err() => Level::Error,
        Action::DescribeAutoScalingInstances => Level::Warning,
        Action::DescribeAutoScalingGroups
        | Action::DescribeInstances
        | Action::DescribeInstanceAttribute => Level::Warning,
    })
}
