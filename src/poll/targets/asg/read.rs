//! What `DescribeAutoScalingGroups` tells of a group. Pure.

use aws_sdk_autoscaling::types::{AutoScalingGroup, Instance, LifecycleState};

use crate::poll::plan::{Listed, Member, Stage, Supply};

/// A group, as one read of it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub supply: Supply,
    /// The group's zones, with the instances that it has there.
    pub zones: Vec<Zone>,
    /// Why its numbers are not numbers of instances.
    pub units: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    pub name: String,
    /// Booting or up.
    pub alive: u32,
}

/// `None`: the answer has no sizes, which AWS never leaves out.
pub fn read(group: &AutoScalingGroup) -> Option<Read> {
    let size = |size: Option<i32>| u32::try_from(size?).ok();
    let members = group.instances().iter().filter_map(listed);
    let supply = Supply {
        desired: size(group.desired_capacity())?,
        max: Some(size(group.max_size())?),
        members: members.collect(),
        held: held(group),
    };
    Some(Read {
        supply,
        zones: zones(group),
        units: units(group),
    })
}

fn listed(instance: &Instance) -> Option<Listed> {
    Some(Listed {
        member: Member::new(instance.instance_id()?),
        stage: stage(instance.lifecycle_state()),
    })
}

/// The states are an open set (Auto Scaling user guide, "Amazon EC2 Auto Scaling instance
/// lifecycle"). One that nobody knows counts as capacity: it may delay a launch, and cannot cause
/// one.
fn stage(state: Option<&LifecycleState>) -> Stage {
    use LifecycleState as S;
    match state {
        Some(S::Pending | S::PendingWait | S::PendingProceed) => Stage::Booting,
        Some(
            S::ReplacingRootVolume
            | S::ReplacingRootVolumeWait
            | S::ReplacingRootVolumeProceed
            | S::RootVolumeReplaced,
        ) => Stage::Booting,
        Some(S::Standby | S::EnteringStandby | S::Detaching | S::Detached | S::Quarantined) => {
            Stage::Away
        }
        Some(state) => match state.as_str() {
            text if text.starts_with("Terminat") || text.starts_with("Warmed") => Stage::Away,
            _ => Stage::Up,
        },
        None => Stage::Up,
    }
}

fn zones(group: &AutoScalingGroup) -> Vec<Zone> {
    let alive_in = |name: &str| {
        let instances = group.instances().iter();
        let here = instances.filter(|one| one.availability_zone() == Some(name));
        let alive = here.filter(|one| stage(one.lifecycle_state()) != Stage::Away);
        u32::try_from(alive.count()).unwrap_or(u32::MAX)
    };
    let zones = group.availability_zones().iter();
    zones
        .map(|name| Zone {
            name: name.clone(),
            alive: alive_in(name),
        })
        .collect()
}

/// A larger desired capacity would be accepted, and nothing would come of it.
fn held(group: &AutoScalingGroup) -> Option<String> {
    // Only a group that is being deleted has a status.
    if let Some(status) = group.status().filter(|status| !status.is_empty()) {
        return Some(format!("the group is going away ({status})"));
    }
    let mut suspended = group.suspended_processes().iter();
    let launch = suspended.find(|process| process.process_name() == Some("Launch"))?;
    let reason = launch.suspension_reason().unwrap_or("no reason given");
    Some(format!("its process Launch is suspended ({reason})"))
}

