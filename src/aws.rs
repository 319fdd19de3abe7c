//! The one way to AWS, for supervisor, poller and doctor: what a failed call says, and the SDK's
//! settings. What a failure means is its caller's to say.

// In builds without it nobody answers.
#![cfg_attr(not(feature = "aws"), allow(dead_code))]

#[cfg(feature = "aws")]
mod sdk;

#[cfg(feature = "aws")]
pub use sdk::{Patience, explain, settings};

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

const THROTTLED: [&str; 5] = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
];

/// Mended by new credentials, which the SDK fetches by itself.
const EXPIRED: [&str; 3] = ["ExpiredToken", "ExpiredTokenException", "RequestExpired"];

/// Somebody else is changing the group. ResourceContention has HTTP status 500, and nothing was
/// done all the same.
const BUSY: [&str; 4] = [
    "ResourceContention",
    "ResourceContentionFault",
    "ScalingActivityInProgress",
    "ScalingActivityInProgressFault",
];

impl ApiError {
    /// Short, for counting.
    pub fn code(&self) -> &str {
        match self {
            ApiError::Service { code, .. } => code,
            ApiError::Unanswered(_) => "Unanswered",
            ApiError::NotSent(_) => "NotSent",
        }
    }

    /// The account's rate is exceeded; nothing was done.
    pub fn is_throttled(&self) -> bool {
        match self {
            ApiError::Service {
                status,
                code,
                message,
            } => {
                THROTTLED.contains(&code.as_str())
                    || *status == 429
                    || (*status == 400 && message.to_ascii_lowercase().contains("rate exceeded"))
            }
            ApiError::Unanswered(_) | ApiError::NotSent(_) => false,
        }
    }

    /// The group is being changed by somebody else; nothing was done.
    pub fn is_busy(&self) -> bool {
        matches!(self, ApiError::Service { code, .. } if BUSY.contains(&code.as_str()))
    }

    /// The credentials have run out; nothing was done.
    pub fn is_expired(&self) -> bool {
        matches!(self, ApiError::Service { code, .. } if EXPIRED.contains(&code.as_str()))
    }

    /// Not allowed, now or later; nothing was done.
    pub fn is_denied(&self) -> bool {
        match self {
            ApiError::Service { status, code, .. } => {
                let code = code.as_str();
                let mends = self.is_throttled() || self.is_expired() || self.is_busy();
                DENIED.contains(&code) || (matches!(status, 401 | 403) && !mends)
            }
            ApiError::Unanswered(_) | ApiError::NotSent(_) => false,
        }
    }

    /// It may have been done: no answer, a 5xx that may follow the deed, or a success that cannot
    /// be read.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            ApiError::Unanswered(_) => true,
            ApiError::NotSent(_) => false,
            ApiError::Service { status, .. } => {
                let definite = self.is_throttled() || self.is_busy() || self.is_denied();
                !(400..500).contains(status) && !definite
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(status: u16, code: &str, message: &str) -> ApiError {
        ApiError::Service {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn an_error_is_of_one_kind() {
        #[derive(Debug, PartialEq)]
        enum Kind {
            Throttled,
            Busy,
            Expired,
            Denied,
            Ambiguous,
            Other,
        }
        let table = [
            (400, "Throttling", "Rate exceeded", Kind::Throttled),
            (503, "RequestLimitExceeded", "", Kind::Throttled),
            (429, "", "", Kind::Throttled),
            (400, "ValidationError", "Rate exceeded", Kind::Throttled),
            (500, "ResourceContention", "pending update", Kind::Busy),
            (400, "ScalingActivityInProgress", "", Kind::Busy),
            (403, "ExpiredToken", "", Kind::Expired),
            (400, "RequestExpired", "", Kind::Expired),
            (403, "AccessDenied", "", Kind::Denied),
            (400, "OptInRequired", "", Kind::Denied),
            (403, "SomethingNew", "", Kind::Denied),
            (500, "InternalFailure", "", Kind::Ambiguous),
            (503, "ServiceUnavailable", "", Kind::Ambiguous),
            (200, "Unreadable", "", Kind::Ambiguous),
            (400, "ValidationError", "above max value", Kind::Other),
        ];
        for (status, code, message, kind) in table {
            let error = service(status, code, message);
            let kinds = [
                (error.is_throttled(), Kind::Throttled),
                (error.is_busy(), Kind::Busy),
                (error.is_expired(), Kind::Expired),
                (error.is_denied(), Kind::Denied),
                (error.is_ambiguous(), Kind::Ambiguous),
            ];
            let mut found: Vec<_> = kinds
                .into_iter()
                .filter_map(|(is, kind)| is.then_some(kind))
                .collect();
            if found.is_empty() {
                found.push(Kind::Other);
            }
            assert_eq!(found, [kind], "{error}");
        }
    }

    #[test]
    fn what_was_never_sent_was_never_done() {
        assert!(ApiError::Unanswered(String::new()).is_ambiguous());
        assert!(!ApiError::NotSent(String::new()).is_ambiguous());
    }
}
