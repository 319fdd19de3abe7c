//! Detectors: they turn what they see of an agent into [`crate::lifecycle::Observation`]s, and
//! decide nothing.
//!
//! - [`LineMatcher`] reads the agent's own output;
//! - [`HttpProbe`] asks the agent's own page;
//! - [`Children`] looks at the processes below it;
//! - hooks come in through the control socket and need no code here.

mod child;
mod http;
mod line;
mod log;

pub use child::{Children, Process};
pub use http::HttpProbe;
pub use log::LineMatcher;
