//! `/metrics`: the snapshot as OpenMetrics text, 1.0.0. What is unknown has no sample: an absent
//! number is not zero.

mod families;
mod groups;

use std::fmt::{self, Write as _};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use self::families::{Families, Labels, flag};
use crate::poll::snapshot::{Backend, Snapshot, Source};

/// For those who ask for it.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// For everybody else.
pub const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text, to be sent as [`OPENMETRICS`].
pub fn render(snapshot: &Arc<Snapshot>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(Arc::clone(snapshot))));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// The same in the older format, to be sent as [`PLAIN`]: there a family is called as its samples
/// are, and what it does not know is refused, with the whole page.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.rsplit_once(' ').unwrap_or((rest, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            let help = help.strip_prefix(name).unwrap_or_default();
            let _ = writeln!(plain, "# HELP {name}{suffix}{help}");
            let _ = writeln!(plain, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

#[derive(Debug)]
struct Metrics(Arc<Snapshot>);

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut to = Families::new(encoder);
        poller(&mut to, &self.0)?;
        groups::encode(&mut to, &self.0.groups)?;
        sources(&mut to, &self.0.sources)?;
        backends(&mut to, &self.0.backends)
    }
}

fn poller(to: &mut Families, of: &Snapshot) -> fmt::Result {
    let version = [("version", of.version)];
    to.info("clockout_build", "The version of clockout.", [version])?;
    to.gauge(
        "clockout_poll_start_time_seconds",
        "When the poller started, since 1970.",
        Some(of.started),
    )?;
    to.gauge(
        "clockout_poll_interval_seconds",
        "How often demand is read.",
        Some(of.interval),
    )?;
    to.gauge(
        "clockout_poll_leader",
        "1 if this poller may launch: it has the lease, or needs none.",
        Some(flag(of.leader)),
    )?;
    to.gauge(
        "clockout_poll_dry_run",
        "1 if nothing is ever launched.",
        Some(flag(of.dry_run)),
    )?;
    to.gauge(
        "clockout_poll_instances",
        "Instances of all groups that count against the budget.",
        Some(of.instances.into()),
    )?;
    to.gauge(
        "clockout_poll_max_instances",
        "The budget over all groups.",
        of.max_instances.map(f64::from),
    )
}

fn sources(to: &mut Families, sources: &[Source]) -> fmt::Result {
    let mut gauge = |name, help, value: fn(&Source) -> Option<f64>| {
        let told = sources.iter().filter_map(|s| Some((source(s), value(s)?)));
        to.gauges(name, help, told)
    };
    gauge(
        "clockout_source_up",
        "1 if the last round told something, 0 if it failed.",
        |source| Some(flag(source.error.is_none() && source.good.is_some())),
    )?;
    gauge(
        "clockout_source_last_success_timestamp_seconds",
        "When the source last told something, since 1970.",
        |source| source.good,
    )?;
    gauge(
        "clockout_source_round_seconds",
        "How long the last round took.",
        |source| source.took,
    )?;
    gauge(
        "clockout_source_queues",
        "Queues that are asked for.",
        |source| Some(source.queues as f64),
    )?;
    to.counters(
        "clockout_source_fetches",
        "Rounds that were begun.",
        sources.iter().map(|s| (source(s), s.fetches_total)),
    )?;
    to.counters(
        "clockout_source_errors",
        "Rounds that failed.",
        sources.iter().map(|s| (source(s), s.errors_total)),
    )
}

fn backends(to: &mut Families, backends: &[Backend]) -> fmt::Result {
    to.gauges(
        "clockout_backend_up",
        "1 if the last read told something, 0 if it failed.",
        (backends.iter()).map(|b| (backend(b), flag(b.error.is_none() && b.good.is_some()))),
    )?;
    to.gauges(
        "clockout_backend_last_success_timestamp_seconds",
        "When the backend last told something, since 1970.",
        backends.iter().filter_map(|b| Some((backend(b), b.good?))),
    )?;
    to.counters(
        "clockout_backend_errors",
        "Reads that failed.",
        backends.iter().map(|b| (backend(b), b.errors_total)),
    )?;
    to.counters(
        "clockout_backend_calls",
        "Calls that were made, by operation.",
        backends.iter().flat_map(|b| {
            let calls = b.calls_total.iter();
            calls.map(|(operation, n)| ([("backend", b.id.as_str()), ("operation", operation)], *n))
        }),
    )
}

