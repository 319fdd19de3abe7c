//! Which configuration needs what, and the document that says so.

use serde_json::{Value, json};

use super::action::Action;
use super::document::{SelfTerminate, document};
use super::explain::Explained;
use super::needs::Features;
use super::place::{Account, Place};
use crate::instance::{ActionResult, Call, Mode, notices::Transition};

const LADDER: [Action; 3] = [
    Action::TerminateInstances,
    Action::DetachInstances,
    Action::TerminateInstanceInAutoScalingGroup,
];
const HOOKS: [Action; 2] = [
    Action::RecordLifecycleActionHeartbeat,
    Action::CompleteLifecycleAction,
];

fn auto() -> Features {
    Features {
        mode: Mode::Auto,
        grouped: true,
        hooks: true,
        protect: false,
        doctor: false,
    }
}

fn actions(features: Features) -> Vec<Action> {
    let needs = features.needs().into_iter();
    needs.map(|need| need.action).collect()
}

fn here() -> Place {
    Place {
        region: Some("eu-west-1".to_owned()),
        account: Some("123456789012".to_owned()),
        group: Some("ci-linux".to_owned()),
    }
}

fn explained(features: Features, place: Place, form: SelfTerminate) -> Explained {
    Explained::of_run(&features.needs(), &place, form)
}

fn text(explained: &Explained) -> String {
    let mut out = Vec::new();
    explained.write(&mut out).expect("memory");
    String::from_utf8(out).expect("text")
}

#[test]
fn an_action_is_there_if_and_only_if_a_configured_feature_calls_it() {
    let mode = |mode| Features { mode, ..auto() };
    let protect = |features| Features {
        protect: true,
        ..features
    };
    let lists = [
        Action::DescribeAutoScalingInstances,
        Action::DescribeLifecycleHooks,
    ];
    let whole = [LADDER.as_slice(), &HOOKS, &lists].concat();
    let without = |left_out: &[Action]| {
        let mut all = whole.clone();
        all.retain(|action| !left_out.contains(action));
        all
    };
    let no_hooks = [HOOKS.as_slice(), &[Action::DescribeLifecycleHooks]].concat();
    for (features, expected) in [
        (auto(), whole.clone()),
        (mode(Mode::Detach), whole.clone()),
        (mode(Mode::Terminate), without(&[Action::DetachInstances])),
        (mode(Mode::PowerOff), vec![]),
        (mode(Mode::Exit), vec![]),
        (protect(mode(Mode::PowerOff)), vec![]),
        (protect(mode(Mode::Exit)), vec![]),
        (
            Features {
                hooks: false,
                ..auto()
            },
            without(&no_hooks),
        ),
        (
            Features {
                grouped: false,
                ..protect(auto())
            },
            vec![Action::TerminateInstances],
        ),
        (
            Features {
                doctor: true,
                ..protect(auto())
            },
            Action::ALL.to_vec(),
        ),
    ] {
        assert_eq!(actions(features), expected, "{features:?}");
    }
}

#[test]
fn every_call_is_allowed_by_the_policy_of_all_features() {
    let features = Features {
        protect: true,
        ..auto()
    };
    let document = document(&features.needs(), &here(), SelfTerminate::Documented);
    let document = document.expect("something is needed");
    let transition = Transition::Terminating;
    for call in [
        Call::Detach { decrement: true },
        Call::TerminateInGroup { decrement: true },
        Call::Look,
        Call::State,
        Call::Hooks,
        Call::Heartbeat(transition),
        Call::Complete(transition, ActionResult::Continue),
        Call::Protect(true),
        Call::Terminate,
    ] {
        assert!(document.allows(Action::of(call)), "{call:?}");
    }
}

