//! Asking AWS about the instance, its group, and what its role may do to them. Everything at the
//! same time, one try each.

mod probe;
pub(super) mod told;

use std::future::Future;

use aws_sdk_autoscaling::types::{AutoScalingGroup, RetentionAction};
use aws_sdk_ec2::operation::describe_instance_attribute::DescribeInstanceAttributeOutput;
use aws_sdk_ec2::types::InstanceAttributeName;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::Subject;
use super::facts::{Allowed, Answers, Asked, Aws, Fact, Group, Member, Shutdown, Tags, Unknown};
use crate::aws::{ApiError, explain};
use crate::iam::{Action, Features};
use crate::instance::notices::Hook;
use crate::instance::{
    Call, Clients, Cloud, GroupName, HookNames, Identity, InstanceId, Membership, Reply,
};
use told::{Miss, Told, allowed, fact};

/// What is known then.
pub(super) async fn ask(subject: &Subject<'_>, answers: &Answers, until: Instant) -> Aws {
    // Without names: a list of hooks that may not be read must not be taken for one.
    let Some(clients) = Clients::new(&answers.region, HookNames::default()) else {
        return Aws::NotBuilt;
    };
    let asker = Asker {
        clients: &clients,
        until,
        answers,
    };
    let own = async {
        tokio::join!(
            asker.may_terminate(),
            asker.shutdown(),
            asker.termination_protected(),
            asker.hop_limit(),
        )
    };
    let (own, (membership, about)) = tokio::join!(own, asker.membership(subject.features));
    let (may_terminate, shutdown, termination_protected, hop_limit) = own;
    let features = Features {
        grouped: membership != Ok(None),
        ..subject.features
    };
    let mut permissions = about.permissions;
    permissions.push((Action::TerminateInstances, may_terminate));
    permissions.retain(|(action, _)| features.need(*action));
    permissions.sort_by_key(|(action, _)| *action);
    Aws::Asked(Box::new(Asked {
        membership,
        group: about.group,
        hooks: about.hooks,
        shutdown,
        termination_protected,
        hop_limit,
        permissions,
    }))
}

/// What depends on which group it is.
struct About {
    group: Fact<Group>,
    hooks: Fact<Vec<Hook>>,
    permissions: Vec<(Action, Allowed)>,
}

impl About {
    fn unknown(features: Features) -> About {
        let why = "the group is not known";
        let needs = features.needs().into_iter();
        let unknown = |action| (action, Allowed::Unknown(why.to_owned()));
        About {
            group: Err(Unknown::because(why)),
            hooks: Err(Unknown::because(why)),
            permissions: needs
                .map(|need| need.action)
                .filter(|action| *action == HOOKS || PROBED.contains(action))
                .map(unknown)
                .collect(),
        }
    }
}

const LIST: Action = Action::DescribeAutoScalingInstances;
const HOOKS: Action = Action::DescribeLifecycleHooks;
/// They change a group, and are tried for an instance that is not in it.
const PROBED: [Action; 5] = [
    Action::DetachInstances,
    Action::TerminateInstanceInAutoScalingGroup,
    Action::RecordLifecycleActionHeartbeat,
    Action::CompleteLifecycleAction,
    Action::SetInstanceProtection,
];

struct Asker<'a> {
    clients: &'a Clients,
    until: Instant,
    answers: &'a Answers,
}

