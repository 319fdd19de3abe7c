//! The six rules as properties: thousands of short lives in a [`world::World`] of agents that
//! work, lag, crash and disobey, shrunk to the shortest that breaks a rule.
//!
//! [`watch::Watch`] checks after every event what must hold always; the tests in `rules.rs` steer
//! the world to where one rule bites; `chaos.rs` sends what no supervisor would.

mod chaos;
mod rules;
mod script;
mod watch;
mod world;
