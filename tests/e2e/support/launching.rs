//! How groups come by instances. moto does it in an instant; here it takes time, is seen late, or
//! fails, and `LaunchInstances` is there, which moto does not know.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use super::cloud::{Call, Cloud, Shared, locked};
use super::dates::rfc3339;
use super::group::{Group, Members};
use super::moto::{Service, moto};
use super::rules::{Refusal, empty, result};

#[derive(Default)]
pub struct Launching {
    /// For so many reads a new instance is not listed, and then for so many `Pending`.
    slow: Option<(u32, u32)>,
    /// How often each instance would have been read.
    reads: HashMap<String, u32>,
    /// Groups that get nothing.
    short: HashMap<String, Short>,
    /// Zones in which `LaunchInstances` gets nothing.
    full: HashSet<String>,
    /// What `LaunchInstances` answered to each token, and to what.
    tokens: HashMap<String, (String, String)>,
    /// The latest answer to each form of `DescribeAutoScalingGroups`.
    told: HashMap<String, String>,
}

struct Short {
    message: String,
    /// What it is asked for meanwhile.
    desired: Option<i64>,
}

impl Cloud {
    /// From now on, a new instance is not listed for the first `unseen` reads of its group, and
    /// `Pending` for as many as `pending` after them.
    pub fn boot_slowly(&self, group: &Group, unseen: u32, pending: u32) {
        let mut launching = locked(&self.shared.launching);
        launching.slow = Some((unseen, pending));
        let members = group.members().into_iter();
        launching.reads.extend(members.map(|id| (id, u32::MAX / 2)));
    }

    /// The group accepts every desired capacity, and launches nothing; its activities say this.
    pub fn exhaust(&self, group: &Group, message: &str) {
        let short = Short {
            message: message.to_owned(),
            desired: None,
        };
        locked(&self.shared.launching)
            .short
            .insert(group.name.clone(), short);
    }

    /// `LaunchInstances` gets nothing in this zone.
    pub fn fill_zone(&self, zone: &str) {
        locked(&self.shared.launching).full.insert(zone.to_owned());
    }

    /// The group is in these zones alone.
    pub fn set_zones(&self, group: &Group, zones: &[&str]) {
        let names: Vec<_> = (1..)
            .map(|number| format!("AvailabilityZones.member.{number}"))
            .take(zones.len())
            .collect();
        let mut params = vec![("AutoScalingGroupName", group.name.as_str())];
        params.extend(names.iter().map(String::as_str).zip(zones.iter().copied()));
        self.change(Service::AutoScaling, "UpdateAutoScalingGroup", &params);
    }

    /// Gives the group a tag.
    pub fn tag(&self, group: &Group, key: &str, value: &str) {
        let params = [
            ("Tags.member.1.Key", key),
            ("Tags.member.1.Value", value),
            ("Tags.member.1.ResourceId", &group.name),
            ("Tags.member.1.ResourceType", "auto-scaling-group"),
            ("Tags.member.1.PropagateAtLaunch", "false"),
        ];
        self.change(Service::AutoScaling, "CreateOrUpdateTags", &params);
    }

    /// The desired capacities that were asked for, in order, carried out or not.
    pub fn desired_asked(&self) -> Vec<i64> {
        let calls = self.calls().into_iter();
        let calls = calls.filter(|call| call.action == "SetDesiredCapacity");
        let asked = calls.map(|call| call.param("DesiredCapacity").parse());
        asked.collect::<Result<_, _>>().expect("numbers")
    }
}

impl Shared {
    /// An answer that moto would give otherwise, or not at all.
    pub async fn launching_answer(&self, call: &mut Call) -> Option<Refusal> {
        let group = call.param("AutoScalingGroupName").to_owned();
        match call.action.as_str() {
            "SetDesiredCapacity" => {
                let mut launching = locked(&self.launching);
                let short = launching.short.get_mut(&group)?;
                short.desired = call.param("DesiredCapacity").parse().ok();
                call.took_effect = true;
                Some(empty("SetDesiredCapacity"))
            }
            "DescribeScalingActivities" => {
                let launching = locked(&self.launching);
                let short = launching.short.get(&group)?;
                Some(result(
                    "DescribeScalingActivities",
                    &activities(&group, short),
                ))
            }
            "LaunchInstances" => Some(self.launch_instances(call, &group).await),
            _ => None,
        }
    }

