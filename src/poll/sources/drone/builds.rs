//! What a build of Drone 0.8 says of the work in it (`model/feed.go`, `model/build.go` and
//! `model/proc.go` of 0.8.10).

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::Agent;
use crate::poll::sources::tally::{Tally, or_null, since};

/// A cancelled process and the end of a build are told a moment later by the agent: only what
/// stays so is wrong.
const GRACE: Duration = Duration::from_secs(300);

/// An entry of `/api/builds`: a build that waits or runs.
#[derive(Debug, Clone, Deserialize)]
pub struct Feed {
    pub owner: String,
    pub name: String,
    #[serde(default)]
    pub number: u64,
    #[serde(default, rename = "created_at")]
    pub created: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Build {
    pub status: String,
    #[serde(default, rename = "created_at")]
    created: u64,
    #[serde(default, deserialize_with = "or_null")]
    procs: Vec<Proc>,
}

/// A process: at the top what an agent runs at a time, below it its steps.
#[derive(Debug, Clone, Deserialize)]
struct Proc {
    state: String,
    #[serde(default)]
    platform: String,
    #[serde(default, rename = "end_time")]
    end: u64,
    #[serde(default, deserialize_with = "or_null")]
    children: Vec<Proc>,
}

/// What is wrong with a build that occupies nobody and yet does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zombie {
    /// It runs, and no process of it waits or runs.
    Empty,
    /// Its processes were cancelled, and steps of them still wait or run.
    Cancelled,
}

impl Proc {
    fn is_active(&self) -> bool {
        matches!(self.state.as_str(), "pending" | "running")
    }
}

impl Build {
    fn is_live(&self) -> bool {
        matches!(self.status.as_str(), "pending" | "running")
    }

    /// Adds its processes, as far as they are for these agents.
    pub fn count(&self, agent: &Agent, tally: &mut Tally, now: SystemTime) {
        if !self.is_live() {
            return;
        }
        let age = (self.created > 0).then(|| since(moment(self.created), now));
        let fits = |proc: &&Proc| {
            let wanted = agent.platform.as_ref();
            proc.platform.is_empty() || wanted.is_none_or(|wanted| *wanted == proc.platform)
        };
        for proc in self.procs.iter().filter(fits) {
            match proc.state.as_str() {
                "pending" => tally.wait(age),
                "running" => tally.run(),
                _ => {}
            }
        }
    }

    pub fn zombie(&self, now: SystemTime) -> Option<Zombie> {
        let has_lasted = |since_then: u64| since(moment(since_then), now) > GRACE;
        let cancelled = |proc: &Proc| {
            proc.state == "killed"
                && has_lasted(proc.end)
                && proc.children.iter().any(Proc::is_active)
        };
        if self.procs.iter().any(Proc::is_active) {
            return None;
        }
        if self.procs.iter().any(cancelled) {
            return Some(Zombie::Cancelled);
        }
        let ends = self.procs.iter().map(|proc| proc.end);
        let last = ends.max().unwrap_or(0).max(self.created);
        (self.status == "running" && has_lasted(last)).then_some(Zombie::Empty)
    }
}

/// Seconds since 1970; one that cannot be is long ago.
fn moment(seconds: u64) -> SystemTime {
    let epoch = SystemTime::UNIX_EPOCH;
    epoch
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(epoch)
}
