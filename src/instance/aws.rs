//! The calls of `api.rs`, sent with the AWS SDK. One try each, always with a time limit.

mod hooks;

use std::time::Duration;

use aws_sdk_autoscaling::types::AutoScalingInstanceDetails;
use tokio::sync::OnceCell;
use tracing::debug;

use super::api::{Call, Cloud, Reply, Seen};
use super::identity::{GroupName, Identity, InstanceId, Membership};
use super::notices::{Hook, HookNames};
use crate::aws::{ApiError, Patience, explain, settings};

/// A machine that ends has no time to wait.
const PATIENCE: Patience = Patience {
    attempt: Duration::from_secs(5),
    operation: Duration::from_secs(10),
};

/// Clients of one region, made when they are first used.
#[derive(Debug)]
pub struct Clients {
    region: String,
    names: HookNames,
    made: OnceCell<Made>,
    /// Where the metadata service did not tell it.
    group: OnceCell<GroupName>,
    /// The group's, for a life: who changes them meanwhile is not noticed.
    hooks: OnceCell<Vec<Hook>>,
}

#[derive(Debug)]
struct Made {
    autoscaling: aws_sdk_autoscaling::Client,
    ec2: aws_sdk_ec2::Client,
}

impl Clients {
    /// Does nothing yet. `names` are the lifecycle hooks that the configuration says are ours.
    /// Always `Some`, unlike in builds without the feature `aws`.
    pub fn new(region: &str, names: HookNames) -> Option<Clients> {
        Some(Clients {
            region: region.to_owned(),
            names,
            made: OnceCell::new(),
            group: OnceCell::new(),
            hooks: OnceCell::new(),
        })
    }

    /// Takes credentials, trust store, name lookups and TLS out of the way of retirement, with
    /// one read from each service. Whether they are allowed does not matter.
    pub async fn warm(&self, instance: &Identity) {
        let made = self.made().await;
        let id = instance.instance_id.as_str();
        let autoscaling = made
            .autoscaling
            .describe_auto_scaling_instances()
            .instance_ids(id);
        let ec2 = made.ec2.describe_instance_status().instance_ids(id);
        let (autoscaling, ec2) = tokio::join!(autoscaling.send(), ec2.send());
        if let Err(error) = autoscaling {
            debug!(error = %explain(error), "aws.warm autoscaling");
        }
        if let Err(error) = ec2 {
            debug!(error = %explain(error), "aws.warm ec2");
        }
    }

    /// The instance's group; `None` when it is in none.
    pub async fn group_of(&self, instance: &InstanceId) -> Result<Option<GroupName>, ApiError> {
        let details = self.describe(instance).await?;
        let group = details.and_then(|details| details.auto_scaling_group_name);
        Ok(group.map(GroupName::new))
    }

    /// As [`Self::group_of`], without asking where that is known.
    async fn group(&self, instance: &Identity) -> Result<Option<GroupName>, ApiError> {
        match (&instance.membership, self.group.get()) {
            (Membership::In(group), _) | (Membership::Unknown, Some(group)) => {
                Ok(Some(group.clone()))
            }
            (Membership::None, _) => Ok(None),
            (Membership::Unknown, None) => {
                let group = self.group_of(&instance.instance_id).await?;
                if let Some(group) = &group {
                    // Another task may have been quicker; it heard the same.
                    let _ = self.group.set(group.clone());
                }
                Ok(group)
            }
        }
    }

    /// What Auto Scaling knows of the instance; `None` when it is in no group.
    async fn describe(
        &self,
        instance: &InstanceId,
    ) -> Result<Option<AutoScalingInstanceDetails>, ApiError> {
        let call = self
            .made()
            .await
            .autoscaling
            .describe_auto_scaling_instances();
        let output = call.instance_ids(instance.as_str()).send().await;
        let listed = output.map_err(explain)?.auto_scaling_instances;
        Ok(listed.unwrap_or_default().into_iter().next())
    }

    /// The instance's lifecycle state, as Auto Scaling writes it.
    async fn state(&self, instance: &Identity) -> Result<Option<String>, ApiError> {
        let details = self.describe(&instance.instance_id).await?;
        Ok(details.and_then(|details| details.lifecycle_state))
    }

    async fn protect(&self, instance: &Identity, protect: bool) -> Result<Reply, ApiError> {
        let Some(group) = self.group(instance).await? else {
            return Ok(Reply::Nothing);
        };
        let call = self.made().await.autoscaling.set_instance_protection();
        let call = call.auto_scaling_group_name(group.as_str());
        let call = call.instance_ids(instance.instance_id.as_str());
        let call = call.protected_from_scale_in(protect);
        call.send().await.map_err(explain)?;
        Ok(Reply::Done)
    }

    /// The SDK's clients, for what is no [`Call`].
    pub async fn sdk(&self) -> (&aws_sdk_autoscaling::Client, &aws_sdk_ec2::Client) {
        let made = self.made().await;
        (&made.autoscaling, &made.ec2)
    }

    async fn made(&self) -> &Made {
        self.made.get_or_init(|| make(self.region.clone())).await
    }
}

async fn make(region: String) -> Made {
    // The region is the machine's own.
    let config = settings(Some(region), PATIENCE).await;
    Made {
        autoscaling: aws_sdk_autoscaling::Client::new(&config),
        ec2: aws_sdk_ec2::Client::new(&config),
    }
}

impl Cloud for Clients {
    async fn send(&self, instance: &Identity, call: Call) -> Result<Reply, ApiError> {
        let made = self.made().await;
        let id = instance.instance_id.as_str();
        match call {
            Call::Detach { decrement } => {
                let call = made.autoscaling.detach_instances().instance_ids(id);
                let call = call.set_auto_scaling_group_name(
                    instance.group().map(|group| group.as_str().to_owned()),
                );
                let call = call.should_decrement_desired_capacity(decrement);
                call.send().await.map_err(explain)?;
            }
            Call::TerminateInGroup { decrement } => {
                let call = made.autoscaling.terminate_instance_in_auto_scaling_group();
                let call = call
                    .instance_id(id)
                    .should_decrement_desired_capacity(decrement);
                call.send().await.map_err(explain)?;
            }
            Call::Look => {
                let state = self.state(instance).await?;
                return Ok(Reply::Seen(Seen::from_state(state.as_deref())));
            }
            Call::State => return Ok(Reply::State(self.state(instance).await?)),
            Call::Hooks => return Ok(Reply::Hooks(self.hooks(instance).await?)),
            Call::Heartbeat(transition) => return self.heartbeat(instance, transition).await,
            Call::Complete(transition, result) => {
                return self.complete(instance, transition, result).await;
            }
            Call::Protect(protect) => return self.protect(instance, protect).await,
            Call::Terminate => {
                let call = made.ec2.terminate_instances().instance_ids(id);
                call.send().await.map_err(explain)?;
            }
        }
        Ok(Reply::Done)
    }
}
