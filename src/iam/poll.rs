//! The least that the poller needs: to read, and to make these groups larger. Nothing in it can
//! end an instance, detach one, or change a group's settings. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::document::{Document, Resource, Statement};
use super::explain::{Explained, Reason};
use super::place::Place;
use crate::poll::{How, QueueUse, Raise, TagUse, Uses};

const DESCRIBE_GROUPS: Reason = Reason {
    action: "autoscaling:DescribeAutoScalingGroups",
    what_for: "reads how many instances the groups have and want, and finds groups by their tag",
    without: "nothing is launched in any group",
};
const DESCRIBE_ACTIVITIES: Reason = Reason {
    action: "autoscaling:DescribeScalingActivities",
    what_for: "learns why a group does not get what it asks for",
    without: "no fallback group takes over when capacity is short, unless instances never boot",
};
const DESCRIBE_SCHEDULED: Reason = Reason {
    action: "autoscaling:DescribeScheduledActions",
    what_for: "lets `clockout doctor poll` look for scheduled actions that end busy machines",
    without: "they are not checked",
};
const SET_DESIRED: Reason = Reason {
    action: "autoscaling:SetDesiredCapacity",
    what_for: "makes a group larger",
    without: "nothing is launched in groups with launch = \"set-desired\"",
};
const LAUNCH: Reason = Reason {
    action: "autoscaling:LaunchInstances",
    what_for: "launches instances in a group, and hears at once which could not be",
    without: "nothing is launched in groups with launch = \"launch-instances\"",
};
const CREATE_FLEET: Reason = Reason {
    action: "ec2:CreateFleet",
    what_for: "is what LaunchInstances launches with, in the caller's name",
    without: "LaunchInstances is denied",
};
const TEMPLATE: Reason = Reason {
    action: "ec2:DescribeLaunchTemplateVersions",
    what_for: "is how LaunchInstances reads the group's launch template, in the caller's name",
    without: "LaunchInstances is denied",
};
const QUEUE: Reason = Reason {
    action: "sqs:GetQueueAttributes",
    what_for: "reads how many messages wait",
    without: "the queue's depth is unknown, and nothing is launched for it",
};

const QUEUE_URL: Reason = Reason {
    action: "sqs:GetQueueUrl",
    what_for: "finds the address of a queue that is named",
    without: "give the queue's address instead, as queue_url",
};

const LOWERS: &str = "autoscaling:SetDesiredCapacity can also make a group smaller: AWS has no \
    action that only adds but autoscaling:LaunchInstances (launch = \"launch-instances\"). Have \
    the groups protect new instances from scale-in, and no value ends a machine.";
const FLEET: &str = "ec2:CreateFleet stands for every resource: what LaunchInstances asks of it \
    depends on the launch template. Where that has an instance profile, iam:PassRole may be needed \
    beside; the documents do not say.";
const TAGS: &str = "Groups that are found by a tag are allowed by the same tag: who may tag a \
    group may have it made larger.";

/// The policy of a poller with this configuration; `place` is where what it does not say lies.
pub fn explain(uses: &Uses, place: &Place, doctor: bool) -> Explained {
    let raised: Vec<_> = hows(uses).map(|how| how.raise).collect();
    let any_group = !raised.is_empty();
    let sets = raised.contains(&Raise::SetDesiredCapacity);
    let launches = raised.contains(&Raise::LaunchInstances);
    let has_queues = !uses.queues.is_empty();
    let has_names = uses.queues.iter().any(|it| !it.queue.contains("://"));
    let reasons: Vec<Reason> = [
        (any_group, DESCRIBE_GROUPS),
        (any_group, DESCRIBE_ACTIVITIES),
        (any_group && doctor, DESCRIBE_SCHEDULED),
        (sets, SET_DESIRED),
        (launches, LAUNCH),
        (launches, CREATE_FLEET),
        (launches, TEMPLATE),
        (has_queues, QUEUE),
        (has_names, QUEUE_URL),
    ]
    .into_iter()
    .filter_map(|(needed, reason)| needed.then_some(reason))
    .collect();
    let notes = [
        (sets, LOWERS),
        (launches, FLEET),
        (!uses.tags.is_empty(), TAGS),
    ];
    Explained {
        document: document(uses, place, &reasons),
        notes: notes
            .into_iter()
            .filter_map(|(needed, note)| needed.then_some(note))
            .collect(),
        placeholders: placeholders(uses, place),
        reasons,
    }
}

fn hows(uses: &Uses) -> impl Iterator<Item = &How> {
    let groups = uses.groups.iter().map(|group| &group.how);
    groups.chain(uses.tags.iter().map(|tag| &tag.how))
}

