//! Making a group larger.

use std::time::Duration;

use aws_sdk_autoscaling::config::Builder;
use aws_sdk_autoscaling::operation::launch_instances::LaunchInstancesOutput;
use aws_sdk_autoscaling::types::RetryStrategy;

use super::spread::{Request, Spread};
use super::words::{classify, failed};
use super::{Asg, Known};
use crate::aws::{Patience, explain};
use crate::poll::plan::{Launched, Member, Order, Place, Trouble, TroubleKind};

/// It answers when the instances are launched, or cannot be.
const SYNCHRONOUS: Patience = Patience {
    attempt: Duration::from_secs(25),
    operation: Duration::from_secs(28),
};

impl Asg {
    /// `HonorCooldown` is off: a cooldown is for policies that do not know what is on its way.
    pub(super) async fn set_desired(&self, place: &Place, order: &Order) -> Launched {
        let Ok(desired) = i32::try_from(order.desired) else {
            return refused(
                TroubleKind::Other,
                "more instances than Auto Scaling can count",
            );
        };
        self.count("SetDesiredCapacity");
        let call = self.client().await.set_desired_capacity();
        let call = call.auto_scaling_group_name(place.as_str());
        let call = call.desired_capacity(desired).honor_cooldown(false);
        match call.send().await.map_err(explain) {
            Ok(_) => Launched::Accepted {
                count: order.count.get(),
                members: Vec::new(),
            },
            Err(error) => failed(&error),
        }
    }

    /// Zone by zone, beginning where the fewest instances are. What one zone has no capacity for
    /// is asked of the next.
    pub(super) async fn launch_instances(
        &self,
        place: &Place,
        order: &Order,
        known: Known,
    ) -> Launched {
        let mut zones = known.zones;
        if zones.is_empty() {
            // Discovery told the plan of it, and it was not read here yet.
            if let Err(trouble) = self.describe_page(std::slice::from_ref(place)).await {
                return Launched::Refused(trouble);
            }
            zones = self.known(place).zones;
        }
        if !known.chosen.is_empty() {
            zones.retain(|zone| known.chosen.contains(&zone.name));
            if zones.is_empty() {
                let chosen = known.chosen.join(", ");
                let what = format!("none of its zones is one of {chosen}");
                return refused(TroubleKind::Denied, &what);
            }
        }
        let mut spread = Spread::new(zones, order.count.get(), &order.token);
        let mut outcome = Outcome::default();
        while let Some(request) = spread.next() {
            let answer = match self.send(place, &request).await {
                Ok(output) => Answer::of(&output, request.count),
                Err(Launched::Refused(trouble)) => Answer {
                    members: Vec::new(),
                    trouble: Some(trouble),
                },
                // Whatever came before is told again when the order is repeated.
                Err(unknown) => return unknown,
            };
            let launched = u32::try_from(answer.members.len()).unwrap_or(u32::MAX);
            outcome.members.extend(answer.members);
            let Some(trouble) = answer.trouble else {
                continue;
            };
            let elsewhere = trouble.kind == TroubleKind::Capacity;
            outcome.trouble = Some(trouble);
            if !elsewhere {
                return outcome.told(order);
            }
            spread.fell_short(launched);
        }
        // No zone is left, so that it is about the whole group.
        if let Some(trouble) = &mut outcome.trouble {
            trouble.scope.clear();
        }
        outcome.told(order)
    }

    async fn send(
        &self,
        place: &Place,
        request: &Request,
    ) -> Result<LaunchInstancesOutput, Launched> {
        // RequestedCapacity is at most a hundred.
        let count = i32::try_from(request.count).unwrap_or(i32::MAX);
        self.count("LaunchInstances");
        let call = self.client().await.launch_instances();
        let call = call.auto_scaling_group_name(place.as_str());
        let call = call.requested_capacity(count).client_token(&request.token);
        let call = call.set_availability_zones(request.zone.clone().map(|zone| vec![zone]));
        // Otherwise it would raise the desired capacity and go on by itself.
        let call = call.retry_strategy(RetryStrategy::None);
        let patience = Builder::new().timeout_config(SYNCHRONOUS.timeouts());
        let sent = call.customize().config_override(patience).send().await;
        sent.map_err(|error| failed(&explain(error)))
    }
}

