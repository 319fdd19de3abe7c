//! Trying what the role may do, without doing it.
//!
//! EC2 has a dry run. Auto Scaling has none, so each of its calls is sent for an instance that
//! cannot exist, in the machine's own group: who may not make it is told so, who may is told that
//! there is no such instance. IAM evaluates these calls on the group, which is the right one.

use super::Asker;
use super::told::{allowed, dry_run};
use crate::aws::{ApiError, explain};
use crate::doctor::facts::Allowed;
use crate::iam::Action;

/// Instance ids are random; this one is of the right form, and nobody's. If it were somebody's, it
/// would still be in no group of this account's.
const NOBODY: &str = "i-00000000000000000";
/// No lifecycle action waits for it.
const NO_HOOK: &str = "clockout-doctor-asks";

impl Asker<'_> {
    /// EC2 answers a dry run with an error in every case, and never does it. It is also the only
    /// proof of a policy that says "itself", which no simulator resolves.
    pub(super) async fn may_terminate(&self) -> Allowed {
        let told = self.in_time(async {
            let (_, ec2) = self.clients.sdk().await;
            let call = ec2
                .terminate_instances()
                .instance_ids(self.id())
                .dry_run(true);
            call.send().await.map_err(explain)
        });
        dry_run(told.await)
    }

    /// Makes a call that cannot do anything, for the answer to whether it is allowed. Why it can
    /// not, whatever is allowed:
    /// - the instance is nobody's, so there is nothing to detach, terminate or protect, and no
    ///   lifecycle action of it to keep or complete;
    /// - no capacity is decremented;
    /// - the hook is nobody's either.
    pub(super) async fn probe(&self, action: Action, group: &str) -> (Action, Allowed) {
        let told = self.in_time(self.send_for_nobody(action, group)).await;
        (action, allowed(&told))
    }

    async fn send_for_nobody(&self, action: Action, group: &str) -> Result<(), ApiError> {
        let (autoscaling, _) = self.clients.sdk().await;
        match action {
            Action::DetachInstances => {
                let call = autoscaling
                    .detach_instances()
                    .auto_scaling_group_name(group);
                let call = call
                    .instance_ids(NOBODY)
                    .should_decrement_desired_capacity(false);
                call.send().await.map_err(explain)?;
            }
            // With the group's name, which an instance id alone would not tell.
            Action::TerminateInstanceInAutoScalingGroup => {
                let call = autoscaling.terminate_instance_in_auto_scaling_group();
                let call = call.auto_scaling_group_name(group).instance_ids(NOBODY);
                let call = call.should_decrement_desired_capacity(false);
                call.send().await.map_err(explain)?;
            }
            Action::RecordLifecycleActionHeartbeat => {
                let call = autoscaling.record_lifecycle_action_heartbeat();
                let call = call.auto_scaling_group_name(group).instance_id(NOBODY);
                call.lifecycle_hook_name(NO_HOOK)
                    .send()
                    .await
                    .map_err(explain)?;
            }
            Action::CompleteLifecycleAction => {
                let call = autoscaling.complete_lifecycle_action();
                let call = call.auto_scaling_group_name(group).instance_id(NOBODY);
                let call = call.lifecycle_hook_name(NO_HOOK);
                call.lifecycle_action_result("CONTINUE")
                    .send()
                    .await
                    .map_err(explain)?;
            }
            Action::SetInstanceProtection => {
                let call = autoscaling.set_instance_protection();
                let call = call.auto_scaling_group_name(group).instance_ids(NOBODY);
                call.protected_from_scale_in(false)
                    .send()
                    .await
                    .map_err(explain)?;
            }
            // Reads are done, and EC2 has a dry run.
            Action::TerminateInstances
            | Action::DescribeAutoScalingInstances
            | Action::DescribeLifecycleHooks
            | Action::DescribeAutoScalingGroups
            | Action::DescribeInstances
            | Action::DescribeInstanceAttribute => {}
        }
        Ok(())
    }
}
