//! The table of groups: the busy ones first, a hundred a page.

use std::cmp::Reverse;

use super::{Asked, badge, known, oldest, troubled};
use crate::poll::server::chart;
use crate::poll::server::history::{History, Sample, Span};
use crate::poll::server::html::{Text, long};
use crate::poll::snapshot::{Breaker, Group, Snapshot};

/// Groups on a page.
const ROWS: usize = 100;

pub struct Table {
    /// How many are shown, of how many.
    pub count: String,
    pub html: String,
}

pub fn table(snapshot: &Snapshot, history: &History, asked: &Asked, span: Span, now: f64) -> Table {
    let found = find(&snapshot.groups, asked.filter);
    let pages = found.len().div_ceil(ROWS).max(1);
    let page = asked.page.clamp(1, pages);
    let shown = found.iter().skip((page - 1) * ROWS).take(ROWS);
    let rows: String = shown
        .map(|group| row(group, &history.group(&group.id, span, now), span, now))
        .collect();
    let count = if asked.filter.is_empty() {
        found.len().to_string()
    } else {
        format!("{} of {}", found.len(), snapshot.groups.len())
    };
    Table {
        count: format!("<span class=\"soft\">{count}</span>"),
        html: match (rows.is_empty(), snapshot.groups.is_empty()) {
            (true, true) => "<p class=\"empty\">There is no group yet.</p>".to_owned(),
            (true, false) => "<p class=\"empty\">No group has that in its names.</p>".to_owned(),
            (false, _) => format!(
                "{HEAD}{rows}</tbody></table>{}",
                pager(asked, span, page, pages)
            ),
        },
    }
}

const HEAD: &str = "<table><thead><tr><th>Group<th class=\"n\">Waiting<th class=\"n\">Running\
    <th class=\"n\">Alive<th class=\"n\">Booting<th class=\"n\">Desired<th>Of the maximum\
    <th>Last decision</tr></thead><tbody>";

/// The groups with `filter` in one of their names.
fn find<'a>(groups: &'a [Group], filter: &str) -> Vec<&'a Group> {
    let filter = filter.to_lowercase();
    let matches = |name: &str| name.to_lowercase().contains(&filter);
    let optional = |name: &Option<String>| name.as_deref().is_some_and(matches);
    let mut found: Vec<&Group> = groups
        .iter()
        .filter(|group| {
            matches(&group.id)
                || matches(&group.target)
                || optional(&group.queue)
                || optional(&group.source)
        })
        .collect();
    found.sort_by_cached_key(|group| {
        let load = (group.waiting, troubled(group), group.running, group.alive);
        (Reverse(load), group.id.as_str())
    });
    found
}

fn row(group: &Group, samples: &[Sample], span: Span, now: f64) -> String {
    let waiting = cell("Waiting", "waiting", group.waiting, oldest(group).map(long));
    let running = cell("Running", "running", group.running, None);
    let stale = group.stale.filter(|stale| *stale > 0);
    let stale = stale.map(|stale| format!("{stale} stale"));
    let alive = cell("Alive", "", group.alive, stale);
    let booting = cell("Booting", "", group.booting, None);
    let desired = cell("Desired", "", group.desired, None);
    let nothing = |sample: &Sample| {
        let numbers = [sample.waiting, sample.running, sample.alive];
        numbers.into_iter().flatten().all(|number| number == 0)
    };
    let spark = if samples.iter().all(nothing) {
        String::new()
    } else {
        chart::draw("spark", samples, span, chart::top(samples))
    };
    format!(
        "<tr><td class=\"name\">{}</td>{waiting}{running}{alive}{booting}{desired}\
         <td class=\"room\">{}{spark}</td><td class=\"why\">{}</td></tr>",
        name(group),
        room(group),
        why(group, now),
    )
}

