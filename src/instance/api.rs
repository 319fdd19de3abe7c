//! What is asked of AWS, and what the answers mean. Pure; `aws.rs` sends the calls.

// In builds without it nobody answers.
#![cfg_attr(not(feature = "aws"), allow(dead_code))]
#![cfg_attr(
    feature = "aws",
    expect(
        dead_code,
        reason = "the ladder's and the supervisor's next changes use it"
    )
)]

use std::future::Future;

use super::identity::Identity;
use super::notices::{Hook, Transition};

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

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// AWS answered with an error.
    #[error("{code} (HTTP {status}): {message}")]
    Service {
        status: u16,
        code: String,
        message: String,
    },
    /// Sent, perhaps, and no answer came: nobody knows whether it was done.
    #[error("no answer: {0}")]
    Unanswered(String),
    /// It never left this machine, for want of credentials for example.
    #[error("not sent: {0}")]
    NotSent(String),
}

impl ApiError {
    /// Short, for counting.
    pub fn code(&self) -> &str {
        match self {
            ApiError::Service { code, .. } => code,
            ApiError::Unanswered(_) => "Unanswered",
            ApiError::NotSent(_) => "NotSent",
        }
    }
}

/// What `DescribeAutoScalingInstances` said of the instance's way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
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
    /// Nothing was sent: the instance is in no group, or the group has no such hook of ours.
    Nothing,
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

/// What a failed call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The group may not get smaller.
    AtMinimum,
    /// The instance has left its group, or is leaving it.
    AlreadyLeaving,
    /// No lifecycle action waits: it is too early, or it is over. The lifecycle state tells.
    NoAction,
    /// Protection is for an instance in service or standby.
    NotInService,
    /// Not allowed, now or later.
    Denied,
    /// Certainly not done, and worth another try.
    Retry,
    /// Perhaps done.
    Ambiguous,
    /// Not possible, for a reason that no retry mends.
    Refused,
}

impl Verdict {
    /// Another try, a moment later, would end the same.
    pub fn is_final(self) -> bool {
        !matches!(
            self,
            Verdict::Retry | Verdict::Ambiguous | Verdict::NoAction
        )
    }
}

/// Codes of the query protocol's common errors and of EC2's ("Error codes for the Amazon EC2
/// API", "Common errors" of the Auto Scaling API reference).
const DENIED: [&str; 13] = [
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthFailure",
    "Blocked",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "PendingVerification",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// Refused before anything was done. ResourceContention has HTTP status 500 and means that the
/// group is being changed by somebody else; the expired ones are mended by new credentials.
const RETRY: [&str; 12] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "RequestLimitExceeded",
    "ResourceContention",
    "ResourceContentionFault",
    "ScalingActivityInProgress",
    "ScalingActivityInProgressFault",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
];

pub fn classify(error: &ApiError) -> Verdict {
    let (status, code, message) = match error {
        ApiError::Unanswered(_) => return Verdict::Ambiguous,
        ApiError::NotSent(_) => return Verdict::Retry,
        ApiError::Service {
            status,
            code,
            message,
        } => (*status, code.as_str(), message.as_str()),
    };
    if RETRY.contains(&code) {
        return Verdict::Retry;
    }
    if DENIED.contains(&code) {
        return Verdict::Denied;
    }
    match status {
        429 => Verdict::Retry,
        401 | 403 => Verdict::Denied,
        400..=499 => classify_refusal(message),
        // 5xx may follow the deed, and a 2xx that cannot be read follows it certainly.
        _ => Verdict::Ambiguous,
    }
}

/// Auto Scaling has one code, ValidationError, for all that matters; only the message tells.
fn classify_refusal(message: &str) -> Verdict {
    let message = message.to_ascii_lowercase();
    let says = |text: &str| message.contains(text);
    // "AutoScalingGroup g has min-size=1, max-size=50, and desired-size=1. To detach 1 instance,
    // please update the AutoScalingGroup sizes appropriately." and "Currently, desiredSize equals
    // minSize (1). Terminating instance without replacement will violate group's min size
    // constraint. ..."
    let at_minimum = says("desiredsize equals minsize")
        || says("min size constraint")
        || (says("min-size") && says("to detach"));
    // "The instance i-1 is not part of Auto Scaling group g", "The instance i-1 is not in
    // InService or Standby", "Instance Id not found - No managed instance found for instance ID"
    let leaving =
        says("not part of") || says("no managed instance") || says("not in inservice or standby");
    if at_minimum {
        Verdict::AtMinimum
    } else if says("no active lifecycle action found") {
        // "... with instance ID i-1", "... with token 123e4567-..."
        Verdict::NoAction
    } else if says("not in inservice or enteringstandby or standby") {
        Verdict::NotInService
    } else if leaving {
        Verdict::AlreadyLeaving
    } else if says("rate exceeded") {
        Verdict::Retry
    } else {
        Verdict::Refused
    }
}

