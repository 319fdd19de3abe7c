//! The status page. Made whole on this side, so that it needs no script to be read; its script
//! only asks for it again and puts the new parts in the place of the old ones.

mod groups;
mod outside;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use super::chart;
use super::health::{self, date};
use super::history::{History, Sample, Span};
use super::html::{Text, fill, long};
use crate::poll::snapshot::{Breaker, Group, Snapshot};

const TEMPLATE: &str = include_str!("page/page.html");
pub const CSS: &str = include_str!("page/page.css");
pub const JS: &str = include_str!("page/page.js");

/// Seconds: until then there is more to see in the chart of ten minutes.
const YOUNG: f64 = 1200.0;
/// Of those that are told in full; `/healthz` has them all.
const PROBLEMS: usize = 10;

/// What the address asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Only groups with this in one of their names.
    pub filter: &'a str,
    /// From 1.
    pub page: usize,
    /// `None`: what the poller has lived through.
    pub span: Option<Span>,
}

impl Asked<'_> {
    /// The address of the same page but for this; as HTML.
    fn link(&self, page: usize, span: Span) -> String {
        let page = page.to_string();
        let mut pairs = Vec::new();
        if !self.filter.is_empty() {
            pairs.push(("q", self.filter));
        }
        if page != "1" {
            pairs.push(("page", &page));
        }
        pairs.push(("span", span.name()));
        let url = reqwest::Url::parse_with_params("http://localhost/", pairs);
        let query = url.ok().and_then(|url| url.query().map(str::to_owned));
        format!("?{}", Text(&query.unwrap_or_default()))
    }
}

/// The whole page, as of `now`, in seconds since 1970.
pub fn render(snapshot: &Snapshot, history: &History, asked: &Asked, now: f64) -> String {
    let span = asked.span.unwrap_or(if now - snapshot.started < YOUNG {
        Span::Minutes
    } else {
        Span::Hour
    });
    let problems = health::problems(snapshot, now);
    let state = State::of(snapshot, &problems);
    let groups = groups::table(snapshot, history, asked, span, now);
    // A person sees no difference below a second, and nothing changes faster than it is asked.
    let every = snapshot.interval.clamp(1.0, 10.0).round();
    fill(
        TEMPLATE,
        &[
            ("title", &title(snapshot, &state)),
            ("color", state.color()),
            ("every", &every.to_string()),
            ("state", &state.badges(snapshot)),
            ("problems", &list(&problems)),
            ("numbers", &numbers(snapshot)),
            (
                "chart",
                &large_chart(&history.all(span, now), asked, span, now),
            ),
            ("filter", &Text(asked.filter).to_string()),
            ("span", span.name()),
            ("count", &groups.count),
            ("groups", &groups.html),
            ("sources", &outside::sources(&snapshot.sources, now)),
            ("backends", &outside::backends(&snapshot.backends, now)),
            ("version", &Text(snapshot.version).to_string()),
            ("uptime", &long(now - snapshot.started)),
            ("interval", &long(snapshot.interval)),
            ("now", &date(now)),
        ],
    )
}

/// The poller in a word.
enum State {
    Good,
    /// So many groups cannot launch, or are unknown.
    Look(usize),
    /// So many sources and backends are silent.
    Bad(usize),
}

impl State {
    fn of(snapshot: &Snapshot, problems: &[String]) -> State {
        let troubled = snapshot.groups.iter().filter(|group| troubled(group));
        match (problems.len(), troubled.count()) {
            (0, 0) => State::Good,
            (0, groups) => State::Look(groups),
            (silent, _) => State::Bad(silent),
        }
    }

    /// Of the icon.
    fn color(&self) -> &'static str {
        match self {
            State::Good => "2f9e6e",
            State::Look(_) => "c98a00",
            State::Bad(_) => "b3261e",
        }
    }

    fn badges(&self, snapshot: &Snapshot) -> String {
        let mut badges = match *self {
            State::Good => badge("good", "all is well"),
            State::Look(1) => badge("warn", "1 group needs a look"),
            State::Look(groups) => badge("warn", &format!("{groups} groups need a look")),
            State::Bad(1) => badge("bad", "1 does not answer"),
            State::Bad(silent) => badge("bad", &format!("{silent} do not answer")),
        };
        if snapshot.dry_run {
            badges += &badge("warn", "dry run: launches nothing");
        }
        if !snapshot.leader {
            badges += &badge("warn", "standby: another poller launches");
        }
        badges
    }
}

/// Whether a person should look at it.
fn troubled(group: &Group) -> bool {
    group.unknown.is_some() || group.breaker != Breaker::Closed
}

