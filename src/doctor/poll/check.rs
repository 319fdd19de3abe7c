//! What the facts mean. Pure.

use super::{Facts, Seen, Settings};
use crate::doctor::facts::Allowed;
use crate::doctor::finding::Finding;
use crate::poll::{Demand, Raise, Supply};

/// All findings: what is shared first, then group by group.
pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let mut all = shared(facts);
    for seen in &facts.groups {
        all.extend(queue(seen));
        all.extend(group(seen));
    }
    all
}

fn shared(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    for (tag, found) in &facts.tags {
        all.push(match found {
            Ok(0) => Finding::warning(
                "discover",
                format!("no group has the tag {tag} with a value that is ours"),
                "tag the groups, or look at the region and the namespace",
            ),
            Ok(count) => Finding::ok("discover", format!("{count} groups have the tag {tag}")),
            Err(why) => Finding::error(
                "discover",
                format!("groups with the tag {tag} cannot be found: {why}"),
                "attach what `clockout policy poll` prints",
            ),
        });
    }
    all.push(match &facts.lease {
        None => Finding::ok("lease", "none: run one poller only"),
        Some((path, Ok(()))) => Finding::ok("lease", path.display().to_string()),
        Some((path, Err(why))) => Finding::error(
            "lease",
            format!("{} cannot be locked: {why}", path.display()),
            "have the poller's user own it, or choose another lease_file",
        ),
    });
    match &facts.listen {
        None => {}
        Some((address, Ok(()))) => all.push(Finding::ok("listen", format!("{address} is free"))),
        Some((address, Err(why))) => all.push(Finding::warning(
            "listen",
            format!("{address}: {why}"),
            "nothing, if a poller runs already; else another address",
        )),
    }
    all
}

fn queue(seen: &Seen) -> Option<Finding> {
    let looked = &seen.looked;
    let (id, source) = (&looked.id, &looked.source);
    Some(match looked.demand.as_ref()? {
        Ok(demand) => Finding::ok("queue", format!("{id}: {} ({source})", shown(demand))),
        Err(why) => Finding::error(
            "queue",
            format!("{id}: cannot be read: {why} ({source})"),
            "look at its address and its token: nothing is launched for it",
        ),
    })
}

fn shown(demand: &Demand) -> String {
    let waiting = format!("{} waiting", demand.waiting);
    match demand.running {
        Some(running) => format!("{waiting}, {running} running"),
        None => format!("{waiting}, running unknown"),
    }
}

fn group(seen: &Seen) -> Vec<Finding> {
    let looked = &seen.looked;
    let (id, place) = (&looked.id, &looked.place);
    let supply = match &looked.supply {
        Ok(supply) => supply,
        Err(why) => {
            return vec![Finding::error(
                "group",
                format!("{id}: cannot be read: {why} ({place})"),
                "look at its name, its region and the policy",
            )];
        }
    };
    let mut all = vec![size(seen, supply)];
    if let Some(why) = &supply.held {
        all.push(Finding::error(
            "group",
            format!("{id}: nothing can be launched: {why}"),
            "aws autoscaling resume-processes --scaling-processes Launch",
        ));
    }
    match &seen.settings {
        None => {}
        Some(Err(unknown)) => all.push(Finding::warning(
            "group",
            format!("{id}: its settings are not checked, {unknown}"),
            "attach what `clockout policy poll --for-doctor` prints",
        )),
        Some(Ok(settings)) => {
            all.extend(busy_machines(id, settings));
            all.extend(scheduled(id, settings));
            all.extend(launching(seen, settings));
            all.extend(permission(seen, settings));
        }
    }
    all
}

