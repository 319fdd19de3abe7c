//! The control socket: newline-delimited JSON between the supervisor and who may talk to it.
//!
//! A request is one line of at most [`LONGEST_REQUEST`] bytes, `{"op":"status"}` or such; each is
//! answered by one line, `{"ok":true,...}` or `{"ok":false,"error":"..."}`. Who may ask what is
//! decided by the kernel's word for who connected ([`server`]).

mod client;
mod connection;
mod exec;
mod server;
mod socket;
mod status;

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::lifecycle::{AgentIndex, Outcome};

pub use client::{Reporter, drain, status};
pub use server::{Incoming, Reply, Server};
pub use socket::{BindError, SocketState, socket_state};
pub use status::{
    AgentStatus, InstanceStatus, JobStatus, LimitStatus, Next, NoticeStatus, State, StatusReport,
};

/// In bytes, newline included.
pub const LONGEST_REQUEST: usize = 4096;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// A job began.
    JobStart {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(default = "first_agent")]
        agent: AgentIndex,
    },
    /// A job ended; without an id, the oldest that runs.
    JobFinish {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(default = "unknown")]
        outcome: Outcome,
        #[serde(default = "first_agent")]
        agent: AgentIndex,
    },
    Status,
    /// End this machine's work, at the latest after `deadline`. With `wait` the answer comes
    /// when no agent is left.
    Drain {
        #[serde(
            default,
            rename = "deadline_seconds",
            with = "whole_seconds",
            skip_serializing_if = "Option::is_none"
        )]
        deadline: Option<Duration>,
        #[serde(default)]
        wait: bool,
    },
}

fn first_agent() -> AgentIndex {
    AgentIndex(1)
}

fn unknown() -> Outcome {
    Outcome::Unknown
}

/// A duration of more than a year is a mistake, and would make points in time overflow.
mod whole_seconds {
    use super::*;

    const MOST: u64 = 366 * 24 * 3600;

    pub fn serialize<S: Serializer>(time: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        // Rounded up: a second more is better than none.
        time.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0))
            .serialize(out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<u64>::deserialize(input)?;
        Ok(seconds.map(|seconds| Duration::from_secs(seconds.min(MOST))))
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub enum Response {
    Done,
    Status(Box<StatusReport>),
    Refused(String),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Box<StatusReport>>,
}

impl From<Response> for Wire {
    fn from(response: Response) -> Wire {
        let (ok, error, status) = match response {
            Response::Done => (true, None, None),
            Response::Status(status) => (true, None, Some(status)),
            Response::Refused(error) => (false, Some(error), None),
        };
        Wire { ok, error, status }
    }
}

impl TryFrom<Wire> for Response {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Response, Self::Error> {
        match (wire.ok, wire.error, wire.status) {
            (true, None, None) => Ok(Response::Done),
            (true, None, Some(status)) => Ok(Response::Status(status)),
            (false, Some(error), None) => Ok(Response::Refused(error)),
            _ => Err("neither done nor refused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_scripts_would_write() {
        let table = [
            (
                r#"{"op":"job-start"}"#,
                Request::JobStart {
                    id: None,
                    agent: AgentIndex(1),
                },
            ),
            (
                r#"{"op":"job-start","id":"a","agent":2}"#,
                Request::JobStart {
                    id: Some("a".to_owned()),
                    agent: AgentIndex(2),
                },
            ),
            (
                r#"{"op":"job-finish","outcome":"failed"}"#,
                Request::JobFinish {
                    id: None,
                    outcome: Outcome::Failed,
                    agent: AgentIndex(1),
                },
            ),
            (r#"{"op":"status"}"#, Request::Status),
            (
                r#"{"op":"drain"}"#,
                Request::Drain {
                    deadline: None,
                    wait: false,
                },
            ),
            (
                r#"{"op":"drain","deadline_seconds":90,"wait":true}"#,
                Request::Drain {
                    deadline: Some(Duration::from_secs(90)),
                    wait: true,
                },
            ),
        ];
        for (text, request) in table {
            assert_eq!(serde_json::from_str::<Request>(text).expect(text), request);
            let again = serde_json::to_string(&request).expect("JSON");
            assert_eq!(
                serde_json::from_str::<Request>(&again).expect(&again),
                request
            );
        }
        for bad in [
            "{}",
            r#"{"op":"reboot"}"#,
            r#"{"op":"drain","deadline_seconds":-1}"#,
            "[]",
            "",
        ] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_is_done_or_refused() {
        let refused = Response::Refused("no".to_owned());
        for (response, text) in [
            (Response::Done, r#"{"ok":true}"#),
            (refused, r#"{"ok":false,"error":"no"}"#),
        ] {
            assert_eq!(serde_json::to_string(&response).expect("JSON"), text);
            assert_eq!(
                serde_json::from_str::<Response>(text).expect(text),
                response
            );
        }
        assert!(serde_json::from_str::<Response>(r#"{"ok":false}"#).is_err());
    }
}
