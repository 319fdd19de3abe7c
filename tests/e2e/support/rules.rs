//! What AWS refuses and moto does not, in AWS' own words; and AWS' form of an error.
//!
//! Codes and texts are those that users of the two APIs quote in their bug reports.

use super::cloud::Call;
use super::group::{Members, group_of};
use super::http::{Answer, Reply};
use super::imds::Times;
use super::moto::Service;

/// How the group still shows an instance that has left it, and for how many looks.
#[derive(Debug, Clone, Copy)]
pub struct Leaving {
    pub state: &'static str,
    pub looks: Times,
}

/// An answer other than moto's.
pub enum Refusal {
    Error {
        status: u16,
        code: String,
        message: String,
    },
    /// A success.
    Success(String),
}

impl Refusal {
    pub fn new(status: u16, code: &str, message: &str) -> Refusal {
        Refusal::Error {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    pub fn validation(message: String) -> Refusal {
        Refusal::new(400, "ValidationError", &message)
    }

    pub fn throttled(service: Service) -> Refusal {
        match service {
            Service::AutoScaling => Refusal::new(400, "Throttling", "Rate exceeded"),
            Service::Ec2 => Refusal::new(503, "RequestLimitExceeded", "Request limit exceeded."),
        }
    }

    pub fn contention() -> Refusal {
        Refusal::new(
            500,
            "ResourceContention",
            "You already have a pending update to an Auto Scaling resource (for example, a group, \
             instance, or load balancer).",
        )
    }

    pub fn denied(service: Service, action: &str) -> Refusal {
        match service {
            Service::AutoScaling => Refusal::new(
                403,
                "AccessDenied",
                &format!(
                    "User: arn:aws:sts::123456789012:assumed-role/ci-agent/i-0 is not authorized \
                     to perform: autoscaling:{action} because no identity-based policy allows the \
                     autoscaling:{action} action"
                ),
            ),
            Service::Ec2 => Refusal::new(
                403,
                "UnauthorizedOperation",
                "You are not authorized to perform this operation.",
            ),
        }
    }

    pub fn internal(service: Service) -> Refusal {
        match service {
            Service::AutoScaling => Refusal::new(500, "InternalFailure", ""),
            Service::Ec2 => Refusal::new(500, "InternalError", "An internal error has occurred"),
        }
    }

    pub fn unavailable(service: Service) -> Refusal {
        match service {
            Service::AutoScaling => Refusal::new(503, "ServiceUnavailable", ""),
            Service::Ec2 => Refusal::new(503, "Unavailable", "The service is unavailable."),
        }
    }

    pub fn expired(service: Service) -> Refusal {
        match service {
            Service::AutoScaling => Refusal::new(
                403,
                "ExpiredToken",
                "The security token included in the request is expired",
            ),
            Service::Ec2 => Refusal::new(400, "RequestExpired", "Request has expired."),
        }
    }

    pub fn unsigned() -> Refusal {
        let message = "Request must contain either a valid (registered) AWS access key ID or X.509 \
                       certificate.";
        Refusal::new(403, "MissingAuthenticationToken", message)
    }

    pub fn unknown_action(action: &str) -> Refusal {
        let message = format!("The action {action} is not valid for this web service.");
        Refusal::new(400, "InvalidAction", &message)
    }

    pub fn is_success(&self) -> bool {
        matches!(self, Refusal::Success(_))
    }

    /// As the query API of this service writes it.
    pub fn answer(self, service: Service) -> Answer {
        let (status, code, message) = match self {
            Refusal::Success(body) => return Answer::Reply(Reply::new(200, "text/xml", body)),
            Refusal::Error {
                status,
                code,
                message,
            } => (status, code, escape(&message)),
        };
        let id = "5f3a1d52-7e0f-4a6b-8f5c-0c1d2e3f4a5b";
        let blame = if status < 500 { "Sender" } else { "Receiver" };
        let body = match service {
            Service::AutoScaling => format!(
                "<ErrorResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">\n  \
                 <Error>\n    <Type>{blame}</Type>\n    <Code>{code}</Code>\n    \
                 <Message>{message}</Message>\n  </Error>\n  <RequestId>{id}</RequestId>\n\
                 </ErrorResponse>\n"
            ),
            Service::Ec2 => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error>\
                 <Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                 <RequestID>{id}</RequestID></Response>"
            ),
        };
        Answer::Reply(Reply::new(status, "text/xml", body))
    }
}

/// AWS' answer, where it is not moto's.
pub async fn refusal(call: &Call, leaving: Option<Leaving>) -> Option<Refusal> {
    let group = call.params.get("AutoScalingGroupName").map(String::as_str);
    let instance = call.instance();
    match (call.action.as_str(), group, instance) {
        ("DetachInstances", Some(group), Some(instance)) => {
            detach(call, group, instance, leaving).await
        }
        ("TerminateInstanceInAutoScalingGroup", _, Some(instance)) => {
            terminate(call, instance).await
        }
        ("SetInstanceProtection", Some(group), Some(instance)) => {
            set_protection(group, instance).await
        }
        ("DescribeLifecycleHooks", Some(group), _) if Members::of(group).await.is_none() => {
            Some(no_group())
        }
        ("SetDesiredCapacity", Some(group), _) => set_desired(call, group).await,
        ("DescribeAutoScalingInstances", _, Some(instance)) => {
            Some(stale_instance(instance, leaving?))
        }
        _ => None,
    }
}

async fn detach(
    call: &Call,
    group: &str,
    instance: &str,
    leaving: Option<Leaving>,
) -> Option<Refusal> {
    let Some(members) = Members::of(group).await else {
        return Some(no_group());
    };
    if leaving.is_some() {
        let message = format!("The instance {instance} is not in InService or Standby.");
        return Some(Refusal::validation(message));
    }
    if !members.instances.iter().any(|id| id == instance) {
        let message = format!("The instance {instance} is not part of Auto Scaling group {group}.");
        return Some(Refusal::validation(message));
    }
    let Members {
        min, max, desired, ..
    } = members;
    (call.decrement() == Some(true) && desired <= min).then(|| {
        Refusal::validation(format!(
            "AutoScalingGroup {group} has min-size={min}, max-size={max}, and \
             desired-size={desired}. To detach 1 instance, please update the AutoScalingGroup \
             sizes appropriately."
        ))
    })
}

async fn terminate(call: &Call, instance: &str) -> Option<Refusal> {
    let Some(group) = group_of(instance).await else {
        return Some(Refusal::validation(format!(
            "Instance Id not found - No managed instance found for instance ID {instance}"
        )));
    };
    let Members { min, desired, .. } = Members::of(&group).await?;
    (call.decrement() == Some(true) && desired <= min).then(|| {
        Refusal::validation(format!(
            "Currently, desiredSize equals minSize ({min}). Terminating instance without \
             replacement will violate group's min size constraint. Either set \
             shouldDecrementDesiredCapacity flag to false or lower group's min size."
        ))
    })
}

async fn set_protection(group: &str, instance: &str) -> Option<Refusal> {
    let Some(members) = Members::of(group).await else {
        return Some(no_group());
    };
    let member = members.instances.iter().any(|id| id == instance);
    (!member).then(|| {
        Refusal::validation(format!(
            "The instance {instance} is not part of Auto Scaling group {group}."
        ))
    })
}

async fn set_desired(call: &Call, group: &str) -> Option<Refusal> {
    let Some(Members { min, max, .. }) = Members::of(group).await else {
        return Some(no_group());
    };
    let wanted: i64 = call.params.get("DesiredCapacity")?.parse().ok()?;
    let (beyond, bound, limit) = match wanted {
        _ if wanted > max => ("above", "max", max),
        _ if wanted < min => ("below", "min", min),
        _ => return None,
    };
    Some(Refusal::validation(format!(
        "New SetDesiredCapacity value {wanted} is {beyond} {bound} value {limit} for the \
         AutoScalingGroup."
    )))
}

fn no_group() -> Refusal {
    Refusal::validation("AutoScalingGroup name not found - null".to_owned())
}

fn stale_instance(instance: &str, leaving: Leaving) -> Refusal {
    let shown = instance_shown(instance, "left", leaving.state);
    let list = format!("<AutoScalingInstances>{shown}</AutoScalingInstances>");
    result("DescribeAutoScalingInstances", &list)
}

/// A member of the list that `DescribeAutoScalingInstances` answers.
pub fn instance_shown(instance: &str, group: &str, state: &str) -> String {
    format!(
        "<member><InstanceId>{instance}</InstanceId>\
         <AutoScalingGroupName>{group}</AutoScalingGroupName>\
         <AvailabilityZone>us-east-1a</AvailabilityZone><LifecycleState>{state}</LifecycleState>\
         <HealthStatus>HEALTHY</HealthStatus><ProtectedFromScaleIn>false</ProtectedFromScaleIn>\
         </member>"
    )
}

/// Auto Scaling has begun what was asked for.
pub fn begun(action: &str, group: &str) -> Refusal {
    let activity = format!(
        "<Activity><ActivityId>e9b7b7a2</ActivityId>\
         <AutoScalingGroupName>{group}</AutoScalingGroupName><Cause>At the request of a user.</Cause>\
         <StartTime>2026-01-01T00:00:00Z</StartTime><StatusCode>InProgress</StatusCode></Activity>"
    );
    result(action, &activity)
}

/// Auto Scaling's success without further words.
pub fn empty(action: &str) -> Refusal {
    result(action, "")
}

/// Auto Scaling's success with this inside.
pub fn result(action: &str, inside: &str) -> Refusal {
    Refusal::Success(format!(
        "<{action}Response xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">\
         <{action}Result>{inside}</{action}Result>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
