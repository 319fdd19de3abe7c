//! `--protect`: scale-in protection that follows the work, and never makes it wait.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::retry::{Retry, spread};
use crate::lifecycle::Instant;

/// Protection is lifted after so long without a job: most are followed by another.
const IDLE: Duration = Duration::from_secs(5);
/// As long for protection that is not ours, which the group gave to a new machine or a supervisor
/// that was killed has left: there is no hurry, and a fleet that boots would ask all at once.
const IDLE_AT_FIRST: Duration = Duration::from_secs(60);
/// An instance is in service some time after its launch hooks.
const NOT_IN_SERVICE: Duration = Duration::from_secs(15);
/// Between tries.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// What the instance's protection should be, and what is known of it.
///
/// Its owner has one call in flight at a time: [`Protector::next`] is asked again after
/// [`Protector::told`].
#[derive(Debug, Clone)]
pub struct Protector {
    mode: Protect,
    /// Since when there is work, or none. `None` before anybody has said so.
    work: Option<(bool, Instant)>,
    in_service: bool,
    /// What it is, if a call has said so and none has failed since.
    known: Option<bool>,
    /// A call to protect was made, so protection may be ours.
    touched: bool,
    not_before: Instant,
    retry: Retry,
    denied: bool,
}

impl Protector {
    pub fn new(mode: Protect) -> Protector {
        Protector {
            mode,
            work: None,
            in_service: true,
            known: None,
            touched: false,
            not_before: Instant::default(),
            retry: Retry::default(),
            denied: false,
        }
    }

    /// Whether a job runs now.
    pub fn work(&mut self, now: Instant, busy: bool) {
        if self.work.is_none_or(|(was, _)| was != busy) {
            self.work = Some((busy, now));
        }
    }

    /// Whether the group has the instance in service or in standby, elsewhere its protection
    /// cannot be set. Where that is unknown, `true`: the call will tell.
    pub fn in_service(&mut self, yes: bool) {
        if yes && !self.in_service {
            // What was before it left may not be any more.
            self.known = None;
            self.not_before = Instant::default();
            self.retry = Retry::default();
        }
        self.in_service = yes;
    }

    /// What to do now. A [`ProtectTurn::Wait`] is for a time that is still ahead.
    pub fn next(&self, now: Instant) -> ProtectTurn {
        let Some((wish, since)) = self.wish() else {
            return ProtectTurn::Rest;
        };
        if self.denied || !self.in_service || self.known == Some(wish) {
            return ProtectTurn::Rest;
        }
        let due = since.max(self.not_before);
        if now >= due {
            ProtectTurn::Call(wish)
        } else {
            ProtectTurn::Wait(due)
        }
    }

    /// What a call came to. A failed one counts as not done, though it may have been.
    pub fn told(&mut self, now: Instant, protect: bool, answer: Result<(), ProtectFailure>) {
        self.touched |= protect;
        self.known = answer.is_ok().then_some(protect);
        match answer {
            Ok(()) => self.retry = Retry::default(),
            Err(ProtectFailure::Retry) => {
                self.not_before = now.after(self.retry.wait(now, PATIENCE));
            }
            Err(ProtectFailure::NotInService) => {
                self.not_before = now.after(spread(now, NOT_IN_SERVICE));
            }
            Err(ProtectFailure::Denied) => self.denied = true,
        }
    }

    /// What protection should be, from when on.
    fn wish(&self) -> Option<(bool, Instant)> {
        match (self.mode, self.work) {
            (Protect::Off, _) | (Protect::Busy, None) => None,
            (Protect::Always, _) => Some((true, Instant::default())),
            (Protect::Busy, Some((true, since))) => Some((true, since)),
            (Protect::Busy, Some((false, since))) => {
                let wait = if self.touched {
                    IDLE
                } else {
                    spread(since, IDLE_AT_FIRST)
                };
                Some((false, since.after(wait)))
            }
        }
    }
}
