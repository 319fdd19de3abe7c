//! What a test has a group do with its instances, and what it sees of it.

use super::cloud::{Cloud, locked};
use super::group::Group;
use super::hooks::{Fate, Hook, Way};
use super::http::{self, block_on};
use super::moto::{Service, encode_form, moto, texts};

/// The EC2 actions in use; all others are Auto Scaling's.
const EC2_ACTIONS: [&str; 3] = [
    "TerminateInstances",
    "DescribeInstances",
    "DescribeInstanceAttribute",
];

impl Cloud {
    /// A call as clients make it, through the proxy and its faults: the status and the body, or 0
    /// and what became of the connection.
    pub fn ask(&self, action: &str, params: &[(&str, &str)]) -> (u16, String) {
        let service = match EC2_ACTIONS.contains(&action) {
            true => Service::Ec2,
            false => Service::AutoScaling,
        };
        let mut pairs = vec![("Action", action), ("Version", service.version())];
        pairs.extend(params);
        let signature = [("authorization", service.signature())];
        let body = encode_form(&pairs).into();
        match block_on(http::post(self.address(), &signature, body)) {
            Ok(reply) => {
                let body = String::from_utf8_lossy(&reply.body).into_owned();
                (reply.status.as_u16(), body)
            }
            Err(error) => (0, error),
        }
    }

    /// The group has this hook from now on.
    pub fn hook(&self, group: &Group, hook: Hook) {
        locked(&self.shared.passages).add_hook(&group.name, hook);
    }

    /// The group's lifecycle policy keeps instances whose termination is abandoned.
    pub fn retain_abandoned(&self, group: &Group) {
        locked(&self.shared.passages).retain_abandoned(&group.name);
    }

    /// The group leads its instance this way. For `lag` looks and calls the lifecycle actions are
    /// not there yet, though the machine may be told of its target already.
    pub fn lead(&self, group: &Group, instance: &str, way: Way, lag: u32) {
        let _changing = block_on(self.shared.changing.lock());
        let member = group.members().iter().any(|id| id == instance);
        match way {
            Way::IntoService if member => {}
            Way::IntoService => change_group("AttachInstances", group, instance, None),
            _ if !member => {}
            _ => change_group("DetachInstances", group, instance, Some("true")),
        }
        locked(&self.shared.passages).lead(&group.name, instance, way, lag);
    }

    /// The lifecycle state of an instance that its group leads somewhere; `None` once it is no
    /// longer listed, or is a member like any other.
    pub fn way_state(&self, instance: &str) -> Option<String> {
        block_on(self.shared.settle());
        locked(&self.shared.passages).state(instance)
    }

    /// The instance is protected from scale-in.
    pub fn protected(&self, instance: &str) -> bool {
        let params = [("InstanceIds.member.1", instance)];
        let action = "DescribeAutoScalingInstances";
        let xml = block_on(moto().call(Service::AutoScaling, action, &params));
        texts(&xml, "ProtectedFromScaleIn") == ["true"]
    }

    /// What was answered to each heartbeat so far.
    pub fn heartbeats(&self) -> Vec<String> {
        let calls = self.calls();
        let heartbeats = calls.iter().filter(|call| call.is_heartbeat());
        heartbeats.map(|call| call.answer.clone()).collect()
    }
}

impl super::cloud::Shared {
    /// Carries out what lifecycle actions have led to since the last time.
    pub async fn settle(&self) {
        let fates = locked(&self.passages).fates();
        for (instance, fate) in fates {
            match fate {
                Fate::Dies => {
                    let params = [("InstanceId.1", instance.as_str())];
                    moto()
                        .call(Service::Ec2, "TerminateInstances", &params)
                        .await;
                }
                Fate::Arrives | Fate::Retained => {}
            }
        }
    }
}

fn change_group(action: &str, group: &Group, instance: &str, decrement: Option<&str>) {
    let mut params = vec![
        ("AutoScalingGroupName", group.name.as_str()),
        ("InstanceIds.member.1", instance),
    ];
    params.extend(decrement.map(|flag| ("ShouldDecrementDesiredCapacity", flag)));
    block_on(moto().call(Service::AutoScaling, action, &params));
}
