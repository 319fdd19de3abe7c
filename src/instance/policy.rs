//! Reason -> what becomes of the group's desired capacity. The table of the README, as code.
//!
//! Only the instance itself decrements; two who do bring a group below its demand
//! (buildkite-agent-scaler issue 350).

use crate::lifecycle::Reason;

/// How the machine leaves its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// The group gets smaller by one.
    Shrink(AtMinimum),
    /// The group launches another in its place.
    Replace,
    /// The group takes it out itself; its capacity is not ours to change.
    Chosen,
    /// The group takes it back into its warm pool: nothing ends.
    Pool,
}

impl Leave {
    /// The machine is broken: if it is not in service yet, it must not get there.
    pub fn is_failed_boot(self) -> bool {
        self == Leave::Shrink(AtMinimum::ReplaceSlowly)
    }
}

/// What happens when the group may not get smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtMinimum {
    /// Nothing is wrong with the machine and the group wants one: it stays. To replace it would
    /// boot, idle and terminate machines for ever (elastic-ci-stack issue 1209).
    Stay,
    Replace,
    /// Whatever broke this machine may break the next: at most one an hour.
    ReplaceSlowly,
}

/// The row of the table.
pub fn leave(reason: Reason) -> Leave {
    match reason {
        Reason::Idle => Leave::Shrink(AtMinimum::Stay),
        Reason::MaxJobs | Reason::MaxLifetime | Reason::Operator | Reason::Signal => {
            Leave::Shrink(AtMinimum::Replace)
        }
        Reason::BootTimeout | Reason::CrashLoop | Reason::AgentExit => {
            Leave::Shrink(AtMinimum::ReplaceSlowly)
        }
        Reason::Spot | Reason::Maintenance | Reason::Rebalance => Leave::Replace,
        Reason::ScaleIn => Leave::Chosen,
    }
}
