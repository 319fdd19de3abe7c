//! Lifecycle hooks: which the group has, and what is told to those of ours.

use std::time::Duration;

use aws_sdk_autoscaling::types::LifecycleHook;
use tracing::warn;

use super::Clients;
use crate::aws::{ApiError, explain};
use crate::instance::api::{ActionResult, Reply};
use crate::instance::identity::{GroupName, Identity};
use crate::instance::notices::{Hook, HookNames, Transition, ours};
use crate::instance::verdict::{Verdict, all_told, classify};

/// What a hook has that was made without saying so (`PutLifecycleHook`).
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(3600);
/// The shortest that AWS accepts.
const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(30);
/// No action waits longer, whatever its heartbeats.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

impl Clients {
    /// Every hook of the instance's group, for both transitions.
    pub(super) async fn hooks(&self, instance: &Identity) -> Result<Vec<Hook>, ApiError> {
        let hooks = self.hooks.get_or_try_init(|| async {
            let Some(group) = self.group(instance).await? else {
                return Ok(Vec::new());
            };
            match self.describe_hooks(&group).await {
                Err(error) if classify(&error) == Verdict::Denied => {
                    let assumed = assumed(&self.names);
                    if assumed.is_empty() {
                        return Err(error);
                    }
                    warn!(
                        %error,
                        "hooks.assumed: their timeouts are not known, allow autoscaling:DescribeLifecycleHooks"
                    );
                    Ok(assumed)
                }
                described => described,
            }
        });
        hooks.await.cloned()
    }

    async fn describe_hooks(&self, group: &GroupName) -> Result<Vec<Hook>, ApiError> {
        let call = self.made().await.autoscaling.describe_lifecycle_hooks();
        let output = call.auto_scaling_group_name(group.as_str()).send().await;
        let hooks = output.map_err(explain)?.lifecycle_hooks.unwrap_or_default();
        Ok(hooks.into_iter().filter_map(described).collect())
    }

    /// Restarts the timeout of what waits for us.
    pub(super) async fn heartbeat(
        &self,
        instance: &Identity,
        transition: Transition,
    ) -> Result<Reply, ApiError> {
        let (group, names) = self.ours(instance, transition).await?;
        let mut answers = Vec::new();
        // All of them, also after a failure: each has its own timeout.
        for name in names {
            let autoscaling = &self.made().await.autoscaling;
            let call = autoscaling.record_lifecycle_action_heartbeat();
            let call = call.set_auto_scaling_group_name(group.clone());
            let call = call.instance_id(instance.instance_id.as_str());
            let answer = call.lifecycle_hook_name(name).send().await;
            answers.push(answer.map(drop).map_err(explain));
        }
        all_told(answers)
    }

    /// Ends the wait for us.
    pub(super) async fn complete(
        &self,
        instance: &Identity,
        transition: Transition,
        result: ActionResult,
    ) -> Result<Reply, ApiError> {
        let (group, names) = self.ours(instance, transition).await?;
        let mut hooks = self.hooks(instance).await?.into_iter();
        if names.is_empty() && hooks.any(|hook| hook.transition == transition) {
            return Ok(Reply::NotOurs);
        }
        let mut answers = Vec::new();
        for name in names {
            let call = self.made().await.autoscaling.complete_lifecycle_action();
            let call = call.set_auto_scaling_group_name(group.clone());
            let call = call.instance_id(instance.instance_id.as_str());
            let call = call.lifecycle_action_result(result.as_str());
            let answer = call.lifecycle_hook_name(name).send().await;
            answers.push(answer.map(drop).map_err(explain));
        }
        all_told(answers)
    }

    /// The group's name, and those of its hooks that are ours.
    async fn ours(
        &self,
        instance: &Identity,
        transition: Transition,
    ) -> Result<(Option<String>, Vec<String>), ApiError> {
        let hooks = self.hooks(instance).await?;
        let names = ours(&hooks, transition, &self.names).into_iter();
        let names = names.map(|hook| hook.name.clone()).collect();
        let group = self.group(instance).await?;
        Ok((group.map(|group| group.as_str().to_owned()), names))
    }
}

/// `None` for a transition that nobody knew when this was written.
fn described(hook: LifecycleHook) -> Option<Hook> {
    let transition = match hook.lifecycle_transition()? {
        "autoscaling:EC2_INSTANCE_LAUNCHING" => Transition::Launching,
        "autoscaling:EC2_INSTANCE_TERMINATING" => Transition::Terminating,
        _ => return None,
    };
    let seconds = |seconds: i32| Some(Duration::from_secs(u64::try_from(seconds).ok()?));
    let heartbeat = hook.heartbeat_timeout().and_then(seconds);
    let heartbeat_timeout = heartbeat.unwrap_or(DEFAULT_HEARTBEAT);
    let longest = LONGEST.min(heartbeat_timeout.saturating_mul(100));
    Some(Hook {
        transition,
        heartbeat_timeout,
        global_timeout: hook.global_timeout().and_then(seconds).unwrap_or(longest),
        has_target: hook
            .notification_target_arn()
            .is_some_and(|arn| !arn.is_empty()),
        abandons: hook.default_result() != Some("CONTINUE"),
        name: hook.lifecycle_hook_name?,
    })
}

/// The configured hooks, where nobody may look: with the shortest timeouts there are.
fn assumed(names: &HookNames) -> Vec<Hook> {
    let transitions = [Transition::Launching, Transition::Terminating].into_iter();
    let hook = |transition| {
        Some(Hook {
            name: names.of(transition)?.to_owned(),
            transition,
            heartbeat_timeout: SHORTEST_HEARTBEAT,
            global_timeout: SHORTEST_HEARTBEAT.saturating_mul(100),
            has_target: false,
            abandons: true,
        })
    };
    transitions.filter_map(hook).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_read_as_auto_scaling_describes_it() {
        let hook = LifecycleHook::builder()
            .lifecycle_hook_name("drain")
            .lifecycle_transition("autoscaling:EC2_INSTANCE_TERMINATING")
            .heartbeat_timeout(300)
            .global_timeout(30_000)
            .default_result("CONTINUE")
            .notification_target_arn("arn:aws:sns:eu-west-1:1:topic")
            .build();
        let expected = Hook {
            name: "drain".to_owned(),
            transition: Transition::Terminating,
            heartbeat_timeout: Duration::from_secs(300),
            global_timeout: Duration::from_secs(30_000),
            has_target: true,
            abandons: false,
        };
        assert_eq!(described(hook), Some(expected));
    }

    #[test]
    fn what_a_hook_does_not_say_is_what_aws_assumes() {
        let hook = LifecycleHook::builder()
            .lifecycle_hook_name("boot")
            .lifecycle_transition("autoscaling:EC2_INSTANCE_LAUNCHING")
            .build();
        let expected = Hook {
            name: "boot".to_owned(),
            transition: Transition::Launching,
            heartbeat_timeout: Duration::from_secs(3600),
            global_timeout: Duration::from_secs(172_800),
            has_target: false,
            abandons: true,
        };
        assert_eq!(described(hook), Some(expected));
        let strange = LifecycleHook::builder()
            .lifecycle_hook_name("new")
            .lifecycle_transition("autoscaling:EC2_INSTANCE_HIBERNATING")
            .build();
        assert_eq!(described(strange), None);
    }

    #[test]
    fn a_configured_hook_needs_no_right_to_look() {
        let names = HookNames {
            launch: None,
            terminate: Some("drain".to_owned()),
        };
        let hooks = assumed(&names);
        let ours = ours(&hooks, Transition::Terminating, &names);
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].heartbeat_timeout, Duration::from_secs(30));
    }
}
