//! What the ladder asks of AWS, and what the answers mean. Pure; `aws.rs` sends the calls.

// In builds without it nobody answers.
#![cfg_attr(not(feature = "aws"), allow(dead_code))]

use std::future::Future;

use super::identity::Identity;

/// One request to AWS about this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Auto Scaling `DetachInstances`.
    Detach { decrement: bool },
    /// Auto Scaling `TerminateInstanceInAutoScalingGroup`.
    TerminateInGroup { decrement: bool },
    /// Auto Scaling `DescribeAutoScalingInstances`: is it still in its group?
    Look,
    /// EC2 `TerminateInstances`.
    Terminate,
}

impl Call {
    /// As AWS writes it.
    pub fn name(self) -> &'static str {
        match self {
            Call::Detach { .. } => "DetachInstances",
            Call::TerminateInGroup { .. } => "TerminateInstanceInAutoScalingGroup",
            Call::Look => "DescribeAutoScalingInstances",
            Call::Terminate => "TerminateInstances",
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

/// What `DescribeAutoScalingInstances` said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    StillIn,
    /// Not listed, or on its way out.
    Leaving,
}

impl Seen {
    /// `None`: the instance is not listed. States are an open set (Auto Scaling user guide,
    /// "Amazon EC2 Auto Scaling instance lifecycle").
    pub fn from_state(state: Option<&str>) -> Seen {
        match state {
            None | Some("Detaching" | "Detached" | "Terminated") => Seen::Leaving,
            Some(state) if state.starts_with("Terminating") => Seen::Leaving,
            Some(_) => Seen::StillIn,
        }
    }
}

/// A successful answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Done,
    Seen(Seen),
}

/// Sends calls about one instance. One try each: the ladder decides about the next.
pub trait Cloud: Sync {
    fn send(
        &self,
        instance: &Identity,
        call: Call,
    ) -> impl Future<Output = Result<Reply, ApiError>> + Send;
}

/// What a failed call means for the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The group may not get smaller.
    AtMinimum,
    /// The instance has left its group, or is leaving it.
    AlreadyLeaving,
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
    /// Another try would end the same.
    pub fn is_final(self) -> bool {
        !matches!(self, Verdict::Retry | Verdict::Ambiguous)
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
    } else if leaving {
        Verdict::AlreadyLeaving
    } else if says("rate exceeded") {
        Verdict::Retry
    } else {
        Verdict::Refused
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
        for state in [
            "InService",
            "Standby",
            "Pending:Wait",
            "EnteringStandby",
            "Quarantined",
        ] {
            assert_eq!(Seen::from_state(Some(state)), Seen::StillIn, "{state}");
        }
        for state in [
            "Detaching",
            "Detached",
            "Terminating",
            "Terminating:Wait",
            "Terminated",
        ] {
            assert_eq!(Seen::from_state(Some(state)), Seen::Leaving, "{state}");
        }
        assert_eq!(Seen::from_state(None), Seen::Leaving);
    }
}
