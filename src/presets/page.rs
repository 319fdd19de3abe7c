//! A page of the agent's own, in a preset file: how it is asked for, and what it says.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer};

use super::pattern::{Pointer, one_or_many};

/// What is sent with each question.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Headers(pub HeaderMap);

impl TryFrom<BTreeMap<String, String>> for Headers {
    type Error = String;

    fn try_from(raw: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in raw {
            // The value may be a secret: it is not shown.
            let wrong = || format!("header '{name}' cannot be sent");
            let value = HeaderValue::from_str(&value).map_err(|_| wrong())?;
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?,
                value,
            );
        }
        Ok(Headers(headers))
    }
}

/// Where a page says how many jobs run: exactly one way.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawPage")]
pub enum Page {
    /// A number in JSON.
    Number(Pointer),
    /// The entries of a JSON array that are jobs: those in which each of these has one of its
    /// values.
    Array {
        array: Pointer,
        only: BTreeMap<Pointer, Vec<String>>,
    },
    /// Each key of a JSON object is a job.
    Keys(Pointer),
    /// Prometheus text: the sum of all series of this name.
    Gauge(String),
    /// Prometheus text: the first counter's sum less the second's.
    Counters { started: String, ended: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPage {
    number: Option<Pointer>,
    array: Option<Pointer>,
    #[serde(rename = "where")]
    only: Option<BTreeMap<Pointer, Values>>,
    keys: Option<Pointer>,
    gauge: Option<String>,
    started: Option<String>,
    ended: Option<String>,
}

impl TryFrom<RawPage> for Page {
    type Error = &'static str;

    fn try_from(raw: RawPage) -> Result<Self, Self::Error> {
        let only = raw.only;
        match (
            raw.number,
            raw.array,
            raw.keys,
            raw.gauge,
            raw.started,
            raw.ended,
        ) {
            (None, Some(array), None, None, None, None) => {
                let only = only.unwrap_or_default();
                let only = only
                    .into_iter()
                    .map(|(at, values)| (at, values.0))
                    .collect();
                Ok(Page::Array { array, only })
            }
            _ if only.is_some() => Err("'where' belongs to 'array'"),
            (Some(at), None, None, None, None, None) => Ok(Page::Number(at)),
            (None, None, Some(at), None, None, None) => Ok(Page::Keys(at)),
            (None, None, None, Some(metric), None, None) => Ok(Page::Gauge(metric)),
            (None, None, None, None, Some(started), Some(ended)) => {
                Ok(Page::Counters { started, ended })
            }
            _ => Err("give exactly one of 'number', 'array', 'keys', 'gauge', \
                      or 'started' with 'ended'"),
        }
    }
}

struct Values(Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        one_or_many(input).map(Values)
    }
}
