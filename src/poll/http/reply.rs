//! A good answer of a server, and what can be read from it.

use std::time::SystemTime;

use hyper::body::Bytes;
use reqwest::Url;
use reqwest::header::{DATE, HeaderMap, LINK};
use serde::de::DeserializeOwned;

use crate::instance::parse_date;
use crate::poll::plan::Hints;
use crate::poll::source::SourceError;

/// A good answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// 2xx, or 304 where an ETag was given.
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// When the server wants to be asked again.
    pub hints: Hints,
    /// Where it is from, after redirections.
    pub(super) url: Url,
    /// What was asked, for errors: method and address without the query.
    pub(super) what: String,
}

impl Reply {
    /// The body as JSON. The error says where in it the fault is.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        self.parse(parse_json)
    }

    /// What `read` makes of the body; its complaint gets the address in front.
    pub fn parse<'a, T>(
        &'a self,
        read: impl FnOnce(&'a [u8]) -> Result<T, String>,
    ) -> Result<T, SourceError> {
        read(&self.body).map_err(|why| self.unreadable(&why))
    }

    /// The next page of a list (RFC 8288), `None` after the last. A page on another server, or
    /// without TLS where this one had it, is an error: the token would go there.
    pub fn next_link(&self) -> Result<Option<String>, SourceError> {
        for header in self.headers.get_all(LINK) {
            let header = header
                .to_str()
                .map_err(|_| self.unreadable("its Link is no text"))?;
            let Some(target) = next_of(header) else {
                continue;
            };
            let next = self.url.join(target);
            let next = next.map_err(|_| self.unreadable("its next page is no address"))?;
            if next.origin() != self.url.origin() {
                let to = super::shown(next.as_str());
                return Err(self.unreadable(&format!(
                    "its next page is elsewhere ({to}), where no token is sent: is the server's \
                     own address set right?"
                )));
            }
            return Ok(Some(next.into()));
        }
        Ok(None)
    }

    /// The server's clock, or ours where it does not tell: what its times are compared with.
    pub fn date(&self) -> SystemTime {
        let date = self.headers.get(DATE).and_then(|date| date.to_str().ok());
        date.and_then(parse_date).unwrap_or_else(SystemTime::now)
    }

    fn unreadable(&self, why: &str) -> SourceError {
        SourceError::Unreadable(format!("{}: {why}", self.what))
    }
}

/// Reads JSON; the complaint says where the fault is, and how another text begins.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        if body.trim_ascii().is_empty() {
            "the answer is empty".to_owned()
        } else if error.is_data() || matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
            format!("the answer is not as expected: {error}")
        } else {
            let start = first_words(body, 60);
            format!("the answer is no JSON (is the url right?), it begins: {start}")
        }
    })
}

/// The beginning in one line, without control characters.
pub fn first_words(body: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * most)]);
    let mut words = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if !word.is_empty() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
    }
    match words.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words,
    }
}

/// The target with `rel="next"` in a `Link` header.
fn next_of(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        // Commas separate links, but are allowed in targets and quoted parameters too.
        let (parameters, others) = split_unquoted(after, b',');
        if is_next(parameters) {
            return Some(target);
        }
        rest = others;
    }
    None
}

fn is_next(mut parameters: &str) -> bool {
    while !parameters.is_empty() {
        let (parameter, others) = split_unquoted(parameters, b';');
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let mut values = value.trim().trim_matches('"').split_ascii_whitespace();
        if name.trim().eq_ignore_ascii_case("rel")
            && values.any(|rel| rel.eq_ignore_ascii_case("next"))
        {
            return true;
        }
        parameters = others;
    }
    false
}

/// At the first of these that is not within quotes.
fn split_unquoted(text: &str, separator: u8) -> (&str, &str) {
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        let table = [
            (
                "<https://a/?page=2>; rel=\"next\"",
                Some("https://a/?page=2"),
            ),
            (
                "<https://a/?p=1>; rel=\"prev\", <https://a/?p=3>; rel=\"next\", <https://a/?p=9>; rel=\"last\"",
                Some("https://a/?p=3"),
            ),
            (
                "<a,b>; title=\"x, <y>; rel=next\"; rel=last, <c>;rel=next",
                Some("c"),
            ),
            ("<c>; REL=NEXT", Some("c")),
            ("<c>; rel=\"last next\"", Some("c")),
            ("<c>; rel=\"nextish\"", None),
            ("<https://a/?page=1>; rel=\"first\"", None),
            ("", None),
            ("<", None),
            ("<c", None),
            ("c>; rel=next", None),
        ];
        for (header, expected) in table {
            assert_eq!(next_of(header), expected, "{header}");
        }
    }

    #[test]
    fn another_text_than_json_is_shown_by_its_beginning() {
        let read = |body: &[u8]| parse_json::<Vec<u32>>(body).expect_err("refused");
        assert_eq!(read(b" \n"), "the answer is empty");
        let html = format!("<!DOCTYPE html>\n<html>\t<head>\x1b{}", "x".repeat(9000));
        let said = read(html.as_bytes());
        let start = "it begins: <!DOCTYPE html> <html> <head> xxx";
        assert!(said.contains(start) && said.ends_with("x..."), "{said}");
        assert!(said.len() < 150, "{said}");
        let said = read(b"[1, 2");
        assert!(said.contains("line 1 column 5"), "{said}");
        let said = read(b"[1, {}]");
        assert!(said.contains("invalid type: map, expected u32"), "{said}");
        assert_eq!(parse_json(b"\n[1, 2]\n"), Ok(vec![1, 2]));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(body in any::<Vec<u8>>(), header in "[<>;,=\"a ]{0,30}") {
            let _ = parse_json::<Vec<u32>>(&body);
            prop_assert!(first_words(&body, 10).chars().count() <= 13);
            let _ = next_of(&header);
        }
    }
}
