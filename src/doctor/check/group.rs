//! The Auto Scaling group: what it may do to this machine while a job runs.

use super::{Case, judge};
use crate::doctor::facts::{Answers, Group, Metadata, Tags};
use crate::doctor::finding::Finding;
use crate::instance::notices::{OnRebalance, Protect};

const GROUP: &str = "group";
const PROTECTION: &str = "protection";
const REBALANCE: &str = "rebalance";

pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let Some(asked) = case.asked() else {
        return unasked(case);
    };
    judge(GROUP, "the group", &asked.membership, |group| match group {
        None => vec![Finding::ok(GROUP, "in none: nobody replaces this machine")],
        Some(name) => judge(GROUP, "its settings", &asked.group, |group| {
            let mut all = vec![sizes(name, group)];
            all.extend(minimum(case, group));
            all.extend(protection(case, group));
            all.extend(az_rebalance(case, group));
            all.extend(rebalance(case, group));
            all.extend(warm_pool(group));
            all
        }),
    })
}

/// Without AWS the tags may still tell its name.
fn unasked(case: &Case<'_>) -> Vec<Finding> {
    match &case.facts.metadata {
        Metadata::Answers(answers) => match &**answers {
            Answers {
                tags: Ok(Tags::Group(name)),
                ..
            } => vec![Finding::ok(
                GROUP,
                format!("{name}, its settings not checked"),
            )],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn sizes(name: &str, group: &Group) -> Finding {
    let Group {
        min, desired, max, ..
    } = group;
    let sizes = format!("{name}: min {min}, desired {desired}, max {max}");
    match &group.member {
        Some(member) => Finding::ok(GROUP, format!("{sizes}; this machine is {}", member.state)),
        None => Finding::warning(
            GROUP,
            format!("{sizes}; this machine is no longer in it"),
            "nothing: it has left, and can only end itself",
        ),
    }
}

fn minimum(case: &Case<'_>, group: &Group) -> Option<Finding> {
    case.config.limits.idle_timeout.get()?;
    let min = group.min;
    if !case.ends_instance() || group.desired > min {
        return None;
    }
    Some(Finding::warning(
        "minimum",
        format!(
            "the group is at its minimum of {min}: an idle machine goes back to work, with an idle \
             timeout twice as long each time, up to an hour"
        ),
        "set MinSize to 0 if idle machines shall leave, or say --idle-timeout never",
    ))
}

fn protection(case: &Case<'_>, group: &Group) -> Vec<Finding> {
    let now = group
        .member
        .as_ref()
        .is_some_and(|member| member.is_protected);
    let protect = case.config.protect;
    if protect != Protect::Off && !case.is_protected() {
        let mode = case.config.retire.mode;
        return vec![Finding::warning(
            PROTECTION,
            format!("--protect {protect} has no effect: with --retire {mode} AWS is not called"),
            "use --retire auto, or have the group protect new instances",
        )];
    }
    let what = match (protect, group.protects_new || now) {
        (Protect::Off, false) => return Vec::new(),
        (Protect::Off, true) => {
            "from scale-in by the group's own setting: it shrinks only as machines leave by \
             themselves"
        }
        (Protect::Busy, _) if now => "from scale-in while a job runs; protected now",
        (Protect::Busy, _) => "from scale-in while a job runs; not protected now",
        (Protect::Always, _) if now => "from scale-in as long as it is in service; protected now",
        (Protect::Always, false) => {
            "from scale-in once it is in service; not protected now, and for a moment at each boot"
        }
        (Protect::Always, true) => "from scale-in as long as it is in service",
    };
    vec![Finding::ok(PROTECTION, what)]
}

/// It launches in another zone and ends a machine here, as a scale-in does (Auto Scaling user
/// guide, "Rebalancing activities"); a protected one it leaves alone.
fn az_rebalance(case: &Case<'_>, group: &Group) -> Option<Finding> {
    const PROCESS: &str = "AZRebalance";
    if group.zones < 2 {
        return None;
    }
    let is_safe = group.suspended.iter().any(|name| name == PROCESS)
        || case.is_protected()
        || group.protects_new;
    if is_safe {
        return Some(Finding::ok(
            "az-rebalance",
            "ends no busy machine to even out the zones",
        ));
    }
    Some(Finding::warning(
        "az-rebalance",
        format!(
            "ends machines to even out its {} zones, busy ones too",
            group.zones
        ),
        format!(
            "aws autoscaling suspend-processes --scaling-processes {PROCESS}, or --protect busy"
        ),
    ))
}

/// Capacity Rebalancing launches a replacement at each recommendation, then ends this one.
fn rebalance(case: &Case<'_>, group: &Group) -> Option<Finding> {
    let on_rebalance = case.config.notices.on_rebalance;
    let is_spot = match &case.facts.metadata {
        Metadata::Answers(answers) => answers.is_spot.as_ref().is_ok_and(|spot| *spot),
        _ => false,
    };
    match (group.rebalances, on_rebalance) {
        (true, OnRebalance::Ignore) if !case.is_protected() => Some(Finding::warning(
            REBALANCE,
            "Capacity Rebalancing replaces this machine at each recommendation, most of which \
                 no interruption follows, and --on-rebalance ignore does not keep it from that",
            "switch CapacityRebalance off, or say --on-rebalance after-job",
        )),
        (true, OnRebalance::Ignore) => Some(Finding::ok(
            REBALANCE,
            "Capacity Rebalancing is on, and leaves a protected machine alone",
        )),
        (true, _) => Some(Finding::ok(
            REBALANCE,
            format!("Capacity Rebalancing is on, and so is --on-rebalance {on_rebalance}"),
        )),
        (false, OnRebalance::Ignore) => None,
        (false, _) if is_spot => Some(Finding::ok(
            REBALANCE,
            format!(
                "--on-rebalance {on_rebalance}: this machine leaves, then the group replaces it"
            ),
        )),
        (false, _) => None,
    }
}

fn warm_pool(group: &Group) -> Option<Finding> {
    group.has_warm_pool.then(|| {
        Finding::ok(
            "warm-pool",
            "a machine that goes into it starts no agent, and is not retired",
        )
    })
}