    async fn launch_instances(&self, call: &mut Call, group: &str) -> Refusal {
        let param = |name: &str| call.param(name).to_owned();
        let (token, zone) = (param("ClientToken"), param("AvailabilityZones.member.1"));
        let asked: i64 = param("RequestedCapacity").parse().unwrap_or_default();
        let wanted = format!("{group} {zone} {asked}");
        if let Some((before, answer)) = locked(&self.launching).tokens.get(&token) {
            return match *before == wanted {
                true => result("LaunchInstances", answer),
                false => Refusal::new(
                    400,
                    "IdempotentParameterMismatch",
                    "The request was made with the same client token and other parameters.",
                ),
            };
        }
        let valid = (1..=64).contains(&token.len())
            && token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b));
        let Some(members) = Members::of(group).await else {
            return Refusal::validation("AutoScalingGroup name not found - null".to_owned());
        };
        if !valid || !(1..=100).contains(&asked) || members.desired + asked > members.max {
            return Refusal::validation(format!("RequestedCapacity {asked}, token {token:?}"));
        }
        if locked(&self.launching).full.contains(&zone) {
            let answer = launched(group, &token, &zone, &[]);
            let told = (wanted, answer.clone());
            locked(&self.launching).tokens.insert(token, told);
            return result("LaunchInstances", &answer);
        }
        let desired = (members.desired + asked).to_string();
        let params = [
            ("AutoScalingGroupName", group),
            ("DesiredCapacity", &desired),
        ];
        moto()
            .call(Service::AutoScaling, "SetDesiredCapacity", &params)
            .await;
        let now = Members::of(group).await.map(|members| members.instances);
        let mut new = now.unwrap_or_default();
        new.retain(|id| !members.instances.contains(id));
        let answer = launched(group, &token, &zone, &new);
        let told = (wanted, answer.clone());
        locked(&self.launching).tokens.insert(token, told);
        call.took_effect = true;
        result("LaunchInstances", &answer)
    }

    /// What a read of groups shows of what moto told.
    pub fn shown(&self, call: &Call, body: &str) -> String {
        if call.action != "DescribeAutoScalingGroups" {
            return body.to_owned();
        }
        let mut launching = locked(&self.launching);
        let mark = "<member><AutoScalingGroupName>";
        let mut groups = body.split(mark);
        let mut shown = groups.next().unwrap_or_default().to_owned();
        for group in groups {
            shown += mark;
            shown += &launching.group(group);
        }
        launching.told.insert(form(call), shown.clone());
        shown
    }

    /// The latest answer to the same question, as a replica that lags behind would give it.
    pub fn stale(&self, call: &Call) -> Option<String> {
        locked(&self.launching).told.get(&form(call)).cloned()
    }
}

fn form(call: &Call) -> String {
    let mut params: Vec<_> = call.params.iter().collect();
    params.sort();
    format!("{params:?}")
}

impl Launching {
    fn group(&mut self, xml: &str) -> String {
        let name = xml.split('<').next().unwrap_or_default();
        let desired = self.short.get(name).and_then(|short| short.desired);
        let mut xml = xml.to_owned();
        if let (Some(desired), Some((before, rest))) =
            (desired, xml.split_once("<DesiredCapacity>"))
            && let Some((_, after)) = rest.split_once('<')
        {
            xml = format!("{before}<DesiredCapacity>{desired}<{after}");
        }
        let Some((unseen, pending)) = self.slow else {
            return xml;
        };
        let mark = "<member><InstanceId>";
        let mut instances = xml.split(mark);
        let mut shown = instances.next().unwrap_or_default().to_owned();
        for instance in instances {
            let id = instance.split('<').next().unwrap_or_default().to_owned();
            let reads = self.reads.entry(id).or_default();
            *reads += 1;
            match *reads {
                n if n <= unseen => {
                    let (_, after) = instance.split_once("</member>").unwrap_or_default();
                    shown += after;
                }
                n if n <= unseen + pending => {
                    shown += mark;
                    shown += &instance.replacen("InService", "Pending", 1);
                }
                _ => {
                    shown += mark;
                    shown += instance;
                }
            }
        }
        shown
    }
}

fn launched(group: &str, token: &str, zone: &str, ids: &[String]) -> String {
    let at = format!(
        "<InstanceType>t3.micro</InstanceType><MarketType>Spot</MarketType>\
         <AvailabilityZone>{zone}</AvailabilityZone>"
    );
    let ids: String = ids
        .iter()
        .map(|id| format!("<member>{id}</member>"))
        .collect();
    let (instances, errors) = match ids.is_empty() {
        false => {
            let one = format!("<member>{at}<InstanceIds>{ids}</InstanceIds></member>");
            (one, String::new())
        }
        true => {
            let one = format!(
                "<member>{at}<ErrorCode>InsufficientInstanceCapacity</ErrorCode><ErrorMessage>There \
                 is no Spot capacity available that matches your request.</ErrorMessage></member>"
            );
            (String::new(), one)
        }
    };
    format!(
        "<AutoScalingGroupName>{group}</AutoScalingGroupName><ClientToken>{token}</ClientToken>\
         <Instances>{instances}</Instances><Errors>{errors}</Errors>"
    )
}

fn activities(group: &str, short: &Short) -> String {
    let started = rfc3339(SystemTime::now());
    format!(
        "<Activities><member><ActivityId>d25597f4</ActivityId>\
         <AutoScalingGroupName>{group}</AutoScalingGroupName>\
         <Description>Launching a new EC2 instance.  Status Reason: {message}</Description>\
         <Cause>a difference between desired and actual capacity</Cause>\
         <StartTime>{started}</StartTime><StatusCode>Failed</StatusCode>\
         <StatusMessage>{message}</StatusMessage></member></Activities>",
        message = short.message
    )
}
