//! An Auto Scaling group as it truly is, and what its API answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::plan::{Launched, Supply, Trouble, TroubleKind};
use super::nature::GroupNature;
use super::past::Past;
use crate::lifecycle::Instant;

#[derive(Debug)]
pub struct Group {
    pub chain: usize,
    /// Its place in the chain.
    pub place: usize,
    pub nature: GroupNature,
    pub desired: u32,
    /// Instances that are attached, by number.
    pub members: BTreeSet<u32>,
    /// Launches that have begun, of instances that are not listed yet.
    pub starting: u32,
    /// Of launches that have begun, those that are not wanted any more.
    pub revoked: u32,
    /// What `LaunchInstances` answered to each token, and for how many.
    pub tokens: BTreeMap<String, (u32, Launched)>,
    /// When a launch last failed, unless one succeeded since.
    pub failed: Option<Instant>,
    pub past: Past<Supply>,
}

impl Group {
    pub fn new(chain: usize, place: usize, nature: GroupNature, lag: Duration) -> Group {
        Group {
            chain,
            place,
            desired: nature.min,
            nature,
            members: BTreeSet::new(),
            starting: 0,
            revoked: 0,
            tokens: BTreeMap::new(),
            failed: None,
            past: Past::new(lag + Duration::from_secs(1)),
        }
    }

    pub fn alive(&self) -> u32 {
        self.members.len() as u32
    }

    /// What counts against a maximum.
    pub fn counts(&self) -> u32 {
        self.desired.max(self.alive())
    }

    /// `DetachInstances` or `TerminateInstanceInAutoScalingGroup` with a decrement is refused
    /// where it would go below the minimum.
    pub fn may_shrink(&self) -> bool {
        self.desired > self.nature.min
    }

    /// `DescribeScalingActivities`: what failed lately, and why.
    pub fn troubles(&self, now: Instant) -> Vec<Trouble> {
        let lately = |at: &Instant| now.since(*at) < Duration::from_secs(600);
        let failed = self.failed.filter(lately);
        failed.map(|_| shortage()).into_iter().collect()
    }
}

pub fn shortage() -> Trouble {
    trouble(
        TroubleKind::Capacity,
        "Could not launch Spot Instances. UnfulfillableCapacity - There is no Spot capacity.",
    )
}

pub fn trouble(kind: TroubleKind, message: &str) -> Trouble {
    Trouble {
        kind,
        scope: String::new(),
        message: message.to_owned(),
    }
}
