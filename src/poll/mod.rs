//! `clockout poll`: reads CI queues and starts exactly the capacity that is missing. It only
//! scales out; the instances end themselves.
//!
//! `sources/` read demand, `targets/` read supply and create it, `plan/` decides and is pure.

mod command;
mod config;
mod demo;
mod http;
mod lease;
mod look;
mod plan;
mod run;
mod server;
mod snapshot;
mod source;
mod sources;
mod target;
mod targets;
mod together;
mod token;
mod uses;
#[cfg(test)]
mod world;

pub use config::{Poll, load};
pub use demo::{agent as demo_agent, demo, job as demo_job};
pub use look::{Looked, look};
pub use plan::{Demand, Supply};
#[cfg(test)]
pub use uses::GroupUse;
pub use uses::{How, QueueUse, Raise, TagUse, Uses};

use crate::cli::{PollManner, PollOptions};
use crate::config::{LogLevel, Logging};
use crate::exit::Status;
use crate::telemetry;

/// `clockout poll`.
pub fn poll(given: PollOptions, manner: &PollManner) -> anyhow::Result<Status> {
    let (options, poll) = config::load(&given)?;
    if let Some(group) = &manner.explain {
        let level = options.log_level.unwrap_or(LogLevel::Error);
        telemetry::init(Logging::new(options.log_format, Some(level)));
        return run::explain(given, poll, group);
    }
    telemetry::init(Logging::new(options.log_format, options.log_level));
    run::run(given, poll, manner.once)
}
