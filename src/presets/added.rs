//! What a preset adds to an agent's arguments and environment, as its file says it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::source::Source;
use super::template::Template;

/// Arguments that the agent is given beside its own, all or none of them.
#[derive(Debug, Clone)]
pub struct Added {
    /// The first, up to a `=`, is what must not be there already.
    pub args: Vec<Template>,
    pub unless: Vec<Source>,
}

impl<'de> Deserialize<'de> for Added {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Added;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a list of arguments, like [\"--flag\", \"value\"], or a table with 'args'",
                )
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Added, A::Error> {
                let args = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Added::new(args, Vec::new()).map_err(Error::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Added, A::Error> {
                let raw = RawAdded::deserialize(MapAccessDeserializer::new(map))?;
                Added::new(raw.args, raw.unless).map_err(Error::custom)
            }
        }
        input.deserialize_any(Form)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdded {
    args: Vec<Template>,
    #[serde(default)]
    unless: Vec<Source>,
}

impl Added {
    fn new(args: Vec<Template>, unless: Vec<Source>) -> Result<Added, &'static str> {
        if args.is_empty() {
            return Err("a group of arguments is empty");
        }
        Ok(Added { args, unless })
    }
}

/// A variable's value, for an agent that has neither the variable nor one of these.
#[derive(Debug, Clone)]
pub struct Given {
    pub value: Template,
    pub unless: Vec<Source>,
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Given;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, or a table with 'value' and 'unless'")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Given, E> {
                let value = Template::deserialize(StrDeserializer::new(value))?;
                let unless = Vec::new();
                Ok(Given { value, unless })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Given, A::Error> {
                let RawGiven { value, unless } =
                    RawGiven::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Given { value, unless })
            }
        }
        input.deserialize_any(Form)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGiven {
    value: Template,
    unless: Vec<Source>,
}

/// An agent that can be told to end by itself after one job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SingleJob {
    /// Its user has told it so.
    #[serde(default)]
    pub when: Vec<Source>,
    /// What tells it so.
    #[serde(default)]
    pub add_args: Vec<Added>,
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
}

impl SingleJob {
    /// We know how to tell it.
    pub fn can_be_told(&self) -> bool {
        !self.add_args.is_empty() || !self.env.is_empty()
    }
}