#[test]
fn the_document_is_what_iam_takes() {
    let document = document(&auto().needs(), &here(), SelfTerminate::Documented);
    let expected = json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ClockoutItself",
                "Effect": "Allow",
                "Action": ["ec2:TerminateInstances"],
                "Resource": "arn:aws:ec2:eu-west-1:123456789012:instance/*",
                "Condition": {"ArnEquals": {
                    "ec2:SourceInstanceARN": "arn:aws:ec2:*:*:instance/${ec2:InstanceID}",
                }},
            },
            {
                "Sid": "ClockoutGroup",
                "Effect": "Allow",
                "Action": [
                    "autoscaling:DetachInstances",
                    "autoscaling:TerminateInstanceInAutoScalingGroup",
                    "autoscaling:RecordLifecycleActionHeartbeat",
                    "autoscaling:CompleteLifecycleAction",
                ],
                "Resource": "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:*:\
                             autoScalingGroupName/ci-linux",
            },
            {
                "Sid": "ClockoutRead",
                "Effect": "Allow",
                "Action": [
                    "autoscaling:DescribeAutoScalingInstances",
                    "autoscaling:DescribeLifecycleHooks",
                ],
                "Resource": "*",
            },
        ],
    });
    let found = serde_json::to_value(document).expect("JSON");
    assert_eq!(found, expected);
}

#[test]
fn the_other_form_of_itself_differs_in_the_condition_alone() {
    let of = |form| {
        let document = document(&auto().needs(), &here(), form);
        serde_json::to_value(document).expect("JSON")
    };
    let mut documented = of(SelfTerminate::Documented);
    let other = of("aws-arn".parse().expect("a form"));
    let condition = json!({"StringEquals": {"aws:ARN": "${ec2:SourceInstanceARN}"}});
    assert_eq!(other["Statement"][0]["Condition"], condition);
    assert_ne!(documented, other);
    documented["Statement"][0]["Condition"] = condition;
    assert_eq!(documented, other);
}

#[test]
fn a_partition_goes_by_its_regions() {
    for (region, partition) in [
        ("eu-west-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eusc-de-east-1", "aws-eusc"),
    ] {
        let place = Place {
            region: Some(region.to_owned()),
            ..here()
        };
        let document = document(&auto().needs(), &place, SelfTerminate::Documented);
        let json = serde_json::to_string(&document).expect("JSON");
        let arns = json.matches("arn:").count();
        let ours = json.matches(&format!("arn:{partition}:")).count();
        assert_eq!((arns, ours), (3, 3), "{region}");
    }
}

#[test]
fn what_is_not_known_is_a_placeholder_and_says_so() {
    let form = SelfTerminate::default();
    let nowhere = explained(auto(), Place::default(), form);
    let json = nowhere.to_json();
    assert_eq!(json["placeholders"], json!(["REGION", "ACCOUNT", "GROUP"]));
    let resource = &json["policy"]["Statement"][1]["Resource"];
    let expected =
        "arn:aws:autoscaling:REGION:ACCOUNT:autoScalingGroup:*:autoScalingGroupName/GROUP";
    assert_eq!(resource, expected);
    assert!(text(&nowhere).contains("Replace GROUP, or say --group.\n"));

    let ungrouped = Features {
        grouped: false,
        ..auto()
    };
    let json = explained(ungrouped, Place::default(), form).to_json();
    assert_eq!(json["placeholders"], json!(["REGION", "ACCOUNT"]));
    assert_eq!(
        explained(auto(), here(), form).to_json()["placeholders"],
        json!([])
    );
}

#[test]
fn where_nothing_is_needed_that_is_said() {
    let features = Features {
        mode: Mode::PowerOff,
        ..auto()
    };
    let explained = explained(features, Place::default(), SelfTerminate::default());
    let nothing = "No permission of AWS is needed: attach no policy.";
    assert_eq!(text(&explained), format!("{nothing}\n"));
    let json = explained.to_json();
    assert_eq!(json["policy"], Value::Null);
    assert_eq!(json["notes"], json!([nothing]));
}

#[test]
fn each_action_is_explained_and_neither_form_is_called_proven() {
    for form in ["documented", "aws-arn"] {
        let form = form.parse().expect("a form");
        let explained = explained(auto(), here(), form);
        let text = text(&explained);
        for need in &explained.reasons {
            let name = need.action;
            assert!(text.contains(&format!("{name}: {}", need.what_for)));
            assert!(text.contains(&format!("without it: {}", need.without)));
        }
        assert!(
            text.contains("Neither form can be proven elsewhere"),
            "{text}"
        );
    }
}

#[test]
fn an_account_has_twelve_digits() {
    assert!("123456789012".parse::<Account>().is_ok());
    for bad in [
        "",
        "12345678901",
        "1234567890123",
        "12345678901a",
        "١23456789012",
    ] {
        assert!(bad.parse::<Account>().is_err(), "{bad}");
    }
}
