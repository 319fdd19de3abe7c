//! The bodies of the metadata service's answers. What cannot be read is an error and becomes
//! [`super::Reading::Unknown`]: a notice in a new shape is not the absence of one.

use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use super::date;
use super::words::{EventState, Maintenance, MaintenanceCode, SpotAction, SpotKind, Target};

/// An answer that is no notice of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{why} in '{text}'")]
pub struct BadNotice {
    why: String,
    /// Its beginning.
    text: String,
}

impl BadNotice {
    fn new(text: &str, why: impl ToString) -> BadNotice {
        BadNotice {
            why: why.to_string(),
            text: text.trim().chars().take(200).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Spot {
    action: String,
    time: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rebalance {
    notice_time: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    code: String,
    event_id: Option<String>,
    description: Option<String>,
    state: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
}

/// `spot/instance-action`
pub fn spot(text: &str) -> Result<SpotAction, BadNotice> {
    let spot: Spot = json(text)?;
    let known = SpotKind::ALL
        .into_iter()
        .find(|kind| kind.as_str().eq_ignore_ascii_case(&spot.action));
    Ok(SpotAction {
        kind: known.ok_or_else(|| BadNotice::new(text, "an unknown action"))?,
        at: time(text, &spot.time)?,
    })
}

/// `events/recommendations/rebalance`: when it was made.
pub fn rebalance(text: &str) -> Result<SystemTime, BadNotice> {
    let rebalance: Rebalance = json(text)?;
    time(text, &rebalance.notice_time)
}

/// `events/maintenance/scheduled`: a list. The mock of AWS documents a single object, too.
pub fn maintenance(text: &str) -> Result<Vec<Maintenance>, BadNotice> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let events = match json(text)? {
        Value::Array(events) => events,
        event => vec![event],
    };
    let event = |event| serde_json::from_value(event).map(maintained);
    let events = events.into_iter().map(event).collect::<Result<_, _>>();
    events.map_err(|error| BadNotice::new(text, error))
}

/// `autoscaling/target-lifecycle-state`: one word.
pub fn target(text: &str) -> Result<Target, BadNotice> {
    let word = text.trim();
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b":-_".contains(&byte);
    if word.is_empty() || word.len() > 64 || !word.bytes().all(is_part) {
        return Err(BadNotice::new(text, "no state"));
    }
    Ok(Target::new(word))
}

/// An event is not missed because of its dates: what is no date, the empty text for one, counts
/// as an absent one.
fn maintained(event: Event) -> Maintenance {
    let description = event.description.unwrap_or_default();
    Maintenance {
        id: event.event_id.unwrap_or_default(),
        code: MaintenanceCode::new(&event.code),
        state: state(event.state.as_deref().unwrap_or_default(), &description),
        description,
        not_before: event.not_before.as_deref().and_then(date::parse),
        not_after: event.not_after.as_deref().and_then(date::parse),
    }
}

/// Events that are over are also marked in their description (EC2 API reference,
/// `InstanceStatusEvent`).
fn state(state: &str, description: &str) -> EventState {
    let marked = ["[Completed]", "[Canceled]"]
        .iter()
        .any(|mark| description.starts_with(mark));
    match state.to_ascii_lowercase().as_str() {
        _ if marked => EventState::Over,
        "active" | "" => EventState::Active,
        "completed" | "canceled" | "cancelled" => EventState::Over,
        _ => EventState::Other,
    }
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, BadNotice> {
    serde_json::from_str(text).map_err(|error| BadNotice::new(text, error))
}

fn time(text: &str, time: &str) -> Result<SystemTime, BadNotice> {
    date::parse(time).ok_or_else(|| BadNotice::new(text, "no time"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(rfc: &str) -> SystemTime {
        humantime::parse_rfc3339(rfc).unwrap()
    }

    #[test]
    fn spot_actions_are_read() {
        let time = at("2017-09-18T08:22:00Z");
        for kind in SpotKind::ALL {
            let word = kind.as_str();
            let text = format!("{{\"action\": \"{word}\", \"time\": \"2017-09-18T08:22:00Z\"}}\n");
            assert_eq!(spot(&text), Ok(SpotAction { kind, at: time }));
        }
        let more = r#"{"new":[1],"time":"2017-09-18T08:22:00Z","action":"stop"}"#;
        assert_eq!(spot(more).map(|action| action.kind), Ok(SpotKind::Stop));
    }

    #[test]
    fn a_notice_in_an_unknown_shape_is_an_error_that_shows_it() {
        let table = [
            "",
            "null",
            "[]",
            "{}",
            "none",
            r#"{"action":"restart","time":"2017-09-18T08:22:00Z"}"#,
            r#"{"action":"terminate"}"#,
            r#"{"action":"terminate","time":"soon"}"#,
            r#"{"action":"terminate","time":"2017-09-"#,
            r#"{"action":"terminate","time":1505722920}"#,
            "<html><body>Service Unavailable</body></html>",
        ];
        for text in table {
            let error = spot(text).expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
            assert!(rebalance(text).is_err(), "{text}");
        }
        let long = "x".repeat(60_000);
        assert!(spot(&long).expect_err("no JSON").to_string().len() < 400);
    }

    #[test]
    fn rebalance_recommendations_are_read() {
        let text = "{\"noticeTime\":\"2020-10-27T08:22:00Z\"}\n";
        assert_eq!(rebalance(text), Ok(at("2020-10-27T08:22:00Z")));
    }

    #[test]
    fn scheduled_events_are_read() {
        let text = r#"[ {
            "NotBefore" : "21 Jan 2019 09:00:43 GMT",
            "Code" : "system-reboot",
            "Description" : "scheduled reboot",
            "EventId" : "instance-event-0d59937288b749b32",
            "NotAfter" : "21 Jan 2019 09:17:23 GMT",
            "State" : "active"
        } ]
        "#;
        let expected = Maintenance {
            id: "instance-event-0d59937288b749b32".to_owned(),
            code: MaintenanceCode::SystemReboot,
            description: "scheduled reboot".to_owned(),
            state: EventState::Active,
            not_before: Some(at("2019-01-21T09:00:43Z")),
            not_after: Some(at("2019-01-21T09:17:23Z")),
        };
        assert_eq!(maintenance(text), Ok(vec![expected.clone()]));
        let alone = text.trim().trim_start_matches('[').trim_end_matches(']');
        assert_eq!(maintenance(alone), Ok(vec![expected]));
    }

    #[test]
    fn an_event_needs_nothing_but_its_code() {
        for rest in [
            "",
            r#","NotAfter":"","NotBefore":"","EventId":null,"State":null"#,
            r#","NotBefore":"soon","NotBeforeDeadline":"1 Jan 2030 00:00:00 GMT""#,
        ] {
            let text = format!(r#"[{{"Code":"instance-vanish"{rest}}}]"#);
            let events = maintenance(&text).expect("readable");
            let [event] = &events[..] else {
                panic!("{events:?}")
            };
            assert_eq!(event.code.as_str(), "instance-vanish");
            assert_eq!((event.not_before, event.not_after), (None, None));
            assert_eq!(event.state, EventState::Active);
        }
        assert!(maintenance("[{}]").is_err());
        assert!(maintenance("{}").is_err());
        assert!(maintenance("[null]").is_err());
        assert!(maintenance("nothing").is_err());
        assert_eq!(maintenance("[]\n"), Ok(Vec::new()));
        assert_eq!(maintenance(" \n"), Ok(Vec::new()));
    }

    #[test]
    fn events_that_are_over_say_so_in_their_state_or_their_description() {
        let table = [
            ("active", "", EventState::Active),
            ("", "scheduled reboot", EventState::Active),
            ("completed", "", EventState::Over),
            ("canceled", "", EventState::Over),
            ("cancelled", "", EventState::Over),
            ("Canceled", "", EventState::Over),
            ("active", "[Completed] scheduled reboot", EventState::Over),
            ("", "[Canceled] scheduled reboot", EventState::Over),
            ("closed", "", EventState::Other),
        ];
        for (word, description, expected) in table {
            assert_eq!(state(word, description), expected, "{word} {description}");
        }
    }

    #[test]
    fn target_states_are_an_open_set_of_words() {
        for word in [
            "InService",
            "Standby",
            "Detached",
            "Terminated",
            "Warmed:Stopped",
            "Warmed:Running",
            "Warmed:Hibernated",
            "Warmed:Terminated",
        ] {
            let read = target(&format!("{word}\n")).expect("a state");
            assert!(!matches!(read, Target::Other(_)), "{word}");
            assert_eq!(read.as_str(), word);
        }
        let new = target("Quarantined").expect("a state");
        assert_eq!(new, Target::Other("Quarantined".to_owned()));
        for text in ["", "\n", "<html>", "In Service", &"x".repeat(65)] {
            assert!(target(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_body_is_too_strange(text in "\\PC{0,80}", cut in 0..200_usize) {
            let event = r#"[{"Code":"system-reboot","NotBefore":"21 Jan 2019 09:00:43 GMT"}]"#;
            let half = event.get(..cut).unwrap_or(event);
            for text in [&text[..], half] {
                let _ = (spot(text), rebalance(text), maintenance(text), target(text));
            }
        }
    }
}
