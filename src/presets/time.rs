//! Durations in a preset file: `90s`, `10m`, `1h30m`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A positive duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        duration(input).map(Time)
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(input)?;
    match humantime::parse_duration(&text) {
        Ok(time) if time.is_zero() => Err(Error::custom("zero is refused: write how long")),
        Ok(time) => Ok(time),
        Err(_) => Err(Error::custom(format!(
            "'{text}' is no duration: write it with its units, like 90s, 10m or 1h30m"
        ))),
    }
}

pub(super) fn duration_or_none<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<Duration>, D::Error> {
    duration(input).map(Some)
}
