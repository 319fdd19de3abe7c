//! What AWS' words for a launch that failed mean. Pure.
//!
//! Codes are EC2's ("Error codes for the Amazon EC2 API"); texts are those of scaling activities,
//! which often have no code ("Troubleshoot: EC2 instance launch failures" in the Auto Scaling user
//! guide, and what users quote in their bug reports).

use crate::aws::ApiError;
use crate::poll::plan::{Launched, Trouble, TroubleKind};

/// The provider has no such machine, there or now.
const CAPACITY: [&str; 10] = [
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientCapacityOnHost",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "ReservationCapacityExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
    // The type is not to be had in that zone.
    "Unsupported",
];

const CAPACITY_TEXTS: [&str; 7] = [
    "do not have sufficient",
    "insufficient capacity",
    "no spot capacity",
    "unable to fulfill capacity",
    "free addresses",
    "lower than the minimum required spot request fulfillment price",
    "requested configuration is currently not supported",
];

const QUOTA_TEXTS: [&str; 6] = [
    "current instance limit",
    "current vcpu limit",
    "spot instance count exceeded",
    "reached your quota",
    "exceeded your maximum",
    "exceeded your quota",
];

const DENIED_TEXTS: [&str; 14] = [
    "access denied",
    "authentication failure",
    "not authorized",
    "do not have permission",
    "does not have permission",
    "service-linked role",
    // An encrypted disk whose key the service may not use.
    "client error on launch",
    "does not exist",
    "is not valid",
    "invalid ",
    "not eligible",
    "not subscribed",
    "accept terms",
    "account is currently blocked",
];

/// What this code and text mean; either may be empty.
pub fn classify(code: &str, text: &str) -> TroubleKind {
    let code = code
        .strip_prefix("Server.")
        .or(code.strip_prefix("Client."))
        .unwrap_or(code);
    let text = text.to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|known| text.contains(known));
    let throttled = ["RequestLimitExceeded", "Throttling", "ThrottlingException"];
    if throttled.contains(&code) || text.contains("rate exceeded") {
        TroubleKind::Throttled
    } else if CAPACITY.contains(&code) || says(&CAPACITY_TEXTS) {
        TroubleKind::Capacity
    } else if is_quota(code) || says(&QUOTA_TEXTS) {
        TroubleKind::Quota
    } else if is_refusal(code) || says(&DENIED_TEXTS) {
        TroubleKind::Denied
    } else {
        TroubleKind::Other
    }
}

/// `VcpuLimitExceeded`, `MaxSpotInstanceCountExceeded`, `TargetCapacityLimitExceededException`...
fn is_quota(code: &str) -> bool {
    let code = code.strip_suffix("Exception").unwrap_or(code);
    code.ends_with("LimitExceeded") || code.ends_with("CountExceeded")
}

fn is_refusal(code: &str) -> bool {
    let codes = [
        "AccessDenied",
        "AuthFailure",
        "Blocked",
        "Invalid",
        "MissingParameter",
        "OptInRequired",
        "PendingVerification",
        "UnauthorizedOperation",
    ];
    codes.iter().any(|known| code.starts_with(known))
}

/// What the status message of a scaling activity means. Its forms are "Could not launch Spot
/// Instances. CODE - text", "CODE - text", and text alone.
pub fn classify_activity(message: &str) -> TroubleKind {
    let rest = [
        "Could not launch Spot Instances.",
        "Could not launch On-Demand Instances.",
    ]
    .iter()
    .find_map(|prefix| message.strip_prefix(prefix))
    .unwrap_or(message)
    .trim_start();
    let word = rest.split([' ', ':']).next().unwrap_or_default();
    let word = word.trim_end_matches('.');
    // "We", "Authentication": no code has lower-case letters alone after the first.
    let humps = word
        .chars()
        .skip(1)
        .filter(char::is_ascii_uppercase)
        .count();
    let is_code = humps > 0 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    let known = ["Unsupported", "Throttling"];
    match is_code || known.contains(&word) {
        true => classify(word, rest),
        false => classify("", rest),
    }
}

/// What a call that failed definitely says.
pub fn trouble(error: &ApiError) -> Trouble {
    Trouble {
        kind: kind(error),
        scope: String::new(),
        message: error.to_string(),
    }
}

fn kind(error: &ApiError) -> TroubleKind {
    if error.is_throttled() {
        return TroubleKind::Throttled;
    }
    if error.is_busy() {
        return TroubleKind::Conflict;
    }
    if error.is_denied() {
        return TroubleKind::Denied;
    }
    let ApiError::Service { code, message, .. } = error else {
        return TroubleKind::Other;
    };
    // The sizes were changed since they were read; or the same token came with other parameters,
    // because somebody has acted on the same view already.
    let sizes = ["above max value", "below min value"];
    if code.starts_with("IdempotentParameterMismatch")
        || sizes.iter().any(|text| message.contains(text))
        || message.to_ascii_lowercase().contains("name not found")
    {
        return TroubleKind::Conflict;
    }
    match classify(code, message) {
        // Its own word for everything that it does not accept.
        TroubleKind::Denied if code == "ValidationError" => TroubleKind::Other,
        kind => kind,
    }
}