#[derive(Debug, Default)]
struct Outcome {
    members: Vec<Member>,
    trouble: Option<Trouble>,
}

impl Outcome {
    fn told(self, order: &Order) -> Launched {
        let count = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        match self.trouble {
            Some(trouble) if count == 0 => Launched::Refused(trouble),
            Some(trouble) if count < order.count.get() => Launched::Partly { count, trouble },
            // Another zone had what the first one lacked.
            _ => Launched::Accepted {
                count,
                members: self.members,
            },
        }
    }
}

/// What one call launched, and why not the rest.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    members: Vec<Member>,
    trouble: Option<Trouble>,
}

impl Answer {
    fn of(output: &LaunchInstancesOutput, asked: u32) -> Answer {
        let launched = output.instances().iter();
        let ids = launched.flat_map(|collection| collection.instance_ids());
        let members: Vec<_> = ids.map(Member::new).collect();
        let trouble = (members.len() < asked as usize).then(|| shortage(output));
        Answer { members, trouble }
    }
}

/// The worst of what the answer complains of: where a person must help, no other zone does.
fn shortage(output: &LaunchInstancesOutput) -> Trouble {
    let troubles = output.errors().iter().map(|error| {
        let code = error.error_code().unwrap_or_default();
        let text = error.error_message().unwrap_or_default();
        let scope = [
            error.availability_zone().or(error.availability_zone_id()),
            error.instance_type(),
            error.market_type(),
        ];
        let scope: Vec<_> = scope.into_iter().flatten().collect();
        let scope = scope.join(" ").to_ascii_lowercase();
        Trouble {
            kind: classify(code, text),
            message: format!("{scope}: {code}: {text}"),
            scope,
        }
    });
    let worst = troubles.max_by_key(|trouble| match trouble.kind {
        TroubleKind::Denied => 3,
        TroubleKind::Quota => 2,
        TroubleKind::Capacity => 0,
        _ => 1,
    });
    worst.unwrap_or_else(|| Trouble {
        kind: TroubleKind::Other,
        scope: String::new(),
        message: "fewer instances than asked for, and no word why".to_owned(),
    })
}

fn refused(kind: TroubleKind, message: &str) -> Launched {
    Launched::Refused(Trouble {
        kind,
        scope: String::new(),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_autoscaling::types::{InstanceCollection, LaunchInstancesError};

    fn launched(ids: &[&str]) -> InstanceCollection {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        InstanceCollection::builder()
            .set_instance_ids(Some(ids))
            .build()
    }

    fn error(code: &str, market: &str) -> LaunchInstancesError {
        LaunchInstancesError::builder()
            .availability_zone("us-east-1a")
            .instance_type("c5.large")
            .market_type(market)
            .error_code(code)
            .error_message("no")
            .build()
    }

    #[test]
    fn a_partial_answer_tells_who_came_and_why_the_others_did_not() {
        let output = LaunchInstancesOutput::builder()
            .instances(launched(&["i-1", "i-2"]))
            .instances(launched(&["i-3"]))
            .errors(error("InsufficientInstanceCapacity", "Spot"))
            .build();
        let answer = Answer::of(&output, 5);
        assert_eq!(answer.members.len(), 3);
        let trouble = answer.trouble.expect("two are missing");
        assert_eq!(trouble.kind, TroubleKind::Capacity);
        assert_eq!(trouble.scope, "us-east-1a c5.large spot");
        // Errors on the way to a full answer are nobody's business.
        assert_eq!(Answer::of(&output, 3).trouble, None);
    }

    #[test]
    fn what_no_other_zone_mends_comes_first() {
        let output = LaunchInstancesOutput::builder()
            .errors(error("InsufficientInstanceCapacity", "Spot"))
            .errors(error("VcpuLimitExceeded", "OnDemand"))
            .build();
        assert_eq!(shortage(&output).kind, TroubleKind::Quota);
        let silent = LaunchInstancesOutput::builder().build();
        assert_eq!(shortage(&silent).kind, TroubleKind::Other);
    }
}
