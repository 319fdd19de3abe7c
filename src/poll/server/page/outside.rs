//! The tables of what is asked: CI servers, and where the groups live.

use super::badge;
use crate::poll::server::html::{Text, long};
use crate::poll::snapshot::{Backend, Source};

/// Rows of each table: who has a source or a command a group may have thousands.
const ROWS: usize = 50;

pub fn sources(sources: &[Source], now: f64) -> String {
    let mut shown: Vec<&Source> = sources.iter().collect();
    shown.sort_by_key(|source| (source.error.is_none(), &source.id));
    let rows = shown.iter().take(ROWS);
    let rows: String = rows.map(|source| source_row(source, now)).collect();
    let more = more(shown.len());
    format!(
        "<h2>Sources</h2><table><thead><tr><th>Source<th>Last told<th class=\"n\">Queues\
         <th class=\"n\">Took<th class=\"n\">Rounds<th class=\"n\">Failed<th>What it says\
         </tr></thead><tbody>{rows}</tbody></table>{more}"
    )
}

fn source_row(source: &Source, now: f64) -> String {
    let next = match source.next.filter(|next| *next > now) {
        Some(next) => format!("<small>again in {}</small>", long(next - now)),
        None => String::new(),
    };
    let remarks: String = (source.remarks.iter())
        .map(|remark| format!("<span>{}</span><br>", Text(remark)))
        .collect();
    format!(
        "<tr><td class=\"name\"><b>{}</b></td><td class=\"wide\">{}{next}</td>{}{}{}{}\
         <td class=\"why\">{}{remarks}</td></tr>",
        Text(&source.id),
        told(source.good, &source.error, now),
        cell("Queues", source.queues),
        cell("Took", source.took.map_or_else(|| "?".to_owned(), long)),
        cell("Rounds", source.fetches_total),
        cell("Failed", source.errors_total),
        error(&source.error),
    )
}

pub fn backends(backends: &[Backend], now: f64) -> String {
    let mut shown: Vec<&Backend> = backends.iter().collect();
    shown.sort_by_key(|backend| (backend.error.is_none(), &backend.id));
    let rows = shown.iter().take(ROWS);
    let rows: String = rows.map(|backend| backend_row(backend, now)).collect();
    let more = more(shown.len());
    format!(
        "<h2>Backends</h2><table><thead><tr><th>Backend<th>Last told<th class=\"n\">Failed\
         <th>Calls<th>What it says</tr></thead><tbody>{rows}</tbody></table>{more}"
    )
}

fn backend_row(backend: &Backend, now: f64) -> String {
    let calls: String = (backend.calls_total.iter())
        .map(|(operation, count)| format!("<span>{count} {}</span><br>", Text(operation)))
        .collect();
    format!(
        "<tr><td class=\"name\"><b>{}</b></td><td class=\"wide\">{}</td>{}\
         <td class=\"wide soft\">{calls}</td><td class=\"why\">{}</td></tr>",
        Text(&backend.id),
        told(backend.good, &backend.error, now),
        cell("Failed", backend.errors_total),
        error(&backend.error),
    )
}

/// What was left out: those without an error.
fn more(all: usize) -> String {
    match all.saturating_sub(ROWS) {
        0 => String::new(),
        more => format!("<p class=\"empty\">and {more} more, in status.json</p>"),
    }
}

fn told(good: Option<f64>, error: &Option<String>, now: f64) -> String {
    let ago = good.map_or_else(|| "never".to_owned(), |good| long(now - good) + " ago");
    match (error, good) {
        (Some(_), _) => badge("bad", &ago),
        (None, Some(_)) => badge("good", &ago),
        (None, None) => badge("", &ago),
    }
}

fn cell(name: &str, value: impl std::fmt::Display) -> String {
    format!("<td class=\"n\" data-name=\"{name}\">{value}</td>")
}

fn error(error: &Option<String>) -> String {
    error.as_ref().map_or_else(String::new, |error| {
        format!("<span class=\"bad-text\">{}</span><br>", Text(error))
    })
}
