//! One metric family after the other, as OpenMetrics wants them: each in one piece.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// The labels of one sample.
pub type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// A family without samples is left out. Help texts are sentences.
pub struct Families<'a>(DescriptorEncoder<'a>);

impl<'a> Families<'a> {
    pub fn new(encoder: DescriptorEncoder<'a>) -> Families<'a> {
        Families(encoder)
    }

    /// A gauge that there is once, if at all.
    pub fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return Ok(());
        };
        let (bare, unit) = split(name);
        let metric = ConstGauge::new(value);
        metric.encode((self.0).encode_descriptor(bare, help, unit.as_ref(), MetricType::Gauge)?)
    }

    pub fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l, N>, f64)>,
    ) -> fmt::Result {
        // Times and counts are finite; nobody could use anything else.
        let samples = samples.into_iter().filter(|(_, value)| value.is_finite());
        let samples = samples.map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, MetricType::Gauge, samples)
    }

    /// `name` without `_total`.
    pub fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let samples = samples.into_iter();
        let samples = samples.map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, MetricType::Counter, samples)
    }

    /// `name` without `_info`: labels that other families can be joined with.
    pub fn info<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Labels<'l, N>>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = (self.0).encode_descriptor(name, help, None, MetricType::Info)?;
        samples.try_for_each(|labels| family.encode_info(&labels))
    }

    fn family<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl Iterator<Item = (Labels<'l, N>, impl EncodeMetric)>,
    ) -> fmt::Result {
        let mut samples = samples.peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let (bare, unit) = split(name);
        let mut family = (self.0).encode_descriptor(bare, help, unit.as_ref(), kind)?;
        samples.try_for_each(|(labels, metric)| metric.encode(family.encode_family(&labels)?))
    }
}

/// The encoder adds the unit to the name by itself.
fn split(name: &str) -> (&str, Option<Unit>) {
    match name.strip_suffix("_seconds") {
        Some(bare) => (bare, Some(Unit::Seconds)),
        None => (name, None),
    }
}

/// 1 for yes.
pub fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}