/// What became of a call that failed.
pub fn failed(error: &ApiError) -> Launched {
    match error.is_ambiguous() {
        true => Launched::Unknown(error.to_string()),
        false => Launched::Refused(trouble(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activities_are_told_apart_by_their_words() {
        use TroubleKind::{Capacity, Denied, Other, Quota};
        let table = [
            (
                Capacity,
                "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your request configuration. Please adjust your request and try again. Launching EC2 instance failed.",
            ),
            (
                Capacity,
                "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity available that matches your request. Launching EC2 instance failed.",
            ),
            (
                Capacity,
                "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have sufficient p3dn.24xlarge capacity in the Availability Zone you requested (us-west-2c). Our system will be working on provisioning additional capacity. Launching EC2 instance failed.",
            ),
            (
                Capacity,
                "We currently do not have sufficient c5.large capacity in the Availability Zone you requested (us-east-1a). Our system will be working on provisioning additional capacity. You can currently get c5.large capacity by not specifying an Availability Zone in your request or choosing us-east-1b. Launching EC2 instance failed.",
            ),
            (
                Capacity,
                "Could not launch Spot Instances. SpotMaxPriceTooLow - Your Spot request price of 0.01 is lower than the minimum required Spot request fulfillment price of 0.035. Launching EC2 instance failed.",
            ),
            (
                Capacity,
                "The requested configuration is currently not supported. Please check the documentation for supported configurations. Launching EC2 instance failed.",
            ),
            (
                Capacity,
                "Could not launch On-Demand Instances. Unsupported - Your requested instance type (m7i.large) is not supported in your requested Availability Zone (us-east-1e). Launching EC2 instance failed.",
            ),
            (
                Quota,
                "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded. Launching EC2 instance failed.",
            ),
            (
                Quota,
                "Could not launch Spot Instances. MaxSpotInstanceCountExceeded",
            ),
            (
                Quota,
                "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your current vCPU limit of 32 allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit. Launching EC2 instance failed.",
            ),
            (
                Quota,
                "You have requested more instances (7) than your current instance limit of 6 allows for the specified instance type. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit. Launching EC2 instance failed.",
            ),
            (
                Quota,
                "You've reached your quota for maximum Fleet Requests for this account. Launching EC2 instance failed.",
            ),
            (
                Denied,
                "Could not launch On-Demand Instances. InvalidParameterCombination - The specified instance type is not eligible for Free Tier. Launching EC2 instance failed.",
            ),
            (
                Denied,
                "Authentication Failure. Launching EC2 instance failed.",
            ),
            (
                Denied,
                "The security group 'sg-0123456789abcdef0' does not exist. Launching EC2 instance failed.",
            ),
            (
                Denied,
                "The key pair 'ci' does not exist. Launching EC2 instance failed.",
            ),
            (
                Denied,
                "The image id '[ami-0123456789abcdef0]' does not exist. Launching EC2 instance failed.",
            ),
            (Denied, "Client.InternalError: Client error on launch"),
            (
                Denied,
                "Could not launch Spot Instances. AuthFailure.ServiceLinkedRoleCreationNotPermitted - The provided credentials do not have permission to create the service-linked role for EC2 Spot Instances. Launching EC2 instance failed.",
            ),
            (
                Denied,
                "Access denied when attempting to assume role arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling. Validating load balancer configuration failed.",
            ),
            (
                Denied,
                "You are not subscribed to this service. Please see https://aws.amazon.com/. Launching EC2 instance failed.",
            ),
            (
                Other,
                "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token 2b0f was abandoned: Heartbeat Timeout",
            ),
            (Other, "Internal error. Launching EC2 instance failed."),
            (Other, ""),
        ];
        for (kind, message) in table {
            assert_eq!(classify_activity(message), kind, "{message}");
        }
    }

    fn service(status: u16, code: &str, message: &str) -> ApiError {
        ApiError::Service {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_failed_call_is_refused_only_where_that_is_certain() {
        use TroubleKind::{Capacity, Conflict, Denied, Other, Throttled};
        let above = "New SetDesiredCapacity value 5 is above max value 4 for the AutoScalingGroup.";
        let table = [
            (400, "Throttling", "Rate exceeded", Throttled),
            (500, "ResourceContention", "pending update", Conflict),
            (400, "ScalingActivityInProgress", "cooling down", Conflict),
            (400, "IdempotentParameterMismatchError", "", Conflict),
            (400, "ValidationError", above, Conflict),
            (
                400,
                "ValidationError",
                "AutoScalingGroup name not found - null",
                Conflict,
            ),
            (
                400,
                "ValidationError",
                "The launch template does not exist",
                Other,
            ),
            (403, "AccessDenied", "User: x is not authorized", Denied),
            (400, "InsufficientInstanceCapacity", "", Capacity),
        ];
        for (status, code, message, expected) in table {
            let error = service(status, code, message);
            let Launched::Refused(trouble) = failed(&error) else {
                panic!("{error} is definite");
            };
            assert_eq!(trouble.kind, expected, "{error}");
        }
        for error in [
            service(500, "InternalFailure", ""),
            service(503, "ServiceUnavailable", ""),
            service(200, "Unreadable", "half an answer"),
            ApiError::Unanswered("timeout".to_owned()),
        ] {
            assert!(matches!(failed(&error), Launched::Unknown(_)), "{error}");
        }
        let unsent = failed(&ApiError::NotSent("no credentials".to_owned()));
        assert!(matches!(unsent, Launched::Refused(_)));
    }
}
