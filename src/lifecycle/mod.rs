//! The supervisor's decisions, without I/O, clock or async: fed with events and the time, it
//! answers with actions.

mod limits;
mod words;

pub use limits::{Instant, Limit, Limits};
pub use words::{AgentIndex, DetectorIndex, Exit, Observation, Outcome, Reason};
