//! Which configured feature needs which permission, and what happens without it. Pure.

use super::action::Action;
use crate::cli::RunOptions;
use crate::instance::{Mode, Protect};

/// What of a configuration decides about permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    pub mode: Mode,
    /// The machine is in an Auto Scaling group, or may be.
    pub grouped: bool,
    /// The group has lifecycle hooks, or may have.
    pub hooks: bool,
    pub protect: bool,
    /// What `clockout doctor` reads beside.
    pub doctor: bool,
}

/// One permission, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub action: Action,
    pub what_for: &'static str,
    pub without: &'static str,
}

impl Need {
    pub fn of(action: Action) -> Need {
        let (what_for, without) = match action {
            Action::TerminateInstances => (
                "ends this machine, and after a detach nothing else can",
                "it powers off, which is an end only with the shutdown behaviour 'terminate'",
            ),
            Action::DetachInstances => (
                "leaves the group, with or without a decrement as the reason asks",
                "the group is asked to end the machine, and termination hooks run",
            ),
            Action::TerminateInstanceInAutoScalingGroup => (
                "has the group end the machine where it cannot detach",
                "where it cannot detach, EC2 ends the machine and the group replaces it",
            ),
            Action::RecordLifecycleActionHeartbeat => (
                "keeps a lifecycle hook waiting while jobs end or the agent boots",
                "the group ends the machine when the hook's heartbeat timeout is over",
            ),
            Action::CompleteLifecycleAction => (
                "tells a lifecycle hook that jobs have ended, or that the agent is ready or failed",
                "each scale-in and launch lasts until the hook's timeout",
            ),
            Action::SetInstanceProtection => (
                "keeps the group from choosing a busy machine (--protect)",
                "--protect has no effect",
            ),
            Action::DescribeAutoScalingInstances => (
                "looks whether the group has let go, and learns the group without instance tags",
                "a decrement whose answer was lost is not repeated, and a hook is not confirmed",
            ),
            Action::DescribeLifecycleHooks => (
                "learns the group's hooks and their timeouts, once",
                "only hooks that are named by options are kept waiting, by assumed timeouts",
            ),
            Action::DescribeAutoScalingGroups => (
                "lets `clockout doctor` look at the group's settings",
                "they are not checked",
            ),
            Action::DescribeInstances => (
                "lets `clockout doctor` read the hop limit",
                "it is not shown",
            ),
            Action::DescribeInstanceAttribute => (
                "lets `clockout doctor` look at shutdown behaviour and termination protection",
                "they are not checked",
            ),
        };
        Need {
            action,
            what_for,
            without,
        }
    }
}

impl Features {
    /// Of a machine that is in a group with hooks, as far as anybody knows.
    pub fn of(options: &RunOptions) -> Features {
        Features {
            mode: options.retire.unwrap_or_default(),
            grouped: true,
            hooks: true,
            protect: options.protect.unwrap_or_default() != Protect::Off,
            doctor: false,
        }
    }

    /// AWS is to end the machine. Otherwise it powers off or stays, and nothing is asked of AWS:
    /// no hook is kept and nothing is protected.
    fn calls_aws(&self) -> bool {
        match self.mode {
            Mode::Auto | Mode::Detach | Mode::Terminate => true,
            Mode::PowerOff | Mode::Exit => false,
        }
    }

    /// Some feature of this configuration can make the call that needs it.
    pub fn need(&self, action: Action) -> bool {
        let in_group = self.calls_aws() && self.grouped;
        match action {
            Action::TerminateInstances => self.calls_aws(),
            Action::DetachInstances => in_group && self.mode != Mode::Terminate,
            Action::TerminateInstanceInAutoScalingGroup => in_group,
            Action::RecordLifecycleActionHeartbeat | Action::CompleteLifecycleAction => {
                in_group && self.hooks
            }
            Action::SetInstanceProtection => in_group && self.protect,
            // Also the only way to learn the group where tags are not in the metadata.
            Action::DescribeAutoScalingInstances => in_group,
            Action::DescribeLifecycleHooks => in_group && (self.hooks || self.doctor),
            Action::DescribeAutoScalingGroups => self.grouped && self.doctor,
            Action::DescribeInstances | Action::DescribeInstanceAttribute => self.doctor,
        }
    }

    /// All of them, in the order of a policy's statements, with the reasons.
    pub fn needs(&self) -> Vec<Need> {
        let all = Action::ALL.into_iter().filter(|action| self.need(*action));
        all.map(Need::of).collect()
    }
}