impl Asker<'_> {
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, ApiError>>) -> Told<T> {
        match timeout_at(self.until, call).await {
            Ok(told) => told.map_err(Miss::Api),
            Err(_) => Err(Miss::Late),
        }
    }

    fn id(&self) -> &str {
        &self.answers.instance
    }

    /// Its group, by its tags or else by Auto Scaling, and all about that.
    async fn membership(&self, features: Features) -> (Fact<Option<String>>, About) {
        let id = InstanceId::new(self.id());
        let list = self.in_time(self.clients.group_of(&id));
        let (membership, may_list, mut about) = match &self.answers.tags {
            Ok(Tags::NoGroup) => return (Ok(None), About::unknown(features)),
            Ok(Tags::Group(group)) => {
                let (listed, about) = tokio::join!(list, self.about(group, features));
                (Ok(Some(group.clone())), allowed(&listed), about)
            }
            Ok(Tags::Hidden) | Err(_) => {
                let listed = list.await;
                let may_list = allowed(&listed);
                let group = fact(LIST, listed).map(|it| it.map(|it| it.as_str().to_owned()));
                let about = match &group {
                    Ok(Some(group)) => self.about(group, features).await,
                    _ => About::unknown(features),
                };
                (group, may_list, about)
            }
        };
        about.permissions.push((LIST, may_list));
        (membership, about)
    }

    async fn about(&self, group: &str, features: Features) -> About {
        let needed = PROBED.into_iter().filter(|action| features.need(*action));
        let probes = join_all(needed.map(|action| self.probe(action, group)));
        let (settings, hooks, mut permissions) =
            tokio::join!(self.group(group), self.hooks(group), probes);
        permissions.push((HOOKS, allowed(&hooks)));
        About {
            group: settings,
            hooks: fact(HOOKS, hooks),
            permissions,
        }
    }

    async fn shutdown(&self) -> Fact<Shutdown> {
        let attribute = InstanceAttributeName::InstanceInitiatedShutdownBehavior;
        let told = self.attribute(attribute).await?;
        let value = told.instance_initiated_shutdown_behavior;
        match value.and_then(|value| value.value).as_deref() {
            Some("stop") => Ok(Shutdown::Stop),
            Some("terminate") => Ok(Shutdown::Terminate),
            other => Err(Unknown::because(format!("EC2 says {other:?}"))),
        }
    }

    async fn termination_protected(&self) -> Fact<bool> {
        let attribute = InstanceAttributeName::DisableApiTermination;
        let told = self.attribute(attribute).await?;
        let value = told.disable_api_termination.and_then(|value| value.value);
        value.ok_or_else(|| Unknown::because("EC2 does not say"))
    }

    async fn attribute(
        &self,
        attribute: InstanceAttributeName,
    ) -> Fact<DescribeInstanceAttributeOutput> {
        let told = self.in_time(async {
            let (_, ec2) = self.clients.sdk().await;
            let call = ec2.describe_instance_attribute().instance_id(self.id());
            call.attribute(attribute).send().await.map_err(explain)
        });
        fact(Action::DescribeInstanceAttribute, told.await)
    }

    async fn hop_limit(&self) -> Fact<u32> {
        let told = self.in_time(async {
            let (_, ec2) = self.clients.sdk().await;
            let call = ec2.describe_instances().instance_ids(self.id());
            call.send().await.map_err(explain)
        });
        let told = fact(Action::DescribeInstances, told.await)?;
        let mut instances = told.reservations().iter().flat_map(|one| one.instances());
        let options = instances
            .next()
            .and_then(|instance| instance.metadata_options());
        let limit = options.and_then(|options| options.http_put_response_hop_limit());
        let limit = limit.and_then(|limit| limit.try_into().ok());
        limit.ok_or_else(|| Unknown::because("EC2 does not say"))
    }

    async fn hooks(&self, group: &str) -> Told<Vec<Hook>> {
        let identity = Identity {
            instance_id: InstanceId::new(self.id()),
            region: self.answers.region.clone(),
            availability_zone: None,
            membership: Membership::In(GroupName::new(group)),
        };
        match self
            .in_time(self.clients.send(&identity, Call::Hooks))
            .await?
        {
            Reply::Hooks(hooks) => Ok(hooks),
            _ => Ok(Vec::new()),
        }
    }

    async fn group(&self, name: &str) -> Fact<Group> {
        let told = self.in_time(async {
            let (autoscaling, _) = self.clients.sdk().await;
            let call = autoscaling.describe_auto_scaling_groups();
            let call = call.auto_scaling_group_names(name);
            call.send().await.map_err(explain)
        });
        let told = fact(Action::DescribeAutoScalingGroups, told.await)?;
        let group = told.auto_scaling_groups().first();
        let group = group.ok_or_else(|| Unknown::because("there is no such group"))?;
        Ok(group_settings(group, self.id()))
    }
}

/// `id`: the instance whose own place in it matters.
pub(super) fn group_settings(group: &AutoScalingGroup, id: &str) -> Group {
    let mut instances = group.instances().iter();
    let member = instances.find(|one| one.instance_id() == Some(id));
    let suspended = group.suspended_processes().iter();
    let policy = group.instance_lifecycle_policy();
    let triggers = policy.and_then(|policy| policy.retention_triggers());
    let abandoned = triggers.and_then(|triggers| triggers.terminate_hook_abandon());
    Group {
        min: group.min_size().unwrap_or_default(),
        desired: group.desired_capacity().unwrap_or_default(),
        max: group.max_size().unwrap_or_default(),
        zones: group.availability_zones().len(),
        suspended: suspended
            .filter_map(|one| one.process_name().map(str::to_owned))
            .collect(),
        protects_new: group
            .new_instances_protected_from_scale_in()
            .unwrap_or_default(),
        rebalances: group.capacity_rebalance().unwrap_or_default(),
        retains: abandoned == Some(&RetentionAction::Retain),
        has_warm_pool: group.warm_pool_configuration().is_some(),
        member: member.map(|member| Member {
            state: member
                .lifecycle_state()
                .map(|state| state.as_str().to_owned())
                .unwrap_or_default(),
            is_protected: member.protected_from_scale_in().unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_autoscaling::types::{
        Instance, InstanceLifecyclePolicy, LifecycleState, RetentionTriggers, SuspendedProcess,
    };

    #[test]
    fn a_groups_settings_are_read() {
        let process = SuspendedProcess::builder()
            .process_name("AZRebalance")
            .build();
        let keep = RetentionAction::Retain;
        let triggers = RetentionTriggers::builder()
            .terminate_hook_abandon(keep)
            .build();
        let policy = InstanceLifecyclePolicy::builder()
            .retention_triggers(triggers)
            .build();
        let member = Instance::builder()
            .instance_id("i-2")
            .lifecycle_state(LifecycleState::PendingWait)
            .protected_from_scale_in(true)
            .build();
        let group = AutoScalingGroup::builder()
            .min_size(1)
            .desired_capacity(2)
            .max_size(3)
            .availability_zones("a")
            .availability_zones("b")
            .suspended_processes(process)
            .new_instances_protected_from_scale_in(true)
            .capacity_rebalance(true)
            .instance_lifecycle_policy(policy)
            .instances(Instance::builder().instance_id("i-1").build())
            .instances(member)
            .build();
        let read = group_settings(&group, "i-2");
        assert_eq!((read.min, read.desired, read.max, read.zones), (1, 2, 3, 2));
        assert_eq!(read.suspended, ["AZRebalance"]);
        assert!(read.protects_new && read.rebalances && read.retains && !read.has_warm_pool);
        let member = read.member.expect("it is in the group");
        assert_eq!(
            (member.state.as_str(), member.is_protected),
            ("Pending:Wait", true)
        );
        assert!(group_settings(&group, "i-3").member.is_none());
        let plain = group_settings(&AutoScalingGroup::builder().build(), "i-1");
        assert!(!plain.protects_new && !plain.rebalances && !plain.retains);
    }
}
