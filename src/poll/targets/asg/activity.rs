//! Why a group does not get the instances that it asks for, by its scaling activities. Pure.

use std::time::{Duration, SystemTime};

use aws_sdk_autoscaling::types::{Activity, ScalingActivityStatusCode};

use super::words::classify_activity;
use crate::poll::plan::{Trouble, TroubleKind};

/// An older failure is another story: a group tries again within minutes as long as it wants
/// instances.
pub const RECENT: Duration = Duration::from_secs(15 * 60);

/// What kept the group from launching since it last launched something: the latest of each kind.
///
/// They are about the whole group. It tries its other zones by itself, so that what is left has
/// failed in all of them.
pub fn troubles(activities: &[Activity], now: SystemTime) -> Vec<Trouble> {
    let mut launches: Vec<_> = activities.iter().filter(|one| is_launch(one)).collect();
    launches.sort_by_key(|one| std::cmp::Reverse(started(one)));
    let since_success = launches
        .into_iter()
        .take_while(|one| one.status_code() != Some(&ScalingActivityStatusCode::Successful))
        .take_while(|one| is_recent(one, now));
    let mut troubles: Vec<Trouble> = Vec::new();
    for activity in since_success.filter(|one| has_failed(one)) {
        let message = activity.status_message().unwrap_or_default().trim();
        // A launch that was called off, since fewer are wanted, has nothing to say.
        if message.is_empty() {
            continue;
        }
        let kind = classify_activity(message);
        if troubles.iter().all(|known| known.kind != kind) {
            troubles.push(Trouble {
                kind,
                scope: String::new(),
                message: message.to_owned(),
            });
        }
    }
    // A hook that was abandoned says nothing of capacity, but is all there is to say.
    troubles.sort_by_key(|one| one.kind == TroubleKind::Other);
    troubles
}

/// "Launching a new EC2 instance: i-0123", "Launching a new EC2 instance.  Status Reason: ...".
fn is_launch(activity: &Activity) -> bool {
    let description = activity.description().unwrap_or_default();
    description.starts_with("Launching")
}

fn has_failed(activity: &Activity) -> bool {
    use ScalingActivityStatusCode as Status;
    matches!(
        activity.status_code(),
        Some(Status::Failed | Status::Cancelled)
    )
}

fn is_recent(activity: &Activity, now: SystemTime) -> bool {
    let started = started(activity);
    now.duration_since(started).unwrap_or_default() <= RECENT
}

fn started(activity: &Activity) -> SystemTime {
    let time = activity.start_time();
    let time = time.and_then(|time| SystemTime::try_from(*time).ok());
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_autoscaling::primitives::DateTime;

    const NOW: i64 = 1_800_000_000;
    const SPOT: &str = "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill \
                        capacity due to your request configuration. Launching EC2 instance failed.";
    const QUOTA: &str = "Could not launch On-Demand Instances. VcpuLimitExceeded - You have \
                         requested more vCPU capacity than your current vCPU limit of 8 allows.";

    fn activity(ago: i64, status: &str, message: &str) -> Activity {
        Activity::builder()
            .description("Launching a new EC2 instance.  Status Reason: ...")
            .start_time(DateTime::from_secs(NOW - ago))
            .status_code(status.into())
            .status_message(message)
            .build()
    }

    fn kinds(activities: &[Activity]) -> Vec<TroubleKind> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs());
        let found = troubles(activities, now).into_iter();
        found.map(|one| one.kind).collect()
    }

    #[test]
    fn failures_since_the_last_success_are_told_once_a_kind() {
        let found = kinds(&[
            activity(20, "Failed", SPOT),
            activity(10, "Failed", QUOTA),
            activity(30, "Failed", SPOT),
            activity(40, "Successful", ""),
            activity(50, "Failed", "The key pair 'ci' does not exist."),
        ]);
        assert_eq!(found, [TroubleKind::Quota, TroubleKind::Capacity]);
    }

    #[test]
    fn a_group_that_launched_last_has_no_trouble() {
        let found = kinds(&[activity(5, "Successful", ""), activity(10, "Failed", SPOT)]);
        assert_eq!(found, []);
        let found = kinds(&[activity(1, "InProgress", ""), activity(10, "Failed", SPOT)]);
        assert_eq!(found, [TroubleKind::Capacity]);
    }

    #[test]
    fn old_failures_called_off_launches_and_terminations_are_not_told() {
        let termination = Activity::builder()
            .description("Terminating EC2 instance: i-1")
            .start_time(DateTime::from_secs(NOW))
            .status_code(ScalingActivityStatusCode::Failed)
            .status_message("Access denied.")
            .build();
        let found = kinds(&[
            termination,
            activity(10, "Cancelled", ""),
            activity(3600, "Failed", SPOT),
        ]);
        assert_eq!(found, []);
    }

    #[test]
    fn capacity_is_told_before_what_nobody_knows() {
        let hook = "Instance failed to complete user's Lifecycle Action: Lifecycle Action with \
                    token 2b0f was abandoned: Heartbeat Timeout";
        let found = kinds(&[activity(5, "Cancelled", hook), activity(10, "Failed", SPOT)]);
        assert_eq!(found, [TroubleKind::Capacity, TroubleKind::Other]);
    }
}