fn name(group: &Group) -> String {
    let mut html = format!("<b>{}</b> ", Text(&group.id));
    if group.discovered {
        html += &badge("", "found by tag");
    }
    html += &format!("<small>{}</small>", Text(&group.target));
    if let Some(source) = &group.source {
        let queue = group.queue.as_deref().unwrap_or_default();
        html += &format!("<small>{} on {}</small>", Text(queue), Text(source));
    }
    if let Some(fallback) = &group.fallback {
        html += &format!("<small>else {}</small>", Text(fallback));
    }
    html
}

fn cell(name: &str, class: &str, number: Option<u32>, about: Option<String>) -> String {
    // What is not there needs no colour.
    let (zero, class) = match number {
        Some(0) => (" zero", ""),
        Some(_) | None => ("", class),
    };
    let about = about.map_or_else(String::new, |about| format!("<small>{about}</small>"));
    format!(
        "<td class=\"n{zero}\" data-name=\"{name}\"><b class=\"{class}\">{}</b>{about}</td>",
        known(number)
    )
}

/// What there is and what is on its way, as a part of what there may be.
fn room(group: &Group) -> String {
    let (Some(alive), Some(desired)) = (group.alive, group.desired) else {
        return "<small>unknown</small>".to_owned();
    };
    let booting = group.booting.unwrap_or(0);
    let stale = group.stale.unwrap_or(0);
    let up = alive.saturating_sub(booting).saturating_sub(stale);
    let coming = booting + desired.saturating_sub(alive);
    let whole = group.max.unwrap_or(0).max(alive).max(desired).max(1);
    let mut bar = format!(
        "<svg class=\"bar\" viewBox=\"0 0 {whole} 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
    );
    let mut left = 0_u32;
    for (class, width) in [("up", up), ("coming", coming), ("stale", stale)] {
        bar += &format!("<rect class=\"{class}\" x=\"{left}\" width=\"{width}\" height=\"1\"/>");
        left = left.saturating_add(width);
    }
    let max = group.max;
    let max = max.map_or_else(
        || "no maximum".to_owned(),
        |max| format!("{alive} of {max}"),
    );
    format!("{bar}</svg><small>{max}</small>")
}

fn why(group: &Group, now: f64) -> String {
    let mut html = String::new();
    if let Some(unknown) = &group.unknown {
        html += &badge("bad", "unknown");
        html += &format!("<span class=\"bad-text\">{}</span> ", Text(unknown));
    }
    match &group.breaker {
        Breaker::Closed => {}
        Breaker::Open { why, until } => {
            let left = until - now;
            let left = if left > 0.0 {
                format!("stopped for {}", long(left))
            } else {
                "stopped".to_owned()
            };
            html += &badge("bad", &left);
            html += &format!("{}. ", Text(why));
        }
        Breaker::HalfOpen { why } => {
            html += &badge("warn", "tries one");
            html += &format!("after: {}. ", Text(why));
        }
    }
    if let Some(decision) = &group.decision {
        html += &Text(decision).to_string();
    }
    let decided = group
        .decided
        .map(|decided| format!("{} ago", long(now - decided)));
    let boots = group
        .boot_p50
        .zip(group.boot_p95)
        .map(|(half, most)| format!("boots in {}, at most {}", long(half), long(most)));
    let launched = match group.launched_total {
        0 => None,
        launched => Some(format!("launched {launched}")),
    };
    let facts: Vec<String> = [decided, boots, launched].into_iter().flatten().collect();
    html + &format!("<small>{}</small>", facts.join(" · "))
}

fn pager(asked: &Asked, span: Span, page: usize, pages: usize) -> String {
    if pages == 1 {
        return String::new();
    }
    let link = |page: usize, text: &str| {
        let address = asked.link(page, span);
        format!("<a href=\"{address}\">{text}</a>")
    };
    let back = (page > 1).then(|| link(page - 1, "← previous"));
    let on = (page < pages).then(|| link(page + 1, "next →"));
    format!(
        "<nav class=\"pager\" aria-label=\"Pages\">{}<span>page {page} of {pages}</span>{}</nav>",
        back.unwrap_or_default(),
        on.unwrap_or_default(),
    )
}
