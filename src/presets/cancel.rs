//! How running jobs are ended, in a preset file, and how long that may take.

use std::fmt;
use std::time::Duration;

use regex::bytes::Regex;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::drain::{SignalName, Step, step};
use super::pattern::regex_or_none;
use super::source::{Setting, Source};
use super::template::Word;
use super::time::{Time, duration};
use super::view::View;

/// How running jobs are ended, and how long that may take until the agent is killed.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawCancel")]
pub struct Cancel {
    pub step: Step,
    /// As in [`Drain::process`].
    pub process: Option<Regex>,
    allow: Allow,
}

impl Cancel {
    /// How long this agent may take.
    pub fn allow(&self, view: &View) -> Duration {
        match &self.allow {
            Allow::Fixed(time) => *time,
            Allow::Told { setting, plus } => {
                let told = setting.time(view).unwrap_or_default();
                let time = told.saturating_add(plus.map_or(Duration::ZERO, |time| time.0));
                if time.is_zero() { TEN_SECONDS } else { time }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Allow {
    Fixed(Duration),
    Told {
        setting: Setting<Time>,
        plus: Option<Time>,
    },
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Allow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like \"10s\", or a table with 'from' and 'default'")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Allow, E> {
                duration(StrDeserializer::new(text)).map(Allow::Fixed)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Allow, A::Error> {
                let told = Told::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Allow::Told {
                    setting: Setting {
                        from: told.from,
                        default: Some(told.default),
                    },
                    plus: told.plus,
                })
            }
        }
        input.deserialize_any(Form)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    from: Vec<Source>,
    default: Time,
    plus: Option<Time>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCancel {
    signal: Option<SignalName>,
    command: Option<Vec<Word>>,
    #[serde(default, deserialize_with = "regex_or_none")]
    process: Option<Regex>,
    allow: Option<Allow>,
}

const TEN_SECONDS: Duration = Duration::from_secs(10);

impl TryFrom<RawCancel> for Cancel {
    type Error = &'static str;

    fn try_from(raw: RawCancel) -> Result<Self, Self::Error> {
        Ok(Cancel {
            step: step(raw.signal, raw.command)?.ok_or("give a 'signal' or a 'command'")?,
            process: raw.process,
            allow: raw.allow.unwrap_or(Allow::Fixed(TEN_SECONDS)),
        })
    }
}
