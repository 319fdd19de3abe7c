//! What a failed call to AWS means: AWS' errors, by code, status and words.

// In builds without it nobody answers.
#![cfg_attr(not(feature = "aws"), allow(dead_code))]

use super::api::Reply;
use crate::aws::ApiError;

/// What a failed call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The group may not get smaller.
    AtMinimum,
    /// The instance has left its group, or is leaving it.
    AlreadyLeaving,
    /// No lifecycle action waits: it is too early, or it is over. The lifecycle state tells.
    NoAction,
    /// That is for an instance in service or standby: it is too early, or it is leaving.
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

pub fn classify(error: &ApiError) -> Verdict {
    let message = match error {
        ApiError::Unanswered(_) => return Verdict::Ambiguous,
        ApiError::NotSent(_) => return Verdict::Retry,
        ApiError::Service { message, .. } => message,
    };
    if error.is_throttled() || error.is_busy() || error.is_expired() {
        Verdict::Retry
    } else if error.is_denied() {
        Verdict::Denied
    } else if error.is_ambiguous() {
        Verdict::Ambiguous
    } else {
        classify_refusal(message)
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
    // "The instance i-1 is not part of Auto Scaling group g", "Instance Id not found - No managed
    // instance found for instance ID"
    let leaving = says("not part of") || says("no managed instance");
    // "The instance i-1 is not in InService or Standby"; SetInstanceProtection has one more state
    let not_in_service = says("not in inservice or standby")
        || says("not in inservice or enteringstandby or standby");
    if at_minimum {
        Verdict::AtMinimum
    } else if says("no active lifecycle action found") {
        // "... with instance ID i-1", "... with token 123e4567-..."
        Verdict::NoAction
    } else if not_in_service {
        Verdict::NotInService
    } else if leaving {
        Verdict::AlreadyLeaving
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
                Verdict::NotInService,
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
