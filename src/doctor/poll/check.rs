//! What the facts mean. Pure.

#[cfg(test)]
mod tests;

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
            "resume that process, or take the group out of the configuration",
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
