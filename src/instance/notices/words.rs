//! What the metadata service can say of the machine's future (EC2 user guide, "Spot Instance
//! interruption notices", "Rebalance recommendations", "Scheduled events"; Auto Scaling user
//! guide, "Retrieve the target lifecycle state through instance metadata").

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::lifecycle::Instant;

/// What one look at one path told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reading<T> {
    /// There is nothing (404, an empty list).
    Nothing,
    Is(T),
    /// No answer, or none that can be read.
    #[default]
    Unknown,
}

/// What one look at every path told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Round {
    pub spot: Reading<SpotAction>,
    /// When the recommendation was made. It is never withdrawn.
    pub rebalance: Reading<SystemTime>,
    pub maintenance: Reading<Vec<Maintenance>>,
    pub target: Reading<Target>,
}

/// The two clocks at one moment. Wall time is the metadata service's own where it tells it,
/// because the notices' times are by that one, and a young machine's may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub boot: Instant,
    pub wall: SystemTime,
}

impl Clock {
    /// When this wall time is. What was before the machine started is its start.
    pub fn at(&self, time: SystemTime) -> Instant {
        match time.duration_since(self.wall) {
            Ok(ahead) => self.boot.after(ahead),
            Err(past) => Instant(self.boot.0.saturating_sub(past.duration())),
        }
    }

    /// So long before this wall time, but not before now.
    pub fn before(&self, time: SystemTime, margin: Duration) -> Instant {
        Instant(self.at(time).0.saturating_sub(margin)).max(self.boot)
    }
}

/// What EC2 will do with a spot instance, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpotAction {
    pub kind: SpotKind,
    pub at: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpotKind {
    Terminate,
    Stop,
    Hibernate,
}

impl SpotKind {
    pub const ALL: [SpotKind; 3] = [SpotKind::Terminate, SpotKind::Stop, SpotKind::Hibernate];

    /// As the metadata service writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            SpotKind::Terminate => "terminate",
            SpotKind::Stop => "stop",
            SpotKind::Hibernate => "hibernate",
        }
    }
}

/// One scheduled event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// `instance-event-0d59937288b749b32`
    pub id: String,
    pub code: MaintenanceCode,
    pub description: String,
    pub state: EventState,
    /// The event begins then, or later.
    pub not_before: Option<SystemTime>,
    pub not_after: Option<SystemTime>,
}

/// An open set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaintenanceCode {
    InstanceReboot,
    InstanceRetirement,
    InstanceStop,
    SystemMaintenance,
    SystemReboot,
    Other(String),
}

impl MaintenanceCode {
    pub fn new(code: &str) -> MaintenanceCode {
        match code {
            "instance-reboot" => MaintenanceCode::InstanceReboot,
            "instance-retirement" => MaintenanceCode::InstanceRetirement,
            "instance-stop" => MaintenanceCode::InstanceStop,
            "system-maintenance" => MaintenanceCode::SystemMaintenance,
            "system-reboot" => MaintenanceCode::SystemReboot,
            other => MaintenanceCode::Other(other.to_owned()),
        }
    }

    /// As the metadata service writes it.
    pub fn as_str(&self) -> &str {
        match self {
            MaintenanceCode::InstanceReboot => "instance-reboot",
            MaintenanceCode::InstanceRetirement => "instance-retirement",
            MaintenanceCode::InstanceStop => "instance-stop",
            MaintenanceCode::SystemMaintenance => "system-maintenance",
            MaintenanceCode::SystemReboot => "system-reboot",
            MaintenanceCode::Other(code) => code,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventState {
    Active,
    /// Completed or canceled.
    Over,
    /// In a word that is not documented.
    Other,
}

/// `autoscaling/target-lifecycle-state`: where the group wants this instance to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    InService,
    Standby,
    Detached,
    Terminated,
    Warmed(Warm),
    /// In a word that is not documented.
    Other(String),
}

/// What a warm pool does with the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warm {
    Stopped,
    Running,
    Hibernated,
    Terminated,
}

impl Target {
    pub fn new(state: &str) -> Target {
        match state {
            "InService" => Target::InService,
            "Standby" => Target::Standby,
            "Detached" => Target::Detached,
            "Terminated" => Target::Terminated,
            "Warmed:Stopped" => Target::Warmed(Warm::Stopped),
            "Warmed:Running" => Target::Warmed(Warm::Running),
            "Warmed:Hibernated" => Target::Warmed(Warm::Hibernated),
            "Warmed:Terminated" => Target::Warmed(Warm::Terminated),
            other => Target::Other(other.to_owned()),
        }
    }

    /// As the metadata service writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Target::InService => "InService",
            Target::Standby => "Standby",
            Target::Detached => "Detached",
            Target::Terminated => "Terminated",
            Target::Warmed(Warm::Stopped) => "Warmed:Stopped",
            Target::Warmed(Warm::Running) => "Warmed:Running",
            Target::Warmed(Warm::Hibernated) => "Warmed:Hibernated",
            Target::Warmed(Warm::Terminated) => "Warmed:Terminated",
            Target::Other(state) => state,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
