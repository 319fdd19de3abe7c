//! The promises of the module as properties.
//!
//! [`watch::Watch`] keeps its own books of what was told and checks every action against them;
//! `chaos.rs` sends what no world would, `rules.rs` steers a world to where one promise bites.

mod chaos;
mod rules;
mod watch;

use proptest::test_runner::Config;

/// Seconds without optimisation; `PROPTEST_CASES` asks for more.
fn cases() -> Config {
    let config = Config::default();
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => Config {
            cases: 256,
            ..config
        },
    }
}
