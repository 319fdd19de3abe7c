//! Detectors: they turn what they see of an agent into [`crate::lifecycle::Observation`]s, and
//! decide nothing.
//!
//! - [`LineMatcher`] reads the agent's own output, and [`Tail`] what it writes to files for it;
//! - [`Steps`] are those of its lines that show the parts of a job;
//! - [`HttpProbe`] asks the agent's own page;
//! - [`Children`] looks at the processes below it, [`Environ`] at what they were started with;
//! - hooks come in through the control socket and need no code here.

mod child;
mod environ;
mod http;
mod line;
mod log;
mod steps;
mod tail;

pub use child::{Children, Process};
pub use environ::{Carrier, Environ, Variable};
pub use http::HttpProbe;
pub use log::LineMatcher;
pub use steps::{OpenStep, Steps};
pub use tail::{Mark, Tail};
