//! Auto Scaling groups and instances, as moto has them at this moment.

use std::sync::atomic::{AtomicU32, Ordering};

use super::cloud::Cloud;
use super::http::block_on;
use super::moto::{Service, moto, texts};

/// An Auto Scaling group.
#[derive(Debug, Clone)]
pub struct Group {
    pub name: String,
}

impl Cloud {
    /// A new group with its desired number of running instances.
    pub fn group(&self, min: u32, desired: u32, max: u32) -> Group {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("ci-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let [min, desired, max] = [min, desired, max].map(|n| n.to_string());
        let configuration = [
            ("LaunchConfigurationName", name.as_str()),
            ("ImageId", "ami-12c6146b"),
            ("InstanceType", "t3.micro"),
        ];
        let group = [
            ("AutoScalingGroupName", name.as_str()),
            ("LaunchConfigurationName", name.as_str()),
            ("MinSize", &min),
            ("MaxSize", &max),
            ("DesiredCapacity", &desired),
            ("AvailabilityZones.member.1", "us-east-1a"),
            // Stays on an instance that has left, unlike the group's own tag.
            ("Tags.member.1.Key", "launched-by"),
            ("Tags.member.1.Value", &name),
            ("Tags.member.1.PropagateAtLaunch", "true"),
            ("Tags.member.1.ResourceId", &name),
            ("Tags.member.1.ResourceType", "auto-scaling-group"),
        ];
        self.change(
            Service::AutoScaling,
            "CreateLaunchConfiguration",
            &configuration,
        );
        self.change(Service::AutoScaling, "CreateAutoScalingGroup", &group);
        Group { name }
    }

    /// A running instance that belongs to no group.
    pub fn lone_instance(&self) -> String {
        let params = [
            ("ImageId", "ami-12c6146b"),
            ("MinCount", "1"),
            ("MaxCount", "1"),
        ];
        let xml = self.change(Service::Ec2, "RunInstances", &params);
        texts(&xml, "instanceId").remove(0)
    }

    /// A call that an operator makes: no fault applies to it, and it is not recorded. The answer.
    pub fn change(&self, service: Service, action: &str, params: &[(&str, &str)]) -> String {
        block_on(moto().call(service, action, params))
    }

    /// `running`, `shutting-down`, `terminated`, ...
    pub fn instance_state(&self, instance: &str) -> String {
        block_on(async {
            self.shared.settle().await;
            instance_state(instance).await
        })
    }
}

impl Group {
    pub fn members(&self) -> Vec<String> {
        self.now().instances
    }

    pub fn desired(&self) -> i64 {
        self.now().desired
    }

    fn now(&self) -> Members {
        block_on(Members::of(&self.name)).expect("the group exists")
    }

    /// Every instance it ever launched, replacements included.
    pub fn launched(&self) -> Vec<String> {
        let filter = [
            ("Filter.1.Name", "tag:launched-by"),
            ("Filter.1.Value.1", &self.name),
        ];
        let xml = block_on(moto().call(Service::Ec2, "DescribeInstances", &filter));
        texts(&xml, "instanceId")
    }
}

/// A group's size and instances.
pub struct Members {
    pub min: i64,
    pub max: i64,
    pub desired: i64,
    pub instances: Vec<String>,
}

impl Members {
    pub async fn of(group: &str) -> Option<Members> {
        let params = [("AutoScalingGroupNames.member.1", group)];
        let action = "DescribeAutoScalingGroups";
        let xml = moto().call(Service::AutoScaling, action, &params).await;
        let number = |element| texts(&xml, element).first()?.parse().ok();
        Some(Members {
            min: number("MinSize")?,
            max: number("MaxSize")?,
            desired: number("DesiredCapacity")?,
            instances: texts(&xml, "InstanceId"),
        })
    }
}

/// The group that has this instance.
pub async fn group_of(instance: &str) -> Option<String> {
    let params = [("InstanceIds.member.1", instance)];
    let action = "DescribeAutoScalingInstances";
    let xml = moto().call(Service::AutoScaling, action, &params).await;
    texts(&xml, "AutoScalingGroupName").into_iter().next()
}

pub async fn instance_state(instance: &str) -> String {
    let params = [("InstanceId.1", instance)];
    let xml = moto()
        .call(Service::Ec2, "DescribeInstances", &params)
        .await;
    let state = xml.split("<instanceState>").nth(1).unwrap_or_default();
    texts(state, "name")
        .into_iter()
        .next()
        .expect("every instance has a state")
}
