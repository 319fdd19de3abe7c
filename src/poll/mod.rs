//! `clockout poll`: reads CI queues and starts exactly the capacity that is missing. It only
//! scales out; the instances end themselves.
//!
//! `sources/` read demand, `targets/` read supply and create it, `plan/` decides and is pure.

mod command;
mod config;
mod demo;
mod http;
mod lease;
mod plan;
mod server;
mod snapshot;
mod source;
mod sources;
mod target;
mod targets;
mod together;
mod token;

pub use demo::{agent as demo_agent, demo, job as demo_job};
