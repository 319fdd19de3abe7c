//! What the metadata service can announce to its machine, put there and taken away by a test.

use std::time::{Duration, SystemTime};

use super::dates::{event_date, rfc3339};
use super::imds::Imds;

pub const SPOT: &str = "meta-data/spot/instance-action";
pub const REBALANCE: &str = "meta-data/events/recommendations/rebalance";
pub const MAINTENANCE: &str = "meta-data/events/maintenance/scheduled";
pub const TARGET: &str = "meta-data/autoscaling/target-lifecycle-state";
const CREDENTIALS: &str = "meta-data/iam/security-credentials/ci-agent";

/// One scheduled event, as it is written in the array.
#[derive(Debug, Clone)]
pub struct Event {
    id: String,
    code: String,
    description: String,
    state: String,
    not_before: String,
    not_after: Option<String>,
}

impl Event {
    /// Active, from now on, without an end.
    pub fn new(code: &str) -> Event {
        Event {
            id: format!("instance-event-0d59937288b749b32-{code}"),
            code: code.to_owned(),
            description: "The instance is scheduled for maintenance".to_owned(),
            state: "active".to_owned(),
            not_before: event_date(SystemTime::now()),
            not_after: None,
        }
    }

    pub fn description(self, description: &str) -> Event {
        let description = description.to_owned();
        Event {
            description,
            ..self
        }
    }

    /// `active`, `completed`, `canceled`.
    pub fn state(self, state: &str) -> Event {
        let state = state.to_owned();
        Event { state, ..self }
    }

    pub fn begins_in(self, wait: Duration) -> Event {
        let not_before = event_date(SystemTime::now() + wait);
        Event { not_before, ..self }
    }

    /// Text of the test's own, where a date is expected.
    pub fn not_before(self, text: &str) -> Event {
        let not_before = text.to_owned();
        Event { not_before, ..self }
    }

    pub fn not_after(self, text: &str) -> Event {
        let not_after = Some(text.to_owned());
        Event { not_after, ..self }
    }

    fn json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({
            "NotBefore": self.not_before,
            "Code": self.code,
            "Description": self.description,
            "EventId": self.id,
            "State": self.state,
        });
        if let Some(not_after) = &self.not_after {
            json["NotAfter"] = not_after.as_str().into();
        }
        json
    }
}

impl Imds {
    /// An interruption so long from now: `terminate`, `stop` or `hibernate`.
    pub fn spot(&self, action: &str, wait: Duration) {
        let time = rfc3339(self.now() + wait);
        self.set(SPOT, &spot_text(action, &time));
    }

    /// An interruption that is so long away whenever one asks, as the official mock's are when it
    /// is not told a time.
    pub fn spot_moving(&self, action: &'static str, wait: Duration) {
        self.compute(SPOT, move |now| spot_text(action, &rfc3339(now + wait)));
    }

    /// The interruption's time is over, and the machine still runs.
    pub fn spot_past(&self, action: &str, ago: Duration) {
        let time = rfc3339(self.now() - ago);
        self.set(SPOT, &spot_text(action, &time));
    }

    pub fn rebalance(&self) {
        let time = rfc3339(self.now());
        self.set(REBALANCE, &format!(r#"{{"noticeTime":"{time}"}}"#));
    }

    pub fn maintenance(&self, events: &[Event]) {
        let events: Vec<_> = events.iter().map(Event::json).collect();
        self.set(MAINTENANCE, &serde_json::Value::from(events).to_string());
    }

    /// Where the group wants this instance: `InService`, `Terminated`, `Warmed:Stopped`, ...
    pub fn target(&self, state: &str) {
        self.set(TARGET, state);
    }

    /// From now on the role has these credentials, for so long.
    pub fn credentials(&self, access_key: &str, valid: Duration) {
        let (now, ends) = (rfc3339(self.now()), rfc3339(self.now() + valid));
        self.set(
            CREDENTIALS,
            &format!(
                r#"{{"Code":"Success","LastUpdated":"{now}","Type":"AWS-HMAC",
                    "AccessKeyId":"{access_key}","SecretAccessKey":"testbed-secret",
                    "Token":"testbed-session-token","Expiration":"{ends}"}}"#
            ),
        );
    }
}

fn spot_text(action: &str, time: &str) -> String {
    format!(r#"{{"action":"{action}","time":"{time}"}}"#)
}
