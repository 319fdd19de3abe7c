//! What the doctor knows of the machine before it judges: each fact, or why it is not known.

// Builds without it ask AWS nothing.
#![cfg_attr(not(feature = "aws"), allow(dead_code))]

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::iam::Action;
use crate::instance::notices::Hook;

/// A fact. What is not known is never taken for good.
pub type Fact<T> = Result<T, Unknown>;

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// The role may not look.
    Denied(Action),
    /// In a clause.
    Because(String),
}

impl Unknown {
    pub fn because(why: impl Into<String>) -> Unknown {
        Unknown::Because(why.into())
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unknown::Denied(action) => write!(f, "{} is denied", action.name()),
            Unknown::Because(why) => f.write_str(why),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Facts {
    pub metadata: Metadata,
    pub aws: Aws,
    pub host: Host,
}

/// What the instance metadata service is to this process.
#[derive(Debug, Clone)]
pub enum Metadata {
    /// Not a machine of Amazon's, and nobody names a metadata service.
    Elsewhere,
    /// By `AWS_EC2_METADATA_DISABLED`.
    SwitchedOff,
    Silent(Silence),
    Answers(Box<Answers>),
}

/// Why it gives no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// It answers, but the token's answer does not come as far as this.
    HopLimit,
    /// It refuses with this HTTP status.
    Refused(u16),
    /// Nothing comes at all, in a clause.
    Nothing(String),
}

/// What it says of the instance.
#[derive(Debug, Clone)]
pub struct Answers {
    pub instance: String,
    pub region: String,
    pub zone: Fact<String>,
    /// It answers without a token.
    pub version_1: Fact<bool>,
    pub is_spot: Fact<bool>,
    pub tags: Fact<Tags>,
    /// The instance profile's role.
    pub role: Fact<Option<String>>,
}

/// Instance tags in the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    Hidden,
    /// Shown, and none names a group.
    NoGroup,
    Group(String),
}

/// What AWS says.
#[derive(Debug, Clone)]
pub enum Aws {
    /// This build has no AWS in it.
    NotBuilt,
    /// There is no instance to ask about.
    NotAsked,
    Asked(Box<Asked>),
}

#[derive(Debug, Clone)]
pub struct Asked {
    /// The group's name, if it is in one.
    pub membership: Fact<Option<String>>,
    /// Of the group, if it is in one.
    pub group: Fact<Group>,
    pub hooks: Fact<Vec<Hook>>,
    pub shutdown: Fact<Shutdown>,
    /// `DisableApiTermination`
    pub termination_protected: Fact<bool>,
    pub hop_limit: Fact<u32>,
    /// What the configuration needs, in the policy's order.
    pub permissions: Vec<(Action, Allowed)>,
}

/// `InstanceInitiatedShutdownBehavior`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    Stop,
    Terminate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    Yes,
    /// And which policy's doing that is, or the error's code.
    No(String),
    /// Neither is proven, in a clause.
    Unknown(String),
}

/// An Auto Scaling group's settings.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub min: i32,
    pub desired: i32,
    pub max: i32,
    pub zones: usize,
    /// The names of suspended processes.
    pub suspended: Vec<String>,
    /// `NewInstancesProtectedFromScaleIn`
    pub protects_new: bool,
    /// `CapacityRebalance`
    pub rebalances: bool,
    /// Its lifecycle policy keeps instances whose termination hook was abandoned.
    pub retains: bool,
    pub has_warm_pool: bool,
    /// This instance, as the group has it.
    pub member: Option<Member>,
}

#[derive(Debug, Clone, Default)]
pub struct Member {
    /// `InService`, `Pending:Wait`, ...
    pub state: String,
    pub is_protected: bool,
}

/// This machine's own side.
#[derive(Debug, Clone)]
pub struct Host {
    /// A container, of which a machine has many.
    pub is_container: bool,
    pub is_root: bool,
    pub power_off: PowerOff,
    /// Who keeps the machine from shutting down: `name (reason)`.
    pub inhibitors: Fact<Vec<String>>,
    /// A systemd timer can be made.
    pub has_timers: bool,
    /// What comes before the instance's role.
    pub credentials: Vec<String>,
    pub state_dir: Result<(), String>,
    pub socket: SocketPlace,
    /// `--user`, and what is wrong with it.
    pub user: Option<(String, Result<(), UserFault>)>,
    /// Commands of `before_retire` whose programs are not there.
    pub missing_hooks: Vec<String>,
    /// The agent's program.
    pub agent: Option<Result<PathBuf, String>>,
}

/// Why the agent cannot run as the user that `--user` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserFault {
    /// The user cannot be looked up; says what to do, too.
    Unknown(String),
    /// We are neither root nor that user.
    NotAllowed,
}

/// How this machine would be powered off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PowerOff {
    /// By `--poweroff-command`, whose program is there or is not.
    Command(String, bool),
    /// By `systemctl poweroff`.
    Systemd(Polkit),
    /// By `reboot(2)`, which we may call or may not.
    Reboot(bool),
}

/// What logind says to whether we may power off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polkit {
    /// We are root.
    NotAsked,
    Yes,
    /// In logind's word.
    No(String),
    Unknown(String),
}

/// Where the control socket is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketPlace {
    Free,
    /// A supervisor listens there.
    Taken,
    Unusable(String),
}

/// `2h30m`
pub fn shown(time: Duration) -> String {
    humantime::format_duration(time)
        .to_string()
        .replace(' ', "")
}