fn document(uses: &Uses, place: &Place, reasons: &[Reason]) -> Option<Document> {
    let mut statements = Vec::new();
    // Lists know no resource, and CreateFleet's depend on the template.
    for (sid, everywhere) in [
        (
            "ClockoutRead",
            &[
                DESCRIBE_GROUPS,
                DESCRIBE_ACTIVITIES,
                DESCRIBE_SCHEDULED,
                TEMPLATE,
            ][..],
        ),
        ("ClockoutFleet", &[CREATE_FLEET]),
    ] {
        let needed = reasons.iter().filter(|one| everywhere.contains(one));
        let needed: Vec<_> = needed.map(|one| one.action).collect();
        if !needed.is_empty() {
            let all = Resource::One("*".to_owned());
            statements.push(Statement::allow(sid, needed, all, None));
        }
    }
    let mut named: BTreeMap<Raise, Vec<String>> = BTreeMap::new();
    for group in &uses.groups {
        let arn = within(place, &group.how, &group.name).own_group();
        named.entry(group.how.raise).or_default().push(arn);
    }
    for (raise, arns) in named {
        let (sid, action) = match raise {
            Raise::SetDesiredCapacity => ("ClockoutRaise", SET_DESIRED.action),
            Raise::LaunchInstances => ("ClockoutLaunch", LAUNCH.action),
        };
        let arns = Resource::Any(arns);
        statements.push(Statement::allow(sid, vec![action], arns, None));
    }
    for (number, tag) in (1..).zip(&uses.tags) {
        statements.push(tagged(&format!("ClockoutTag{number}"), tag, place));
    }
    if !uses.queues.is_empty() {
        let queues = uses.queues.iter().map(|queue| queue_arn(queue, place));
        let queues = Resource::Any(queues.collect());
        let read = reasons
            .iter()
            .filter(|one| [QUEUE, QUEUE_URL].contains(one));
        let read = read.map(|one| one.action).collect();
        statements.push(Statement::allow("ClockoutQueues", read, queues, None));
    }
    Document::new(statements)
}

/// As discovery selects: the tag is there, and begins with the namespace.
fn tagged(sid: &str, tag: &TagUse, place: &Place) -> Statement {
    let action = match tag.how.raise {
        Raise::SetDesiredCapacity => SET_DESIRED.action,
        Raise::LaunchInstances => LAUNCH.action,
    };
    let value = match &tag.namespace {
        Some(namespace) => format!("{namespace}/*"),
        None => "*".to_owned(),
    };
    let key = format!("aws:ResourceTag/{}", tag.tag);
    let condition: Value = json!({ "StringLike": { key: value } });
    let groups = Resource::One(within(place, &tag.how, "*").own_group());
    Statement::allow(sid, vec![action], groups, Some(condition))
}

fn within(place: &Place, how: &How, group: &str) -> Place {
    Place {
        region: how.region.clone().or_else(|| place.region.clone()),
        account: place.account.clone(),
        group: Some(group.to_owned()),
    }
}

/// `https://sqs.eu-west-1.amazonaws.com/123456789012/jobs`, or `jobs`.
fn queue_arn(queue: &QueueUse, place: &Place) -> String {
    let mut parts = queue.queue.trim_end_matches('/').rsplit('/');
    let name = parts.next().unwrap_or_default();
    let account = parts.next().map(str::to_owned);
    let within = Place {
        region: queue.region.clone().or_else(|| place.region.clone()),
        account: account.or_else(|| place.account.clone()),
        group: None,
    };
    format!("{}:{name}", within.arn("sqs"))
}

