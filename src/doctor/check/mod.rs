//! What the facts mean for this configuration. Pure.

mod group;
mod hooks;
mod host;
mod metadata;
mod permissions;
#[cfg(test)]
mod tests;

use super::facts::{Asked, Aws, Fact, Facts, Unknown};
use super::finding::{Finding, Level};
use crate::config::Config;
use crate::instance::{Mode, Protect};

/// All findings, in the order in which a machine lives.
pub fn examine(facts: &Facts, config: &Config) -> Vec<Finding> {
    let case = Case { facts, config };
    let mut all = metadata::findings(&case);
    all.extend(group::findings(&case));
    all.extend(hooks::findings(&case));
    all.extend(permissions::findings(&case));
    all.extend(host::findings(&case));
    all
}

/// A machine and what it is to do.
pub(super) struct Case<'a> {
    facts: &'a Facts,
    config: &'a Config,
}

impl Case<'_> {
    /// The instance is to be ended by AWS.
    fn ends_instance(&self) -> bool {
        match self.config.retire.mode {
            // Its host may be everybody's.
            Mode::Auto => !self.facts.host.is_container,
            Mode::Detach | Mode::Terminate => true,
            Mode::PowerOff | Mode::Exit => false,
        }
    }

    /// It is kept from being chosen in a scale-in, at least while it is busy.
    fn is_protected(&self) -> bool {
        self.ends_instance() && self.config.protect != Protect::Off
    }

    fn asked(&self) -> Option<&Asked> {
        match &self.facts.aws {
            Aws::Asked(asked) => Some(asked),
            Aws::NotBuilt | Aws::NotAsked => None,
        }
    }

    /// The group that the machine is in, if that is known.
    fn group_name(&self) -> Option<&str> {
        self.asked()?.membership.as_ref().ok()?.as_deref()
    }
}

/// What is not known is worth a warning, never an ok.
fn not_checked(topic: &'static str, subject: &str, unknown: &Unknown) -> Finding {
    let fix = match unknown {
        Unknown::Denied(_) => Some("attach what `clockout policy --for-doctor` prints"),
        Unknown::Because(_) => None,
    };
    Finding {
        level: Level::Warning,
        fix: fix.map(str::to_owned),
        ..Finding::ok(topic, format!("{subject}: not checked, {unknown}"))
    }
}

/// The finding for a fact, or that it is not known.
fn judge<T>(
    topic: &'static str,
    subject: &str,
    fact: &Fact<T>,
    known: impl FnOnce(&T) -> Vec<Finding>,
) -> Vec<Finding> {
    match fact {
        Ok(value) => known(value),
        Err(unknown) => vec![not_checked(topic, subject, unknown)],
    }
}
