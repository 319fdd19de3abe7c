//! A poller where all is well, and where one thing is not.

use super::*;
use crate::doctor::facts::{Group, Unknown};
use crate::doctor::finding::Level;
use crate::poll::{How, Looked};

fn well() -> Facts {
    let settings = Settings {
        group: Group {
            max: 9,
            zones: 2,
            protects_new: true,
            ..Group::default()
        },
        has_launch_template: true,
        is_mixed: false,
        lowering: Ok(Vec::new()),
        may_raise: Some(Allowed::Yes),
    };
    let looked = Looked {
        id: "linux".to_owned(),
        place: "asg us-east-1 ci-linux".to_owned(),
        demand: Some(Ok(Demand {
            waiting: 3,
            running: Some(2),
            ..Demand::default()
        })),
        source: "circleci acme/linux".to_owned(),
        supply: Ok(Supply {
            desired: 2,
            max: Some(9),
            ..Supply::default()
        }),
        max: Some(9),
        asg: Some((
            "ci-linux".to_owned(),
            How {
                region: None,
                raise: Raise::LaunchInstances,
            },
        )),
        discovered: false,
    };
    Facts {
        groups: vec![Seen {
            looked,
            settings: Some(Ok(settings)),
        }],
        tags: vec![("resource-class".to_owned(), Ok(1))],
        lease: Some(("/run/lease".into(), Ok(()))),
        listen: Some((([127, 0, 0, 1], 9466).into(), Ok(()))),
    }
}

fn settings(facts: &mut Facts) -> &mut Settings {
    let settings = facts.groups[0].settings.as_mut();
    settings.and_then(|it| it.as_mut().ok()).expect("settings")
}

/// The only finding that is not ok.
fn bad(change: impl Fn(&mut Facts)) -> (Level, &'static str, String) {
    let mut facts = well();
    change(&mut facts);
    let found = examine(&facts).into_iter();
    let found: Vec<_> = found.filter(|one| one.level != Level::Ok).collect();
    let [one] = &found[..] else {
        panic!("not one: {found:?}");
    };
    assert!(one.fix.is_some(), "{one}");
    (one.level, one.topic, one.what.clone())
}

#[test]
fn where_all_is_well_the_demand_is_shown() {
    let found = examine(&well());
    assert!(found.iter().all(|one| one.level == Level::Ok), "{found:?}");
    let text = found.iter().map(ToString::to_string).collect::<String>();
    assert!(
        text.contains("linux: 3 waiting, 2 running (circleci acme/linux)"),
        "{text}"
    );
}

#[test]
fn d6_a_group_that_does_not_protect_new_instances_is_a_warning() {
    let mut facts = well();
    settings(&mut facts).group.protects_new = false;
    settings(&mut facts).lowering = Ok(vec!["evening".to_owned()]);
    let found = examine(&facts).into_iter();
    let topics: Vec<_> = found
        .filter(|one| one.level == Level::Warning)
        .map(|one| one.topic)
        .collect();
    assert_eq!(topics, ["protection", "az-rebalance", "schedule"]);
    let (level, topic, _) = bad(|facts| {
        settings(facts).group.protects_new = false;
        settings(facts).group.suspended = vec!["AZRebalance".to_owned()];
    });
    assert_eq!((level, topic), (Level::Warning, "protection"));
}

#[test]
fn what_cannot_be_read_or_raised_is_an_error() {
    type Change = fn(&mut Facts);
    let table: [(Change, &str, &str); 9] = [
        (
            |facts| facts.groups[0].looked.demand = Some(Err("401".to_owned())),
            "queue",
            "401",
        ),
        (
            |facts| facts.groups[0].looked.supply = Err("no such group".to_owned()),
            "group",
            "no such group",
        ),
        (
            |facts| {
                let supply = facts.groups[0].looked.supply.as_mut();
                supply.expect("known").held = Some("Launch is suspended".to_owned());
            },
            "group",
            "Launch is suspended",
        ),
        (
            |facts| settings(facts).may_raise = Some(Allowed::No("no policy".to_owned())),
            "permission",
            "autoscaling:LaunchInstances is denied (no policy)",
        ),
        (
            |facts| settings(facts).has_launch_template = false,
            "launch",
            "needs a launch template",
        ),
        (|facts| settings(facts).is_mixed = true, "launch", "mixes"),
        (
            |facts| settings(facts).group.has_warm_pool = true,
            "launch",
            "warm pool",
        ),
        (
            |facts| facts.tags[0].1 = Err("AccessDenied".to_owned()),
            "discover",
            "AccessDenied",
        ),
        (
            |facts| facts.lease = Some(("/x".into(), Err("EACCES".to_owned()))),
            "lease",
            "EACCES",
        ),
    ];
    for (change, topic, words) in table {
        let (level, found, what) = bad(change);
        assert_eq!((level, found), (Level::Error, topic), "{what}");
        assert!(what.contains(words), "{what}");
    }
}

#[test]
fn what_works_otherwise_than_meant_or_is_not_known_is_a_warning() {
    type Change = fn(&mut Facts);
    let table: [(Change, &str, &str); 7] = [
        (
            |facts| facts.groups[0].looked.max = Some(20),
            "group",
            "never reached",
        ),
        (
            |facts| settings(facts).group.min = 2,
            "group",
            "minimum of 2",
        ),
        (|facts| facts.tags[0].1 = Ok(0), "discover", "no group"),
        (
            |facts| {
                let listen = facts.listen.as_mut().expect("an address");
                listen.1 = Err("in use".to_owned());
            },
            "listen",
            "in use",
        ),
        (
            |facts| facts.groups[0].settings = Some(Err(Unknown::because("no answer"))),
            "group",
            "not checked, no answer",
        ),
        (
            |facts| settings(facts).may_raise = Some(Allowed::Unknown("late".to_owned())),
            "permission",
            "not checked, late",
        ),
        (
            |facts| settings(facts).lowering = Err(Unknown::because("no answer")),
            "schedule",
            "not checked",
        ),
    ];
    for (change, topic, words) in table {
        let (level, found, what) = bad(change);
        assert_eq!((level, found), (Level::Warning, topic), "{what}");
        assert!(what.contains(words), "{what}");
    }
}