fn placeholders(uses: &Uses, place: &Place) -> Vec<(&'static str, &'static str)> {
    let mut regions = hows(uses).map(|how| &how.region);
    let mut queues = uses.queues.iter();
    let no_region = regions.any(Option::is_none) || queues.any(|queue| queue.region.is_none());
    let no_region = no_region && place.region.is_none();
    let mut named = uses.queues.iter().filter(|it| !it.queue.contains("://"));
    let has_arns = hows(uses).next().is_some() || named.next().is_some();
    let no_account = has_arns && place.account.is_none();
    let all = [
        ("REGION", "--region", no_region),
        ("ACCOUNT", "--account", no_account),
    ];
    let missing = all.into_iter().filter(|(_, _, stands)| *stands);
    missing.map(|(name, option, _)| (name, option)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::GroupUse;

    fn how(region: Option<&str>, raise: Raise) -> How {
        How {
            region: region.map(str::to_owned),
            raise,
        }
    }

    fn group(name: &str, raise: Raise) -> GroupUse {
        GroupUse {
            name: name.to_owned(),
            how: how(Some("eu-west-1"), raise),
        }
    }

    fn here() -> Place {
        Place {
            region: Some("us-east-1".to_owned()),
            account: Some("123456789012".to_owned()),
            group: None,
        }
    }

    fn policy(uses: &Uses, doctor: bool) -> Value {
        explain(uses, &here(), doctor).to_json()
    }

    #[test]
    fn named_groups_are_raised_and_no_others() {
        let uses = Uses {
            groups: vec![
                group("ci-a", Raise::SetDesiredCapacity),
                group("ci-b", Raise::SetDesiredCapacity),
            ],
            ..Uses::default()
        };
        let arn = |name: &str| {
            format!(
                "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:*:\
                 autoScalingGroupName/{name}"
            )
        };
        let expected = json!([
            {
                "Sid": "ClockoutRead",
                "Effect": "Allow",
                "Action": [
                    "autoscaling:DescribeAutoScalingGroups",
                    "autoscaling:DescribeScalingActivities",
                ],
                "Resource": "*",
            },
            {
                "Sid": "ClockoutRaise",
                "Effect": "Allow",
                "Action": ["autoscaling:SetDesiredCapacity"],
                "Resource": [arn("ci-a"), arn("ci-b")],
            },
        ]);
        assert_eq!(policy(&uses, false)["policy"]["Statement"], expected);
        let read = &policy(&uses, true)["policy"]["Statement"][0]["Action"];
        assert_eq!(read[2], "autoscaling:DescribeScheduledActions");
    }

    #[test]
    fn discovered_groups_are_allowed_by_their_tag() {
        let tag = |namespace: Option<&str>| Uses {
            tags: vec![TagUse {
                tag: "resource-class".to_owned(),
                namespace: namespace.map(str::to_owned),
                how: how(None, Raise::SetDesiredCapacity),
            }],
            ..Uses::default()
        };
        let found = policy(&tag(Some("acme")), false);
        let statement = &found["policy"]["Statement"][1];
        let condition = json!({"StringLike": {"aws:ResourceTag/resource-class": "acme/*"}});
        assert_eq!(statement["Condition"], condition);
        let all = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:*:\
                   autoScalingGroupName/*";
        assert_eq!(statement["Resource"], all);
        let any = &policy(&tag(None), false)["policy"]["Statement"][1]["Condition"];
        assert_eq!(
            any,
            &json!({"StringLike": {"aws:ResourceTag/resource-class": "*"}})
        );
    }

    #[test]
    fn launching_instances_needs_what_it_calls_in_our_name() {
        let uses = Uses {
            groups: vec![group("ci", Raise::LaunchInstances)],
            ..Uses::default()
        };
        let text = policy(&uses, false).to_string();
        for action in [
            "autoscaling:LaunchInstances",
            "ec2:CreateFleet",
            "ec2:DescribeLaunch",
        ] {
            assert!(text.contains(action), "{action} in {text}");
        }
        assert!(
            !text.contains("\"autoscaling:SetDesiredCapacity\""),
            "{text}"
        );
    }

    #[test]
    fn nothing_that_makes_a_group_smaller_is_ever_allowed_beside() {
        let uses = Uses {
            groups: vec![
                group("a", Raise::SetDesiredCapacity),
                group("b", Raise::LaunchInstances),
            ],
            tags: vec![TagUse {
                tag: "t".to_owned(),
                namespace: None,
                how: how(None, Raise::LaunchInstances),
            }],
            queues: [
                "https://sqs.eu-west-1.amazonaws.com/111122223333/jobs",
                "jobs",
            ]
            .map(|queue| QueueUse {
                queue: queue.to_owned(),
                region: Some("eu-west-1".to_owned()),
            })
            .to_vec(),
        };
        let document = &policy(&uses, true)["policy"];
        let statements = document["Statement"].as_array().expect("statements");
        let actions = statements.iter().flat_map(|one| one["Action"].as_array());
        for action in actions.flatten() {
            let name = action.as_str().expect("text");
            let (_, verb) = name.split_once(':').expect("a prefix");
            let known = [
                "Describe",
                "GetQueue",
                "SetDesired",
                "LaunchInst",
                "CreateFleet",
            ];
            assert!(known.iter().any(|it| verb.starts_with(it)), "{name}");
        }
        let queues = &statements.last().expect("a statement")["Resource"];
        let expected = ["111122223333", "123456789012"];
        let expected = expected.map(|account| format!("arn:aws:sqs:eu-west-1:{account}:jobs"));
        assert_eq!(*queues, json!(expected));
    }

    #[test]
    fn what_is_not_known_is_a_placeholder() {
        let uses = Uses {
            groups: vec![GroupUse {
                name: "ci".to_owned(),
                how: how(None, Raise::SetDesiredCapacity),
            }],
            ..Uses::default()
        };
        let told = explain(&uses, &Place::default(), false).to_json();
        assert_eq!(told["placeholders"], json!(["REGION", "ACCOUNT"]));
        let arn = &told["policy"]["Statement"][1]["Resource"][0];
        let expected = "arn:aws:autoscaling:REGION:ACCOUNT:autoScalingGroup:*:\
                        autoScalingGroupName/ci";
        assert_eq!(arn, expected);
    }

    #[test]
    fn a_poller_of_other_things_needs_nothing_of_aws() {
        let told = explain(&Uses::default(), &Place::default(), true).to_json();
        assert_eq!(
            (&told["policy"], &told["placeholders"]),
            (&Value::Null, &json!([]))
        );
    }
}