/// How long the oldest job has waited, while one does.
fn oldest(group: &Group) -> Option<f64> {
    group.oldest.filter(|_| group.waiting != Some(0))
}

/// `class`: good, warn, bad.
fn badge(class: &str, text: &str) -> String {
    format!("<span class=\"badge {class}\">{}</span> ", Text(text))
}

fn title(snapshot: &Snapshot, state: &State) -> String {
    let mark = match state {
        State::Good => "",
        State::Look(_) => "! ",
        State::Bad(_) => "!! ",
    };
    let waiting = snapshot.waiting().unwrap_or(0);
    let running = snapshot.running().unwrap_or(0);
    format!("{mark}{waiting} waiting, {running} running · clockout")
}

fn list(problems: &[String]) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let shown = problems.iter().take(PROBLEMS);
    let mut items = shown.fold(String::new(), |mut items, problem| {
        let _ = write!(items, "<li>{}</li>", Text(problem));
        items
    });
    if let Some(more @ 1..) = problems.len().checked_sub(PROBLEMS) {
        let _ = write!(items, "<li>and {more} more</li>");
    }
    format!("<ul class=\"problems\">{items}</ul>")
}

fn numbers(snapshot: &Snapshot) -> String {
    let groups = &snapshot.groups;
    let oldest = groups.iter().filter_map(oldest);
    let oldest = oldest.reduce(f64::max);
    let oldest = oldest.map_or_else(String::new, |oldest| format!("oldest {}", long(oldest)));
    let count = |number: fn(&Group) -> Option<u32>| -> u64 {
        groups.iter().filter_map(number).map(u64::from).sum()
    };
    let booting = match count(|group| group.booting) {
        0 => String::new(),
        booting => format!("{booting} booting"),
    };
    let budget = snapshot.max_instances;
    let budget = budget.map_or_else(String::new, |most| {
        format!("{} of {most} allowed", snapshot.instances)
    });
    let about = [budget, booting];
    let about: Vec<&str> = about
        .iter()
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .collect();
    let unknown = groups.iter().filter(|group| group.unknown.is_some());
    let unknown = match unknown.count() {
        0 => String::new(),
        unknown => format!("{unknown} unknown"),
    };
    let launched: u64 = groups.iter().map(|group| group.launched_total).sum();
    [
        number("waiting", "Waiting", &known(snapshot.waiting()), &oldest),
        number("running", "Running", &known(snapshot.running()), ""),
        number(
            "alive",
            "Instances",
            &known(snapshot.alive()),
            &about.join(", "),
        ),
        number("", "Launched", &launched.to_string(), "since the start"),
        number("", "Groups", &groups.len().to_string(), &unknown),
    ]
    .concat()
}

fn number(class: &str, name: &str, number: &str, about: &str) -> String {
    format!(
        "<div class=\"{class}\"><small>{name}</small><b>{number}</b><small>{about}</small></div>"
    )
}

fn known(number: Option<u32>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

fn large_chart(samples: &[Sample], asked: &Asked, shown: Span, now: f64) -> String {
    let top = chart::top(samples);
    let spans = Span::ALL.map(|span| {
        let current = if span == shown {
            " aria-current=\"true\""
        } else {
            ""
        };
        let link = asked.link(asked.page, span);
        format!("<a href=\"{link}\"{current}>{}</a>", span.name())
    });
    let data: Vec<_> = samples
        .iter()
        .map(|sample| (sample.waiting, sample.running, sample.alive))
        .collect();
    // Numbers and `null`: nothing in it needs to be escaped.
    let data = serde_json::to_string(&data).unwrap_or_default();
    let svg = chart::draw("large", samples, shown, top);
    let width = chart::width(samples, shown);
    let back = width as f64 * f64::from(shown.step());
    format!(
        "<div class=\"legend\"><h2>Jobs and instances</h2><span class=\"key waiting\">waiting</span>\
         <span class=\"key running\">running</span><span class=\"key alive\">instances</span>\
         <nav aria-label=\"Time span\">{}</nav></div>\
         <div class=\"plot\"><small class=\"y\"><span>{top}</span><span>{}</span><span>0</span></small>\
         <div class=\"area\" data-step=\"{}\" data-width=\"{}\" data-now=\"{now:.0}\" \
         data-samples=\"{data}\">{svg}</div>\
         <small class=\"x\"><span>{} ago</span><span>now</span></small></div>",
        spans.concat(),
        top / 2,
        shown.step(),
        width,
        long(back),
    )
}
