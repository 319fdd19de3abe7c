//! `--retire`: how a machine may be ended.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the machine is ended; see the ladder in `ladder.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The whole ladder on EC2, nothing elsewhere.
    #[default]
    Auto,
    /// As `auto`, but elsewhere than on EC2 it is worth a warning.
    Detach,
    /// Without detaching: the group ends the instance, else EC2 does, else it powers off.
    Terminate,
    /// Powers off, wherever it runs. Needs no permission of AWS.
    PowerOff,
    /// The supervisor ends, the machine does not.
    Exit,
}

impl Mode {
    pub const ALL: [Mode; 5] = [
        Mode::Auto,
        Mode::Detach,
        Mode::Terminate,
        Mode::PowerOff,
        Mode::Exit,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Detach => "detach",
            Mode::Terminate => "terminate",
            Mode::PowerOff => "poweroff",
            Mode::Exit => "exit",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Mode::ALL.into_iter().find(|mode| mode.as_str() == text);
        known.ok_or_else(|| {
            let all = Mode::ALL.map(Mode::as_str).join(", ");
            format!("unknown way to retire '{text}', use one of: {all}")
        })
    }
}
