//! One retirement: what is to be done with which machine, why, and with whose hands.

use std::future::Future;
use std::time::Duration;

use super::deadman::uptime;
use super::identity::Placement;
use super::left::Left;
use super::mode::Mode;
use super::notices::Notice;
use super::policy::{self, AtMinimum, Leave};
use super::position::Position;
use super::poweroff::Runner;
use super::record::Work;
use crate::lifecycle::{Instant, Reason};

/// How this machine is to be ended.
#[derive(Debug, Clone)]
pub struct Plan {
    pub mode: Mode,
    /// Commands, each with its arguments, that run before anything else.
    pub before_retire: Vec<Vec<String>>,
    /// For each of them.
    pub hook_timeout: Duration,
    /// `None`: systemd, else `reboot(2)`.
    pub poweroff_command: Option<Vec<String>>,
    /// Say what would be called, call nothing.
    pub dry_run: bool,
    pub timing: Timing,
}

/// The ladder's patience.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For all tries of one rung together.
    pub rung_budget: Duration,
    pub backoff: Duration,
    pub backoff_cap: Duration,
    /// How long a termination in a group may take until it shows.
    pub look_delay: Duration,
    /// How long a machine whose end was accepted may stay.
    pub end_patience: Duration,
    /// The age at which a broken machine may be replaced: a group that makes nothing but broken
    /// ones makes one in this time.
    pub replace_age: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            rung_budget: Duration::from_secs(120),
            backoff: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(10),
            look_delay: Duration::from_secs(3),
            end_patience: Duration::from_secs(300),
            replace_age: Duration::from_secs(3600),
        }
    }
}

/// What the ladder needs of the process that climbs it.
pub trait Host: Runner {
    /// Stores the position before this returns, so that a killed process goes on from it.
    fn record(&mut self, position: &Position);

    /// The position is of no use any more: the machine stays.
    fn forget(&mut self);

    /// The dead-man must not act before `after` from now; one that is armed for later may stay.
    /// Called when the climb begins and whenever it will take longer.
    fn rearm_dead_man(&mut self, after: Duration) -> impl Future<Output = ()> + Send;
}

/// One retirement.
#[derive(Debug)]
pub struct Retirement<'a, C> {
    pub plan: &'a Plan,
    pub placement: &'a Placement,
    /// `None` in builds without the feature `aws`, and where the region is not known.
    pub cloud: Option<&'a C>,
    pub reason: Reason,
    pub work: Work,
    pub told: Told,
}

/// What the machine was told of its end. Nothing, by default.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// A launch hook of ours still keeps the instance from going into service.
    pub launch_pending: bool,
    /// The group takes the machine back into its warm pool: nothing is to be ended.
    pub pooled: bool,
    /// When the machine is taken away, whatever we do.
    pub ends: Option<Instant>,
    /// For the final record.
    pub notices: Vec<Notice>,
}

impl<C> Retirement<'_, C> {
    /// How the machine leaves its group: by its reason, unless more is known.
    pub(super) fn leave(&self) -> Leave {
        let chosen = |notice: &Notice| notice.reason == Reason::ScaleIn;
        match policy::leave(self.reason) {
            _ if self.told.pooled => Leave::Pool,
            // Also when it was leaving for a reason of its own before the group chose it.
            _ if self.told.notices.iter().any(chosen) => Leave::Chosen,
            // It cannot stay.
            Leave::Shrink(AtMinimum::Stay) if self.told.ends.is_some() => {
                Leave::Shrink(AtMinimum::Replace)
            }
            leave => leave,
        }
    }

    pub(super) fn left(&self) -> Left {
        Left::until(self.told.ends, Instant(uptime()))
    }
}

/// Where the climb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LadderOutcome {
    /// The machine is shutting down.
    PoweredOff,
    /// It is idle in a group at its minimum, which would only replace it.
    ReturnToService,
    /// It goes back into its group's warm pool, which stops it or wakes it up.
    Pooled,
    /// There is nothing to end here, or this was a rehearsal: the caller exits.
    Exit,
    /// Everything failed. Only the dead-man is left.
    Stuck,
}

/// The longest that a climb takes without having called [`Host::rearm_dead_man`] anew.
pub fn longest_climb(plan: &Plan) -> Duration {
    let hooks = plan
        .hook_timeout
        .saturating_mul(plan.before_retire.len() as u32);
    // Abandon or detach, terminate in the group, complete, terminate; each with its last try over
    // the budget.
    let rungs = (plan.timing.rung_budget + Duration::from_secs(30)) * 4;
    let slack = Duration::from_secs(60);
    hooks.saturating_add(rungs + plan.timing.end_patience * 2 + slack)
}
