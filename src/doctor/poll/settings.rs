//! Asking Auto Scaling about the groups' settings, and whether they may be made larger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::types::{AutoScalingGroup, RetryStrategy, ScheduledUpdateGroupAction};
use futures_util::StreamExt;
use futures_util::stream;

use super::{Seen, Settings};
use crate::aws::{ApiError, Patience, explain, settings};
use crate::doctor::aws::group_settings;
use crate::doctor::aws::told::{Miss, Told, allowed};
use crate::doctor::facts::{Allowed, Fact, Unknown};
use crate::poll::{Looked, Raise};

const PATIENCE: Patience = Patience {
    attempt: Duration::from_secs(10),
    operation: Duration::from_secs(15),
};
/// "DescribeAutoScalingGroups" takes as many names.
const PAGE: usize = 100;
const AT_ONCE: usize = 4;
/// A zone that no group has.
const NOWHERE: &str = "clockout-doctor-asks";
/// Maxima beyond this are nobody's, and the probe of `SetDesiredCapacity` is out of their reach.
const NOBODYS_MAX: i32 = 1_000_000;

/// What is known of each then.
pub(super) async fn ask(looked: Vec<Looked>) -> Vec<Seen> {
    let mut regions: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
    for (name, how) in looked.iter().filter_map(|one| one.asg.as_ref()) {
        regions
            .entry(how.region.clone())
            .or_default()
            .insert(name.clone());
    }
    let mut known = BTreeMap::new();
    for (region, names) in regions {
        let client = Client::new(&settings(region.clone(), PATIENCE).await);
        let groups = region_settings(&client, names).await;
        known.insert(region, (client, groups));
    }
    let mut tried = BTreeSet::new();
    let mut all = Vec::new();
    for looked in looked {
        let Some((name, how)) = &looked.asg else {
            all.push(Seen {
                looked,
                settings: None,
            });
            continue;
        };
        let region = known.get(&how.region);
        let found = region.and_then(|(client, groups)| Some((client, groups.get(name)?)));
        let settings = match found {
            None => Err(Unknown::because("the group is not told of")),
            Some((_, Err(unknown))) => Err(unknown.clone()),
            Some((client, Ok(settings))) => {
                let mut settings = settings.clone();
                // Named groups are allowed one by one; what a tag allows, it allows for all.
                let first = tried.insert((how.region.clone(), how.raise));
                if !looked.discovered || first {
                    settings.may_raise = Some(may_raise(client, name, how.raise, &settings).await);
                }
                Ok(settings)
            }
        };
        all.push(Seen {
            looked,
            settings: Some(settings),
        });
    }
    all
}

async fn region_settings(
    client: &Client,
    names: BTreeSet<String>,
) -> BTreeMap<String, Fact<Settings>> {
    let names: Vec<_> = names.into_iter().collect();
    let lowering = lowering(client).await;
    let pages = stream::iter(names.chunks(PAGE)).map(|names| async move {
        let call = client
            .describe_auto_scaling_groups()
            .max_records(PAGE as i32);
        let call = call.set_auto_scaling_group_names(Some(names.to_vec()));
        (names, call.send().await.map_err(explain))
    });
    let mut pages = pages.buffer_unordered(AT_ONCE);
    let mut known = BTreeMap::new();
    while let Some((names, told)) = pages.next().await {
        let groups = match told {
            Ok(output) => output.auto_scaling_groups.unwrap_or_default(),
            Err(error) => {
                let unknown = names
                    .iter()
                    .map(|name| (name.clone(), Err(because(&error))));
                known.extend(unknown);
                continue;
            }
        };
        for group in groups {
            let Some(name) = group.auto_scaling_group_name() else {
                continue;
            };
            let mine = match &lowering {
                Ok(all) => Ok(all.get(name).cloned().unwrap_or_default()),
                Err(error) => Err(because(error)),
            };
            known.insert(name.to_owned(), Ok(read(&group, mine)));
        }
    }
    known
}

fn because(error: &ApiError) -> Unknown {
    Unknown::because(error.to_string())
}

