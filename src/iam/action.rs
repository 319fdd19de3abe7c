//! The permissions that clockout can need, as IAM names them.

#[cfg(test)]
use crate::instance::Call;

/// An IAM action. Those of one [`Scope`] stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::enum_variant_names, reason = "these are AWS' own names")]
pub enum Action {
    TerminateInstances,
    DetachInstances,
    TerminateInstanceInAutoScalingGroup,
    RecordLifecycleActionHeartbeat,
    CompleteLifecycleAction,
    SetInstanceProtection,
    DescribeAutoScalingInstances,
    DescribeLifecycleHooks,
    DescribeAutoScalingGroups,
    DescribeInstances,
    DescribeInstanceAttribute,
}

/// What a statement's `Resource` can be narrowed to ("Actions, resources, and condition keys" for
/// Amazon EC2 and for Amazon EC2 Auto Scaling, in the Service Authorization Reference).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The instance that asks.
    Itself,
    /// Auto Scaling knows no smaller resource than a group.
    Group,
    /// Lists know no resource.
    Everything,
}

impl Action {
    /// In the order of a policy's statements.
    pub const ALL: [Action; 11] = [
        Action::TerminateInstances,
        Action::DetachInstances,
        Action::TerminateInstanceInAutoScalingGroup,
        Action::RecordLifecycleActionHeartbeat,
        Action::CompleteLifecycleAction,
        Action::SetInstanceProtection,
        Action::DescribeAutoScalingInstances,
        Action::DescribeLifecycleHooks,
        Action::DescribeAutoScalingGroups,
        Action::DescribeInstances,
        Action::DescribeInstanceAttribute,
    ];

    /// What AWS must allow for this call. Exhaustive, as is [`super::Features::need`]: a new call
    /// cannot be forgotten.
    #[cfg(test)]
    pub fn of(call: Call) -> Action {
        match call {
            Call::Detach { .. } => Action::DetachInstances,
            Call::TerminateInGroup { .. } => Action::TerminateInstanceInAutoScalingGroup,
            Call::Look | Call::State => Action::DescribeAutoScalingInstances,
            Call::Terminate => Action::TerminateInstances,
            Call::Hooks => Action::DescribeLifecycleHooks,
            Call::Heartbeat(_) => Action::RecordLifecycleActionHeartbeat,
            Call::Complete(..) => Action::CompleteLifecycleAction,
            Call::Protect(_) => Action::SetInstanceProtection,
        }
    }

    /// With the service's prefix.
    pub fn name(self) -> &'static str {
        match self {
            Action::TerminateInstances => "ec2:TerminateInstances",
            Action::DetachInstances => "autoscaling:DetachInstances",
            Action::TerminateInstanceInAutoScalingGroup => {
                "autoscaling:TerminateInstanceInAutoScalingGroup"
            }
            Action::RecordLifecycleActionHeartbeat => "autoscaling:RecordLifecycleActionHeartbeat",
            Action::CompleteLifecycleAction => "autoscaling:CompleteLifecycleAction",
            Action::SetInstanceProtection => "autoscaling:SetInstanceProtection",
            Action::DescribeAutoScalingInstances => "autoscaling:DescribeAutoScalingInstances",
            Action::DescribeLifecycleHooks => "autoscaling:DescribeLifecycleHooks",
            Action::DescribeAutoScalingGroups => "autoscaling:DescribeAutoScalingGroups",
            Action::DescribeInstances => "ec2:DescribeInstances",
            Action::DescribeInstanceAttribute => "ec2:DescribeInstanceAttribute",
        }
    }

    pub fn scope(self) -> Scope {
        match self {
            Action::TerminateInstances => Scope::Itself,
            Action::DetachInstances
            | Action::TerminateInstanceInAutoScalingGroup
            | Action::RecordLifecycleActionHeartbeat
            | Action::CompleteLifecycleAction
            | Action::SetInstanceProtection => Scope::Group,
            Action::DescribeAutoScalingInstances
            | Action::DescribeLifecycleHooks
            | Action::DescribeAutoScalingGroups
            | Action::DescribeInstances
            | Action::DescribeInstanceAttribute => Scope::Everything,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::ActionResult;
    use crate::instance::notices::Transition;

    #[test]
    fn the_name_in_the_policy_is_that_of_the_call() {
        for decrement in [true, false] {
            for call in [
                Call::Detach { decrement },
                Call::TerminateInGroup { decrement },
                Call::Look,
                Call::Terminate,
                Call::Hooks,
                Call::State,
                Call::Heartbeat(Transition::Terminating),
                Call::Complete(Transition::Launching, ActionResult::Continue),
                Call::Protect(true),
            ] {
                let name = Action::of(call).name();
                let (_, name) = name.split_once(':').expect("a prefix");
                assert_eq!(name, call.name());
            }
        }
    }

    #[test]
    fn only_what_changes_nothing_is_allowed_everywhere() {
        for action in Action::ALL {
            let reads = action.name().contains(":Describe");
            assert_eq!(action.scope() == Scope::Everything, reads, "{action:?}");
        }
    }
}
