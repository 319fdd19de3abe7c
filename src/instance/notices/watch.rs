//! What follows from what the metadata service says.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::words::Target;
use crate::lifecycle::{Instant, Reason};

/// Something new. Each is told once, and again only when it became sooner or graver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// For the log, the status and the final record; also what is not acted on.
    Notice(Notice),
    /// The machine takes no further job, and is done by the deadline.
    Drain {
        reason: Reason,
        deadline: Option<Instant>,
    },
    /// The same as soon as a job ends or none runs.
    DrainAfterJob {
        reason: Reason,
        deadline: Option<Instant>,
    },
    /// The group wants the machine elsewhere than before; also the first that was read.
    Target(Target),
}

/// One notice as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    #[serde(rename = "kind")]
    pub reason: Reason,
    /// The service's own word: `terminate`, `instance-stop`, `Terminated`.
    pub what: String,
    /// A scheduled event's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When the machine is taken away, if that is known.
    #[serde(serialize_with = "rfc3339")]
    pub at: Option<SystemTime>,
    pub acted_on: bool,
}

fn rfc3339<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        // The formatter panics before 1970, and no machine is taken away then.
        Some(time) if *time >= SystemTime::UNIX_EPOCH => {
            serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
        }
        _ => serializer.serialize_none(),
    }
}
