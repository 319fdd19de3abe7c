//! What is asked of AWS, and what the answers mean. Pure; `aws.rs` sends the calls.

// In builds without it nobody answers.
#![cfg_attr(not(feature = "aws"), allow(dead_code))]

use std::future::Future;

use super::identity::Identity;
use super::notices::{Hook, Transition};
use crate::aws::ApiError;

/// One request to AWS about this instance. All but `Terminate`, which is EC2's, are Auto
/// Scaling's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// `DetachInstances`.
    Detach { decrement: bool },
    /// `TerminateInstanceInAutoScalingGroup`.
    TerminateInGroup { decrement: bool },
    /// `DescribeAutoScalingInstances`: is it still in its group?
    Look,
    /// `TerminateInstances`.
    Terminate,
    /// `DescribeLifecycleHooks`: all of the group's, not only ours. Asked once in a life.
    Hooks,
    /// `DescribeAutoScalingInstances`: its lifecycle state, in Auto Scaling's own word.
    State,
    /// `RecordLifecycleActionHeartbeat`, for each hook of ours.
    Heartbeat(Transition),
    /// `CompleteLifecycleAction`, for each hook of ours.
    Complete(Transition, ActionResult),
    /// `SetInstanceProtection`: whether a scale-in must choose others.
    Protect(bool),
}

/// What becomes of an instance whose lifecycle action is completed.
///
/// A termination goes on after either; but `ABANDON` may keep the instance, at our cost, where the
/// group's instance lifecycle policy says `retain` (Auto Scaling user guide, "Instance lifecycle
/// policy").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActionResult {
    Continue,
    /// Of a launch: the group terminates the instance.
    Abandon,
}

impl ActionResult {
    /// As AWS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            ActionResult::Continue => "CONTINUE",
            ActionResult::Abandon => "ABANDON",
        }
    }
}

impl Call {
    /// As AWS writes it.
    pub fn name(self) -> &'static str {
        match self {
            Call::Detach { .. } => "DetachInstances",
            Call::TerminateInGroup { .. } => "TerminateInstanceInAutoScalingGroup",
            Call::Look | Call::State => "DescribeAutoScalingInstances",
            Call::Terminate => "TerminateInstances",
            Call::Hooks => "DescribeLifecycleHooks",
            Call::Heartbeat(_) => "RecordLifecycleActionHeartbeat",
            Call::Complete(..) => "CompleteLifecycleAction",
            Call::Protect(_) => "SetInstanceProtection",
        }
    }

    /// Done twice it takes two from the group's desired capacity.
    pub fn decrements(self) -> bool {
        matches!(
            self,
            Call::Detach { decrement: true } | Call::TerminateInGroup { decrement: true }
        )
    }
}

/// What `DescribeAutoScalingInstances` said of the instance's way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Not in service yet.
    Pending,
    StillIn,
    /// In the warm pool, or past every hook on the way there.
    Pooled,
    /// The group ends it; a lifecycle action may be waiting for its completion.
    Ending,
    /// Not listed, or nothing holds it any more.
    Leaving,
    /// A hook was abandoned in a group that then keeps its instances: nobody but us ends it.
    Retained,
}

impl Seen {
    /// `None`: the instance is not listed. States are an open set (Auto Scaling user guide,
    /// "Amazon EC2 Auto Scaling instance lifecycle").
    pub fn from_state(state: Option<&str>) -> Seen {
        match state {
            None | Some("Detaching" | "Detached" | "Terminated" | "Warmed:Terminated") => {
                Seen::Leaving
            }
            Some("Warmed:Stopped" | "Warmed:Running" | "Warmed:Hibernated") => Seen::Pooled,
            Some("Warmed:Pending:Proceed") => Seen::Pooled,
            Some("Pending" | "Pending:Wait" | "Pending:Proceed") => Seen::Pending,
            Some(state) => {
                let state = state.strip_prefix("Warmed:").unwrap_or(state);
                match state.strip_prefix("Terminating") {
                    Some("" | ":Wait") => Seen::Ending,
                    Some(":Retained") => Seen::Retained,
                    Some(_) => Seen::Leaving,
                    None => Seen::StillIn,
                }
            }
        }
    }
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done,
    /// Nothing was sent: the instance is in no group, or the group has no such hook.
    Nothing,
    /// Nothing was sent: all of the group's hooks are for others to keep and complete.
    NotOurs,
    Seen(Seen),
    Hooks(Vec<Hook>),
    /// `None`: Auto Scaling does not list the instance.
    State(Option<String>),
}

/// Sends calls about one instance. One try each: the callers decide about the next.
pub trait Cloud: Sync {
    fn send(
        &self,
        instance: &Identity,
        call: Call,
    ) -> impl Future<Output = Result<Reply, ApiError>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifecycle_states_are_an_open_set() {
        let rows: [(Seen, &[&str]); 6] = [
            (Seen::Pending, &["Pending", "Pending:Wait"]),
            (
                Seen::StillIn,
                &[
                    "InService",
                    "Standby",
                    "EnteringStandby",
                    "Warmed:Pending",
                    "Warmed:Pending:Wait",
                    "Quarantined",
                ],
            ),
            (
                Seen::Pooled,
                &[
                    "Warmed:Stopped",
                    "Warmed:Running",
                    "Warmed:Hibernated",
                    "Warmed:Pending:Proceed",
                ],
            ),
            (
                Seen::Ending,
                &["Terminating", "Terminating:Wait", "Warmed:Terminating:Wait"],
            ),
            (
                Seen::Leaving,
                &[
                    "Detaching",
                    "Detached",
                    "Terminated",
                    "Terminating:Proceed",
                    "Warmed:Terminating:Proceed",
                    "Warmed:Terminated",
                ],
            ),
            (
                Seen::Retained,
                &["Terminating:Retained", "Warmed:Terminating:Retained"],
            ),
        ];
        for (seen, states) in rows {
            for state in states {
                assert_eq!(Seen::from_state(Some(state)), seen, "{state}");
            }
        }
        assert_eq!(Seen::from_state(None), Seen::Leaving);
    }
}
