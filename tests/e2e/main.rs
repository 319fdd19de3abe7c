//! End to end: the real binary, real processes, real HTTP, and faults.
//!
//! One binary, so that all tests share one moto and wait at the same time. `scripts/test-setup`
//! installs moto; a single topic is run by its name: `cargo test --test e2e retire_ladder`.

#![expect(
    clippy::disallowed_methods,
    reason = "the bans are for the supervisor; a test looks again until what it waits for is there"
)]

mod bad_input;
mod bed;
mod control;
#[cfg(feature = "aws")]
mod kill9;
mod max_jobs;
#[cfg(feature = "aws")]
mod retire_ladder;
mod run_basic;
mod signals;
mod support;