fn read(group: &AutoScalingGroup, lowering: Fact<Vec<String>>) -> Settings {
    let mixed = group.mixed_instances_policy();
    let distribution = mixed.and_then(|policy| policy.instances_distribution());
    let base = distribution.and_then(|it| it.on_demand_base_capacity());
    // On-demand alone, where nothing is said.
    let above = distribution.and_then(|it| it.on_demand_percentage_above_base_capacity());
    let above = above.unwrap_or(100);
    Settings {
        group: group_settings(group, ""),
        has_launch_template: group.launch_template().is_some() || mixed.is_some(),
        is_mixed: mixed.is_some() && above < 100 && (above > 0 || base.unwrap_or(0) > 0),
        lowering,
        may_raise: None,
    }
}

/// The scheduled actions of the region that set a desired capacity or a maximum, by group.
async fn lowering(client: &Client) -> Result<BTreeMap<String, Vec<String>>, ApiError> {
    let mut pages = client
        .describe_scheduled_actions()
        .max_records(PAGE as i32)
        .into_paginator()
        .send();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(explain)?;
        for action in page.scheduled_update_group_actions() {
            if let (Some(group), true) = (action.auto_scaling_group_name(), can_lower(action)) {
                let name = action.scheduled_action_name().unwrap_or("unnamed");
                all.entry(group.to_owned())
                    .or_default()
                    .push(name.to_owned());
            }
        }
    }
    Ok(all)
}

/// A minimum alone only ever adds.
fn can_lower(action: &ScheduledUpdateGroupAction) -> bool {
    action.desired_capacity().is_some() || action.max_size().is_some()
}

/// Auto Scaling has no dry run: a call that cannot do anything, for the answer to whether it is
/// allowed. Why it cannot, whatever is allowed: the desired capacity is beyond any maximum, and the
/// zone is no group's.
async fn may_raise(client: &Client, name: &str, raise: Raise, settings: &Settings) -> Allowed {
    let told: Told<()> = match raise {
        Raise::SetDesiredCapacity if settings.group.max >= NOBODYS_MAX => {
            return Allowed::Unknown("its maximum is out of all bounds".to_owned());
        }
        Raise::SetDesiredCapacity => {
            let call = client.set_desired_capacity().auto_scaling_group_name(name);
            let call = call.desired_capacity(i32::MAX).honor_cooldown(false);
            call.send()
                .await
                .map(drop)
                .map_err(explain)
                .map_err(Miss::Api)
        }
        Raise::LaunchInstances => {
            let call = client.launch_instances().auto_scaling_group_name(name);
            let call = call.requested_capacity(1).client_token(NOWHERE);
            let call = call.availability_zones(NOWHERE);
            let call = call.retry_strategy(RetryStrategy::None);
            call.send()
                .await
                .map(drop)
                .map_err(explain)
                .map_err(Miss::Api)
        }
    };
    allowed(&told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_autoscaling::types::{
        InstancesDistribution, LaunchTemplateSpecification, MixedInstancesPolicy,
    };

    fn mixed(base: Option<i32>, above: Option<i32>) -> bool {
        let distribution = InstancesDistribution::builder()
            .set_on_demand_base_capacity(base)
            .set_on_demand_percentage_above_base_capacity(above)
            .build();
        let policy = MixedInstancesPolicy::builder().instances_distribution(distribution);
        let group = AutoScalingGroup::builder().mixed_instances_policy(policy.build());
        read(&group.build(), Ok(Vec::new())).is_mixed
    }

    #[test]
    fn a_policy_is_mixed_only_where_it_has_both() {
        let table = [
            (None, None, false),
            (None, Some(0), false),
            (Some(0), Some(0), false),
            (None, Some(100), false),
            (Some(1), Some(0), true),
            (None, Some(50), true),
        ];
        for (base, above, expected) in table {
            assert_eq!(mixed(base, above), expected, "{base:?} {above:?}");
        }
    }

    #[test]
    fn a_launch_configuration_is_no_launch_template() {
        let group = AutoScalingGroup::builder().launch_configuration_name("old");
        assert!(!read(&group.build(), Ok(Vec::new())).has_launch_template);
        let template = LaunchTemplateSpecification::builder().build();
        let group = AutoScalingGroup::builder().launch_template(template);
        assert!(read(&group.build(), Ok(Vec::new())).has_launch_template);
    }

    #[test]
    fn a_scheduled_minimum_lowers_nothing() {
        let action = ScheduledUpdateGroupAction::builder();
        assert!(!can_lower(&action.clone().min_size(3).build()));
        assert!(can_lower(&action.clone().desired_capacity(0).build()));
        assert!(can_lower(&action.max_size(1).build()));
    }
}
