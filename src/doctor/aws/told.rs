//! What answers mean: for a fact, and for whether a call is allowed. Pure.

use crate::aws::ApiError;
use crate::doctor::facts::{Allowed, Fact, Unknown};
use crate::iam::Action;
use crate::instance::{Verdict, classify};

/// Why there is no answer that says anything.
pub(in crate::doctor) enum Miss {
    Api(ApiError),
    Late,
}

pub(in crate::doctor) type Told<T> = Result<T, Miss>;

pub(super) fn fact<T>(action: Action, told: Told<T>) -> Fact<T> {
    told.map_err(|miss| match miss {
        Miss::Api(error) if classify(&error) == Verdict::Denied => Unknown::Denied(action),
        miss => Unknown::because(miss.why()),
    })
}

impl Miss {
    fn why(&self) -> String {
        match self {
            Miss::Late => "AWS did not answer in time".to_owned(),
            Miss::Api(ApiError::Service { code, status, .. }) => {
                format!("AWS answered {status} {code}")
            }
            Miss::Api(error) => error.to_string(),
        }
    }
}

/// IAM has its say before a service looks at what a call is about, so that a refusal which is about
/// that means that the call is allowed. One that is about the call's form may come before IAM's.
pub(in crate::doctor) fn allowed<T>(told: &Told<T>) -> Allowed {
    let miss = match told {
        Ok(_) => return Allowed::Yes,
        Err(miss) => miss,
    };
    let Miss::Api(error) = miss else {
        return Allowed::Unknown(miss.why());
    };
    match classify(error) {
        Verdict::Denied => Allowed::No(reason(error)),
        Verdict::AtMinimum
        | Verdict::AlreadyLeaving
        | Verdict::NoAction
        | Verdict::NotInService => Allowed::Yes,
        Verdict::Refused if is_about_the_matter(error) => Allowed::Yes,
        Verdict::Refused | Verdict::Retry | Verdict::Ambiguous => Allowed::Unknown(miss.why()),
    }
}

/// Auto Scaling's one code for everything, but not its words for a parameter of the wrong form
/// ("1 validation error detected: Value '...' at '...' failed to satisfy constraint").
fn is_about_the_matter(error: &ApiError) -> bool {
    match error {
        ApiError::Service { code, message, .. } => {
            code == "ValidationError" && !message.contains("validation error detected")
        }
        ApiError::Unanswered(_) | ApiError::NotSent(_) => false,
    }
}

pub(super) fn dry_run<T>(told: Told<T>) -> Allowed {
    match &told {
        Err(Miss::Api(ApiError::Service { code, .. })) if code == "DryRunOperation" => Allowed::Yes,
        Ok(_) => Allowed::Unknown("EC2 did not say what would happen".to_owned()),
        Err(miss) => match allowed(&told) {
            // Termination protection and the like: IAM may have been asked before, or not.
            Allowed::Yes => Allowed::Unknown(miss.why()),
            other => other,
        },
    }
}

/// Which policy denies it, where AWS says so.
fn reason(error: &ApiError) -> String {
    if let ApiError::Service { message, code, .. } = error {
        for marker in ["because ", "with an explicit deny"] {
            if let Some(at) = message.find(marker) {
                let rest = message[at..].trim_start_matches("because ");
                return rest
                    .split(". ")
                    .next()
                    .unwrap_or(rest)
                    .trim_end_matches('.')
                    .to_owned();
            }
        }
        return code.clone();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(status: u16, code: &str, message: &str) -> Told<()> {
        Err(Miss::Api(ApiError::Service {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }))
    }

    #[test]
    fn only_what_iam_refuses_is_denied_and_only_silence_is_unknown() {
        assert_eq!(allowed(&Ok(())), Allowed::Yes);
        let yes = [
            "The instance i-0 is not part of Auto Scaling group ci",
            "No active Lifecycle Action found with instance ID i-0",
            "Instance Id not found - No managed instance found for instance ID i-0",
            "The instance i-0 is not in InService or EnteringStandby or Standby.",
            "Something that nobody has quoted yet",
        ];
        for message in yes {
            assert_eq!(
                allowed(&service(400, "ValidationError", message)),
                Allowed::Yes
            );
        }
        let form = "1 validation error detected: Value null at 'instanceId' failed to satisfy";
        let told = allowed(&service(400, "ValidationError", form));
        assert!(matches!(told, Allowed::Unknown(_)), "{told:?}");
        for (status, code) in [
            (400, "Throttling"),
            (503, "ServiceUnavailable"),
            (403, "ExpiredToken"),
            (400, "InvalidAction"),
        ] {
            let told = allowed(&service(status, code, ""));
            assert!(matches!(told, Allowed::Unknown(_)), "{code}: {told:?}");
        }
        assert!(matches!(
            allowed::<()>(&Err(Miss::Late)),
            Allowed::Unknown(_)
        ));
        let denied = "User: arn is not authorized to perform: autoscaling:DetachInstances because \
                      no identity-based policy allows the autoscaling:DetachInstances action";
        assert_eq!(
            allowed(&service(403, "AccessDenied", denied)),
            Allowed::No(
                "no identity-based policy allows the autoscaling:DetachInstances action".to_owned()
            )
        );
    }

    #[test]
    fn a_dry_run_proves_only_what_ec2_says_of_it() {
        let would = "Request would have succeeded, but DryRun flag is set.";
        assert_eq!(
            dry_run(service(412, "DryRunOperation", would)),
            Allowed::Yes
        );
        let denied = service(403, "UnauthorizedOperation", "You are not authorized.");
        assert_eq!(
            dry_run(denied),
            Allowed::No("UnauthorizedOperation".to_owned())
        );
        for told in [
            Ok(()),
            service(400, "OperationNotPermitted", ""),
            service(503, "RequestLimitExceeded", ""),
            Err(Miss::Late),
        ] {
            assert!(matches!(dry_run(told), Allowed::Unknown(_)));
        }
    }
}