/// With weights, or a desired capacity of CPUs or memory, the sizes count units; how many
/// instances come of one more is then AWS' to choose.
fn units(group: &AutoScalingGroup) -> Option<String> {
    if let Some(other) = group.desired_capacity_type()
        && other != "units"
    {
        return Some(format!(
            "its desired capacity counts {other}, not instances: set DesiredCapacityType to units"
        ));
    }
    let template = group
        .mixed_instances_policy()
        .and_then(|policy| policy.launch_template());
    let overrides = template.map_or(&[][..], |template| template.overrides());
    let mut weights = overrides.iter().map(|one| one.weighted_capacity());
    let mut own = group.instances().iter().map(|one| one.weighted_capacity());
    let weight = |weight: Option<&str>| weight.is_some_and(|weight| weight != "1");
    (weights.any(weight) || own.any(weight)).then(|| {
        "its instance types have weights, so that its sizes do not count instances: use types that \
         run equally many jobs, without WeightedCapacity"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_autoscaling::types::builders::AutoScalingGroupBuilder;
    use aws_sdk_autoscaling::types::{
        LaunchTemplate, LaunchTemplateOverrides, MixedInstancesPolicy, SuspendedProcess,
    };

    fn instance(id: &str, zone: &str, state: &str) -> Instance {
        Instance::builder()
            .instance_id(id)
            .availability_zone(zone)
            .lifecycle_state(LifecycleState::from(state))
            .build()
    }

    fn group() -> AutoScalingGroupBuilder {
        AutoScalingGroup::builder()
            .auto_scaling_group_name("ci")
            .min_size(0)
            .desired_capacity(2)
            .max_size(9)
            .availability_zones("a")
            .availability_zones("b")
    }

    #[test]
    fn every_lifecycle_state_has_its_stage() {
        let rows: [(Stage, &[&str]); 3] = [
            (
                Stage::Booting,
                &[
                    "Pending",
                    "Pending:Wait",
                    "Pending:Proceed",
                    "ReplacingRootVolume",
                    "ReplacingRootVolume:Wait",
                    "RootVolumeReplaced",
                ],
            ),
            (Stage::Up, &["InService", "SomethingNew"]),
            (
                Stage::Away,
                &[
                    "Terminating",
                    "Terminating:Wait",
                    "Terminating:Proceed",
                    "Terminating:Retained",
                    "Terminated",
                    "Detaching",
                    "Detached",
                    "EnteringStandby",
                    "Standby",
                    "Quarantined",
                    "Warmed:Pending",
                    "Warmed:Pending:Wait",
                    "Warmed:Running",
                    "Warmed:Stopped",
                    "Warmed:Hibernated",
                    "Warmed:Terminating",
                ],
            ),
        ];
        for (expected, states) in rows {
            for state in states {
                let found = stage(Some(&LifecycleState::from(*state)));
                assert_eq!(found, expected, "{state}");
            }
        }
    }

    #[test]
    fn a_groups_supply_is_read() {
        let group = group()
            .instances(instance("i-1", "a", "InService"))
            .instances(instance("i-2", "a", "Pending"))
            .instances(instance("i-3", "b", "Terminating:Wait"))
            .build();
        let read = read(&group).expect("sizes");
        assert_eq!((read.supply.desired, read.supply.max), (2, Some(9)));
        let stages: Vec<_> = read.supply.members.iter().map(|one| one.stage).collect();
        assert_eq!(stages, [Stage::Up, Stage::Booting, Stage::Away]);
        let zones: Vec<_> = read
            .zones
            .iter()
            .map(|z| (z.name.as_str(), z.alive))
            .collect();
        assert_eq!(zones, [("a", 2), ("b", 0)]);
        assert_eq!((read.supply.held, read.units), (None, None));
    }

    #[test]
    fn a_group_that_cannot_launch_is_held_with_the_reason() {
        let process = |name| {
            SuspendedProcess::builder()
                .process_name(name)
                .suspension_reason("User suspended at 2026-01-01T00:00:00Z")
                .build()
        };
        let held =
            |group: AutoScalingGroupBuilder| read(&group.build()).expect("sizes").supply.held;
        let launch = held(group().suspended_processes(process("Launch")));
        assert!(launch.is_some_and(|why| why.contains("User suspended")));
        assert_eq!(
            held(group().suspended_processes(process("AZRebalance"))),
            None
        );
        let deleted = held(group().status("Delete in progress"));
        assert!(deleted.is_some_and(|why| why.contains("Delete in progress")));
    }

    #[test]
    fn a_group_that_counts_in_units_says_so() {
        let units = |group: AutoScalingGroupBuilder| read(&group.build()).expect("sizes").units;
        let weighted = |weight: &str| {
            let one = LaunchTemplateOverrides::builder().instance_type("c5.large");
            let one = one.weighted_capacity(weight).build();
            let template = LaunchTemplate::builder().overrides(one).build();
            let policy = MixedInstancesPolicy::builder().launch_template(template);
            group().mixed_instances_policy(policy.build())
        };
        assert!(units(weighted("2")).is_some_and(|why| why.contains("WeightedCapacity")));
        assert_eq!(units(weighted("1")), None);
        let vcpu = units(group().desired_capacity_type("vcpu"));
        assert!(vcpu.is_some_and(|why| why.contains("vcpu")));
        assert_eq!(units(group().desired_capacity_type("units")), None);
        let heavy = Instance::builder()
            .instance_id("i-1")
            .weighted_capacity("4");
        assert!(units(group().instances(heavy.build())).is_some());
    }

    #[test]
    fn a_group_without_sizes_is_not_read() {
        assert_eq!(read(&AutoScalingGroup::builder().build()), None);
        assert_eq!(read(&group().desired_capacity(-1).build()), None);
    }
}
