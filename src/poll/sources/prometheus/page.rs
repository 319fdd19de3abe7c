//! A page of metrics, in Prometheus' text format or OpenMetrics.

use crate::poll::http::first_words;

/// One line: a name, its labels, a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: f64,
}

/// `name`, or `name{label="value", ...}`: the series that have these labels, and maybe more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
}

impl Selector<'_> {
    pub fn parse(text: &str) -> Result<Selector<'_>, String> {
        let (name, labels, rest) = head(text.trim())?;
        if !rest.is_empty() {
            return Err("give name or name{label=\"value\"}".to_owned());
        }
        Ok(Selector { name, labels })
    }

    /// `None` when no series matches; NaN when one of them is.
    pub fn sum(&self, page: &[Series<'_>]) -> Option<f64> {
        let matching = page.iter().filter(|series| self.matches(series));
        matching
            .map(|series| series.value)
            .reduce(|sum, value| sum + value)
    }

    fn matches(&self, series: &Series<'_>) -> bool {
        series.name == self.name
            && self
                .labels
                .iter()
                .all(|wanted| series.labels.contains(wanted))
    }
}

/// Every line, so that what is no page of metrics is an error, and never one without series.
pub fn parse(page: &[u8]) -> Result<Vec<Series<'_>>, String> {
    let text = std::str::from_utf8(page).map_err(|_| "it is no text")?;
    let mut series = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        series.push(sample(line).map_err(|why| {
            let start = first_words(line.as_bytes(), 60);
            format!("line {number} is no metric ({why}): {start}")
        })?);
    }
    Ok(series)
}

fn sample(line: &str) -> Result<Series<'_>, String> {
    let (name, labels, rest) = head(line)?;
    // A time, and in OpenMetrics an exemplar, may follow.
    let value = rest
        .split_ascii_whitespace()
        .next()
        .ok_or("it has no value")?;
    let value = value.parse().map_err(|_| "its value is no number")?;
    Ok(Series {
        name,
        labels,
        value,
    })
}

type Head<'a> = (&'a str, Vec<(&'a str, String)>, &'a str);

/// Name, labels, and the rest without blanks in front.
fn head(text: &str) -> Result<Head<'_>, String> {
    let (name, mut rest) = word(text, |c| c == ':').ok_or("it has no name")?;
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner.trim_start();
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = word(rest, |_| false).ok_or("a label has no name")?;
            let after = after
                .trim_start()
                .strip_prefix('=')
                .ok_or("a label has no value")?;
            let (value, after) = quoted(after.trim_start()).ok_or("a label's value has no end")?;
            labels.push((label, value));
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if after.starts_with('}') => after,
                None => return Err("its labels have no end".to_owned()),
            };
        }
    } else if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err("its name is none".to_owned());
    }
    Ok((name, labels, rest.trim_start()))
}

/// A name at the beginning, and what follows.
fn word(text: &str, also: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || also(c);
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let good = word.starts_with(|c: char| !c.is_ascii_digit());
    good.then_some((word, rest))
}

/// A text in quotes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut letters = inner.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &inner[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = "\
# HELP drone_pending_jobs Total number of pending jobs.
# TYPE drone_pending_jobs gauge
drone_pending_jobs 7
drone_pending_jobs_total 70

ci_jobs{queue=\"linux\",state=\"waiting\"} 3 1395066363000
ci_jobs{ queue = \"linux\" , state = \"running\", } 2
ci_jobs{queue=\"mac, {\\\"big\\\"}\",state=\"waiting\"} 1e1
ci_jobs{queue=\"odd\",state=\"waiting\"} NaN
ci:rate5m{} +Inf
no_labels_but_braces{} 4 # {trace=\"x\"} 1
# EOF
";

    fn sum(selector: &str) -> Option<f64> {
        let page = parse(PAGE.as_bytes()).expect("a page");
        Selector::parse(selector).expect("a selector").sum(&page)
    }

    #[test]
    fn series_are_found_by_name_and_labels_and_added_up() {
        for (selector, expected) in [
            ("drone_pending_jobs", Some(7.0)),
            ("drone_pending", None),
            ("ci_jobs{queue=\"linux\"}", Some(5.0)),
            ("ci_jobs{queue=\"linux\",state=\"waiting\"}", Some(3.0)),
            ("ci_jobs{state=\"running\"}", Some(2.0)),
            ("ci_jobs{queue=\"mac, {\\\"big\\\"}\"}", Some(10.0)),
            ("ci_jobs{queue=\"windows\"}", None),
            ("ci:rate5m", Some(f64::INFINITY)),
            (" no_labels_but_braces{} ", Some(4.0)),
        ] {
            assert_eq!(sum(selector), expected, "{selector}");
        }
        assert!(sum("ci_jobs").expect("some").is_nan());
    }

    #[test]
    fn what_is_no_page_of_metrics_is_an_error() {
        for (page, expected) in [
            (
                "<html>\n<body>",
                "line 1 is no metric (it has no name): <html>",
            ),
            ("up 1\nup", "line 2 is no metric (it has no value): up"),
            ("up one", "its value is no number"),
            ("up{a=\"b} 1", "a label's value has no end"),
            ("up{a=\"b\" 1", "its labels have no end"),
            ("up{a} 1", "a label has no value"),
            ("up{\"a\"} 1", "a label has no name"),
            ("{\"error\": 1}", "it has no name"),
            ("up-1 1", "its name is none"),
            ("7up 1", "it has no name"),
        ] {
            let said = parse(page.as_bytes()).expect_err(page);
            assert!(said.contains(expected), "{said}");
        }
        assert!(parse(b"up \xff").is_err());
        assert_eq!(parse(b"\n# nothing\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_selector_is_no_query() {
        for text in [
            "",
            "sum(up)",
            "up > 1",
            "up{a=~\"b\"}",
            "up{a!=\"b\"}",
            "up[5m]",
            "{a=\"b\"}",
        ] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[a{}=,\"\\\\ 1\n#é]{0,40}") {
            let _ = parse(text.as_bytes());
            let _ = Selector::parse(&text);
        }
    }
}