fn source(source: &Source) -> Labels<'_, 1> {
    [("source", &source.id)]
}

fn backend(backend: &Backend) -> Labels<'_, 1> {
    [("backend", &backend.id)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::{group, snapshot};
    use super::*;

    fn rendered(snapshot: Snapshot) -> String {
        render(&Arc::new(snapshot)).unwrap()
    }

    #[test]
    fn what_is_known_has_a_sample_and_what_is_unknown_has_none() {
        let text = rendered(snapshot());
        for line in [
            "clockout_build_info{version=\"0.1.0\"} 1",
            "clockout_poll_instances 17.0",
            "clockout_group_waiting_jobs{group=\"linux-small\"} 7.0",
            "clockout_group_oldest_waiting_seconds{group=\"linux-small\"} 42.0",
            "clockout_group_known{group=\"legacy-drone\"} 0.0",
            "clockout_group_breaker_open{group=\"gpu-large\"} 1.0",
            "clockout_group_launched_instances_total{group=\"linux-small\"} 212",
            "clockout_group_launch_errors_total{group=\"linux-small\",kind=\"capacity\"} 3",
            "clockout_source_up{source=\"drone https://drone.example.org\"} 0.0",
            "clockout_backend_calls_total{backend=\"asg us-east-1\",operation=\"SetDesiredCapacity\"} 31",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(!text.contains("waiting_jobs{group=\"legacy-drone\"}"));
        assert!(!text.contains("NaN"));
    }

    #[test]
    fn names_from_tags_stay_inside_their_quotes() {
        let text = rendered(snapshot());
        let name = r#"{group="<script>alert('x')</script>\"&\\\n{{groups}}"} 0.0"#;
        let line = format!("clockout_group_waiting_jobs{name}");
        assert!(text.lines().any(|other| other == line), "{text}");
    }

    /// The parts of the format that scrapers refuse a whole page for.
    #[test]
    fn each_family_is_told_once_and_whole() {
        let text = rendered(snapshot());
        assert!(text.ends_with("# EOF\n"));
        let mut families = BTreeSet::new();
        let mut samples = BTreeSet::new();
        let mut family = "";
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(families.insert(name), "{name} is told twice");
                assert!(help.ends_with('.'), "{line}");
                family = name;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert_eq!(rest.split(' ').next(), Some(family));
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').unwrap();
                assert_eq!(name, family);
                assert!(name.ends_with(&format!("_{unit}")), "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(series.starts_with(family), "{line} is outside of {family}");
                assert!(samples.insert(series), "{series} is told twice");
                assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            }
        }
        assert!(families.len() > 30, "{families:?}");
    }

    #[test]
    fn the_older_format_calls_families_as_their_samples() {
        let text = plain(&rendered(snapshot()));
        for part in [
            "# HELP clockout_build_info The version of clockout.\n# TYPE clockout_build_info gauge\n\
             clockout_build_info{version=\"0.1.0\"} 1\n",
            "# TYPE clockout_source_fetches_total counter\nclockout_source_fetches_total{",
            "# TYPE clockout_group_oldest_waiting_seconds gauge\n\
             clockout_group_oldest_waiting_seconds{group=\"linux-small\"} 42.0\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let comments = text.lines().filter(|line| line.starts_with('#'));
        for line in comments {
            assert!(
                line.starts_with("# HELP") || line.starts_with("# TYPE"),
                "{line}"
            );
            assert!(!line.ends_with(" info"), "{line}");
        }
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(samples(&text), samples(&rendered(snapshot())));
    }

    #[test]
    fn a_poller_without_groups_has_metrics_too() {
        let text = rendered(Snapshot::default());
        assert!(text.contains("clockout_poll_leader 0.0\n"));
        assert!(!text.contains("clockout_group"));
    }

    #[test]
    fn five_thousand_groups_are_told() {
        let mut many = snapshot();
        many.groups = (0..5000).map(|n| group(&format!("group-{n}"))).collect();
        let text = rendered(many);
        let waiting = text.matches("\nclockout_group_waiting_jobs{").count();
        assert_eq!(waiting, 5000);
    }
}