/// One answer for what was told to several hooks.
///
/// An action that is not there does not count beside one that is: both began together, so it was
/// completed by an earlier try.
pub fn all_told(
    answers: impl IntoIterator<Item = Result<(), ApiError>>,
) -> Result<Reply, ApiError> {
    let (mut done, mut absent) = (false, None);
    for answer in answers {
        match answer {
            Ok(()) => done = true,
            Err(error) if classify(&error) == Verdict::NoAction => absent = Some(error),
            Err(error) => return Err(error),
        }
    }
    match absent {
        Some(error) if !done => Err(error),
        None if !done => Ok(Reply::Nothing),
        _ => Ok(Reply::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_code_then_status_then_message() {
        let table = [
            (
                400,
                "ValidationError",
                "AutoScalingGroup ci has min-size=1, max-size=50, and desired-size=1. To detach 1 instance, please update the AutoScalingGroup sizes appropriately.",
                Verdict::AtMinimum,
            ),
            (
                400,
                "ValidationError",
                "Currently, desiredSize equals minSize (1). Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
                Verdict::AtMinimum,
            ),
            (
                400,
                "ValidationError",
                "The instance i-1 is not part of Auto Scaling group ci",
                Verdict::AlreadyLeaving,
            ),
            (
                400,
                "ValidationError",
                "The instance i-1 is not in InService or Standby",
                Verdict::AlreadyLeaving,
            ),
            (
                400,
                "ValidationError",
                "Instance Id not found - No managed instance found for instance ID i-1",
                Verdict::AlreadyLeaving,
            ),
            (
                400,
                "ValidationError",
                "List exceeds the maximum number of instances to detach",
                Verdict::Refused,
            ),
            (
                400,
                "ValidationError",
                "AutoScalingGroup name not found - AutoScalingGroup ci not found",
                Verdict::Refused,
            ),
            (
                400,
                "ValidationError",
                "No active Lifecycle Action found with instance ID i-09c7205a117f0d09a",
                Verdict::NoAction,
            ),
            (
                400,
                "ValidationError",
                "No active Lifecycle Action found with token f66c3d47-e602-4af0-8edd-d4e4d2fe4620",
                Verdict::NoAction,
            ),
            (
                400,
                "ValidationError",
                "The instance i-1 is not in InService or EnteringStandby or Standby.",
                Verdict::NotInService,
            ),
            (400, "Throttling", "Rate exceeded", Verdict::Retry),
            (
                503,
                "RequestLimitExceeded",
                "Request limit exceeded.",
                Verdict::Retry,
            ),
            (429, "", "", Verdict::Retry),
            (
                500,
                "ResourceContention",
                "You already have a pending update to an Auto Scaling resource",
                Verdict::Retry,
            ),
            (
                400,
                "ScalingActivityInProgress",
                "Scaling activity 1 is in progress",
                Verdict::Retry,
            ),
            (
                403,
                "ExpiredToken",
                "The security token included in the request is expired",
                Verdict::Retry,
            ),
            (
                403,
                "AccessDenied",
                "User: x is not authorized to perform: autoscaling:DetachInstances",
                Verdict::Denied,
            ),
            (
                403,
                "UnauthorizedOperation",
                "You are not authorized to perform this operation.",
                Verdict::Denied,
            ),
            (
                401,
                "AuthFailure",
                "AWS was not able to validate the provided access credentials",
                Verdict::Denied,
            ),
            (403, "SomethingNew", "", Verdict::Denied),
            (
                400,
                "OperationNotPermitted",
                "The instance 'i-1' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.",
                Verdict::Refused,
            ),
            (
                400,
                "InvalidInstanceID.NotFound",
                "The instance ID 'i-1' does not exist",
                Verdict::Refused,
            ),
            (500, "InternalFailure", "", Verdict::Ambiguous),
            (503, "ServiceUnavailable", "", Verdict::Ambiguous),
            (502, "", "<html>", Verdict::Ambiguous),
            (200, "", "unreadable", Verdict::Ambiguous),
        ];
        for (status, code, message, expected) in table {
            let error = ApiError::Service {
                status,
                code: code.to_owned(),
                message: message.to_owned(),
            };
            assert_eq!(classify(&error), expected, "{error}");
        }
        let text = || "timed out".to_owned();
        assert_eq!(classify(&ApiError::Unanswered(text())), Verdict::Ambiguous);
        assert_eq!(classify(&ApiError::NotSent(text())), Verdict::Retry);
    }

    #[test]
    fn lifecycle_states_are_an_open_set() {
        let rows: [(Seen, &[&str]); 5] = [
            (
                Seen::StillIn,
                &[
                    "InService",
                    "Standby",
                    "EnteringStandby",
                    "Pending:Wait",
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

    #[test]
    fn several_hooks_give_one_answer() {
        let absent = || ApiError::Service {
            status: 400,
            code: "ValidationError".to_owned(),
            message: "No active Lifecycle Action found with instance ID i-1".to_owned(),
        };
        let lost = || ApiError::Unanswered("reset".to_owned());
        let rows = [
            (vec![], Ok(Reply::Nothing)),
            (vec![Ok(()), Ok(())], Ok(Reply::Done)),
            (vec![Err(absent()), Ok(())], Ok(Reply::Done)),
            (vec![Err(absent()), Err(absent())], Err(absent())),
            (vec![Ok(()), Err(absent()), Err(lost())], Err(lost())),
        ];
        for (answers, expected) in rows {
            assert_eq!(all_told(answers), expected);
        }
    }
}
