//! The metrics of each group.

use std::fmt;

use super::families::{Families, Labels, flag};
use crate::poll::snapshot::{Breaker, Group};

pub fn encode(to: &mut Families, groups: &[Group]) -> fmt::Result {
    to.info(
        "clockout_group",
        "What a group serves, and where it lives.",
        groups.iter().map(about),
    )?;
    gauges(to, groups)?;
    counters(to, groups)
}

fn about(group: &Group) -> Labels<'_, 5> {
    [
        ("group", &group.id),
        ("target", &group.target),
        ("source", group.source.as_deref().unwrap_or_default()),
        ("queue", group.queue.as_deref().unwrap_or_default()),
        ("fallback", group.fallback.as_deref().unwrap_or_default()),
    ]
}

fn label(group: &Group) -> Labels<'_, 1> {
    [("group", &group.id)]
}

fn gauges(to: &mut Families, groups: &[Group]) -> fmt::Result {
    let mut gauge = |name, help, value: fn(&Group) -> Option<f64>| {
        let told = groups
            .iter()
            .filter_map(|group| Some((label(group), value(group)?)));
        to.gauges(name, help, told)
    };
    gauge(
        "clockout_group_waiting_jobs",
        "Jobs that wait for an instance.",
        |group| group.waiting.map(f64::from),
    )?;
    gauge(
        "clockout_group_running_jobs",
        "Jobs that run on the group's instances.",
        |group| group.running.map(f64::from),
    )?;
    gauge(
        "clockout_group_oldest_waiting_seconds",
        "How long the oldest waiting job has waited.",
        |group| group.oldest,
    )?;
    gauge(
        "clockout_group_desired_instances",
        "Instances that the group tries to have.",
        |group| group.desired.map(f64::from),
    )?;
    gauge(
        "clockout_group_alive_instances",
        "Instances that exist and take jobs, or will.",
        |group| group.alive.map(f64::from),
    )?;
    gauge(
        "clockout_group_booting_instances",
        "Instances that are not up yet.",
        |group| group.booting.map(f64::from),
    )?;
    gauge(
        "clockout_group_stale_instances",
        "Instances past their boot deadline: no supply, but they count.",
        |group| group.stale.map(f64::from),
    )?;
    gauge(
        "clockout_group_max_instances",
        "The most that the group may have now.",
        |group| group.max.map(f64::from),
    )?;
    gauge(
        "clockout_group_headroom_instances",
        "Instances beyond what the jobs need.",
        |group| Some(group.headroom.into()),
    )?;
    gauge(
        "clockout_group_slots",
        "Jobs that an instance runs at once.",
        |group| Some(group.slots.into()),
    )?;
    gauge(
        "clockout_group_boot_deadline_seconds",
        "How long an instance may take to boot.",
        |group| Some(group.boot_deadline),
    )?;
    gauge(
        "clockout_group_boot_p50_seconds",
        "Half of the last boots took no longer.",
        |group| group.boot_p50,
    )?;
    gauge(
        "clockout_group_boot_p95_seconds",
        "19 of 20 of the last boots took no longer.",
        |group| group.boot_p95,
    )?;
    gauge(
        "clockout_group_known",
        "1 if demand and supply are known, 0 if nothing can be decided.",
        |group| Some(flag(group.unknown.is_none())),
    )?;
    gauge(
        "clockout_group_breaker_open",
        "1 if failures keep it from launching, 0.5 while one instance is tried.",
        |group| Some(breaker(&group.breaker)),
    )?;
    gauge(
        "clockout_group_breaker_until_timestamp_seconds",
        "When the open breaker lets one be tried, since 1970.",
        |group| until(&group.breaker),
    )?;
    gauge(
        "clockout_group_last_decision_timestamp_seconds",
        "When the group was last decided on, since 1970.",
        |group| group.decided,
    )?;
    gauge(
        "clockout_group_discovered",
        "1 if the group was found by its tag.",
        |group| Some(flag(group.discovered)),
    )
}

fn counters(to: &mut Families, groups: &[Group]) -> fmt::Result {
    let mut counter = |name, help, count: fn(&Group) -> u64| {
        let told = groups.iter().map(|group| (label(group), count(group)));
        to.counters(name, help, told)
    };
    counter(
        "clockout_group_launched_instances",
        "Instances that were asked for.",
        |group| group.launched_total,
    )?;
    counter(
        "clockout_group_launch_decisions",
        "Decisions that launched something.",
        |group| group.decisions_total,
    )?;
    counter(
        "clockout_group_boot_failures",
        "Instances that were gone or given up before they were up.",
        |group| group.boot_failures_total,
    )?;
    let errors = groups.iter().flat_map(|group| {
        let errors = group.launch_errors_total.iter();
        errors.map(|(kind, n)| ([("group", group.id.as_str()), ("kind", kind)], *n))
    });
    to.counters(
        "clockout_group_launch_errors",
        "Launches that were refused or failed, by kind.",
        errors,
    )
}

fn breaker(breaker: &Breaker) -> f64 {
    match breaker {
        Breaker::Closed => 0.0,
        Breaker::HalfOpen { .. } => 0.5,
        Breaker::Open { .. } => 1.0,
    }
}

fn until(breaker: &Breaker) -> Option<f64> {
    match *breaker {
        Breaker::Open { until, .. } => Some(until),
        Breaker::Closed | Breaker::HalfOpen { .. } => None,
    }
}
