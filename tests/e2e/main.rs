//! End to end: the real binary, real processes, real HTTP, and faults.
//!
//! One binary, so that all tests share one moto and wait at the same time. `scripts/test-setup`
//! installs moto; a single topic is run by its name: `cargo test --test e2e retire_ladder`.

// The bans are for the supervisor; a test looks again until what it waits for is there.
#![allow(clippy::disallowed_methods)]
// A build without AWS or the poller has the parts of the bed that only they need.
#![cfg_attr(not(all(feature = "aws", feature = "poll")), allow(dead_code))]

mod bad_input;
mod bed;
mod bed_imds;
#[cfg(feature = "aws")]
mod bed_scaling;
mod control;
#[cfg(feature = "poll")]
mod demo;
#[cfg(feature = "aws")]
mod doctor;
#[cfg(feature = "aws")]
mod doctor_permissions;
#[cfg(feature = "aws")]
mod iam_policy;
#[cfg(feature = "aws")]
mod kill9;
mod max_jobs;
#[cfg(feature = "aws")]
mod notices;
#[cfg(feature = "aws")]
mod notices_launch;
#[cfg(feature = "aws")]
mod notices_maintenance;
#[cfg(feature = "aws")]
mod notices_outage;
#[cfg(feature = "aws")]
mod notices_pool;
#[cfg(feature = "aws")]
mod notices_protect;
#[cfg(feature = "aws")]
mod notices_rebalance;
#[cfg(feature = "aws")]
mod notices_scale_in;
#[cfg(feature = "aws")]
mod notices_spot;
#[cfg(feature = "aws")]
mod notices_standby;
#[cfg(feature = "poll")]
mod poll;
#[cfg(all(feature = "aws", feature = "poll"))]
mod poll_asg;
#[cfg(all(feature = "aws", feature = "poll"))]
mod poll_asg_doctor;
#[cfg(all(feature = "aws", feature = "poll"))]
mod poll_asg_faults;
#[cfg(feature = "poll")]
mod poll_process;
#[cfg(all(feature = "aws", feature = "poll"))]
mod poll_sqs;
mod presets;
mod presets_bad_input;
mod presets_container;
mod presets_cordon;
mod presets_quiet;
mod presets_seen;
mod presets_steps;
#[cfg(feature = "aws")]
mod retire_hooks;
#[cfg(feature = "aws")]
mod retire_ladder;
#[cfg(feature = "aws")]
mod retire_run;
mod run_basic;
mod signals;
mod support;