fn size(seen: &Seen, supply: &Supply) -> Finding {
    let looked = &seen.looked;
    let max = supply.max.map_or("none".to_owned(), |max| max.to_string());
    let sizes = format!(
        "{}: desired {}, {} instances, max {max} ({})",
        looked.id,
        supply.desired,
        supply.members.len(),
        looked.place
    );
    let min = match &seen.settings {
        Some(Ok(settings)) => settings.group.min,
        _ => 0,
    };
    match (looked.max, supply.max) {
        (Some(ours), Some(theirs)) if ours > theirs => Finding::warning(
            "group",
            format!("{sizes}: the configured max of {ours} is never reached"),
            "raise MaxSize, or lower max",
        ),
        _ if supply.max == Some(0) => Finding::warning(
            "group",
            format!("{sizes}: nothing can ever be launched"),
            "raise MaxSize",
        ),
        _ if min > 0 => Finding::warning(
            "group",
            format!("{sizes}: its minimum of {min} stays when nothing waits"),
            "set MinSize to 0, unless that is meant",
        ),
        _ => Finding::ok("group", sizes),
    }
}

/// A lower desired capacity, an operator's or a schedule's, ends whatever is not protected; so
/// does AZRebalance (Auto Scaling user guide, "Rebalancing activities").
fn busy_machines(id: &str, settings: &Settings) -> Vec<Finding> {
    let group = &settings.group;
    if group.protects_new {
        return vec![Finding::ok(
            "protection",
            format!("{id}: new instances are protected from scale-in"),
        )];
    }
    let mut all = vec![Finding::warning(
        "protection",
        format!("{id}: new instances are not protected: whatever lowers the group ends busy ones"),
        "update-auto-scaling-group --new-instances-protected-from-scale-in, or --protect busy on \
         the instances",
    )];
    let suspended = group.suspended.iter().any(|name| name == "AZRebalance");
    if group.zones > 1 && !suspended {
        all.push(Finding::warning(
            "az-rebalance",
            format!(
                "{id}: AZRebalance ends machines to even out its {} zones, busy ones too",
                group.zones
            ),
            "aws autoscaling suspend-processes --scaling-processes AZRebalance",
        ));
    }
    all
}

fn scheduled(id: &str, settings: &Settings) -> Option<Finding> {
    match &settings.lowering {
        Ok(names) if names.is_empty() || settings.group.protects_new => None,
        Ok(names) => Some(Finding::warning(
            "schedule",
            format!(
                "{id}: scheduled actions can end busy machines: {}",
                names.join(", ")
            ),
            "have them set MinSize only, or protect new instances from scale-in",
        )),
        Err(unknown) => Some(Finding::warning(
            "schedule",
            format!("{id}: scheduled actions are not checked, {unknown}"),
            "attach what `clockout policy poll --for-doctor` prints",
        )),
    }
}

/// What `LaunchInstances` does not work with ("Launch instances synchronously" in the Auto Scaling
/// user guide).
fn launching(seen: &Seen, settings: &Settings) -> Option<Finding> {
    let (_, how) = seen.looked.asg.as_ref()?;
    if how.raise != Raise::LaunchInstances {
        return None;
    }
    let what = if !settings.has_launch_template {
        "it has a launch configuration: LaunchInstances needs a launch template"
    } else if settings.is_mixed {
        "its policy mixes on-demand and spot instances, which LaunchInstances refuses"
    } else if settings.group.has_warm_pool {
        "it has a warm pool, which LaunchInstances refuses"
    } else {
        return None;
    };
    Some(Finding::error(
        "launch",
        format!("{}: {what}", seen.looked.id),
        "change that, or say launch = \"set-desired\"",
    ))
}

fn permission(seen: &Seen, settings: &Settings) -> Option<Finding> {
    let (_, how) = seen.looked.asg.as_ref()?;
    let name = match how.raise {
        Raise::SetDesiredCapacity => "autoscaling:SetDesiredCapacity",
        Raise::LaunchInstances => "autoscaling:LaunchInstances",
    };
    let id = &seen.looked.id;
    Some(match settings.may_raise.as_ref()? {
        Allowed::Yes => Finding::ok("permission", format!("{id}: {name} is allowed")),
        Allowed::No(why) => Finding::error(
            "permission",
            format!("{id}: {name} is denied ({why}): nothing is launched"),
            "attach what `clockout policy poll` prints",
        ),
        Allowed::Unknown(why) => Finding::warning(
            "permission",
            format!("{id}: {name}: not checked, {why}"),
            "try again, or let the first launch tell",
        ),
    })
}

#[cfg(test)]
mod tests {
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
}
