//! The six rules as properties: thousands of short lives in a [`world::World`] of agents that
//! work, lag, crash and disobey, shrunk to the shortest that breaks a rule.
//!
//! [`watch::Watch`] checks after every event what must hold always; the tests in `rules.rs` steer
//! the world to where one rule bites; `chaos.rs` sends what no supervisor would, and
//! `stored.rs` damages what one has stored.

mod chaos;
mod deeds;
mod rules;
mod script;
mod steps;
mod stored;
mod watch;
mod world;

use proptest::test_runner::Config;

/// Enough lives to find every break that was tried, in seconds without optimisation;
/// `PROPTEST_CASES` asks for more.
fn lives() -> Config {
    let config = Config::default();
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => Config {
            cases: 1000,
            ..config
        },
    }
}
