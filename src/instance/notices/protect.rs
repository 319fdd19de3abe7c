//! `--protect`: scale-in protection that follows the work.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::lifecycle::Instant;

/// When the group may not choose this instance to scale in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protect {
    /// Protection is left as it is.
    #[default]
    Off,
    /// While a job runs.
    Busy,
    /// From the moment it is in service.
    Always,
}

impl Protect {
    pub const ALL: [Protect; 3] = [Protect::Busy, Protect::Always, Protect::Off];

    pub fn as_str(self) -> &'static str {
        match self {
            Protect::Off => "off",
            Protect::Busy => "busy",
            Protect::Always => "always",
        }
    }
}

impl fmt::Display for Protect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Protect::ALL
            .into_iter()
            .find(|choice| choice.as_str() == text);
        known.ok_or_else(|| {
            let all = Protect::ALL.map(Protect::as_str).join(", ");
            format!("unknown kind of protection '{text}', use one of: {all}")
        })
    }
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtectTurn {
    /// `SetInstanceProtection` with this value.
    Call(bool),
    Wait(Instant),
    /// Nothing until something changes.
    Rest,
}

/// Why protection could not be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtectFailure {
    /// "is not in InService or EnteringStandby or Standby": perhaps not yet.
    NotInService,
    Denied,
    /// Throttled, unanswered: worth another try.
    Retry,
}
