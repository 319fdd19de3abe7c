//! Keeping a pending lifecycle action alive until the work is over.

use super::hooks::Hook;
use crate::lifecycle::Instant;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Ask(Ask),
    Wait(Instant),
    /// There is nothing to keep, or nothing any more.
    Over,
}

/// One request to Auto Scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    /// `DescribeLifecycleHooks`
    Hooks,
    /// `DescribeAutoScalingInstances`
    State,
    /// `RecordLifecycleActionHeartbeat`
    Heartbeat,
    /// `CompleteLifecycleAction` with CONTINUE
    Complete,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Ours only, see [`super::ours`].
    Hooks(Vec<Hook>),
    /// The instance's `LifecycleState`; `None` when it is in no group.
    State(Option<String>),
    Done,
    /// "No active Lifecycle Action found": too early, or over.
    NoAction,
    Failed(HookFailure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookFailure {
    Denied,
    /// Throttled, unanswered: worth another try.
    Retry,
}
