//! Lists of several pages.

use serde::de::DeserializeOwned;

use crate::poll::http::{Site, merge_hints};
use crate::poll::plan::Hints;
use crate::poll::source::SourceError;

/// Nobody has a longer list that is worth waiting for: with 100 each, and one second a page, the
/// round is over before.
const MOST_PAGES: usize = 50;

/// All of a list that comes in pages, linked as of RFC 8288.
pub async fn all<T: DeserializeOwned>(
    site: &Site,
    first: String,
) -> Result<(Vec<T>, Hints), SourceError> {
    let (mut list, mut hints) = (Vec::new(), Hints::default());
    let mut next = Some(first);
    for _ in 0..MOST_PAGES {
        let Some(url) = next else {
            return Ok((list, hints));
        };
        let reply = site.get_url(&url, None).await?;
        list.append(&mut reply.json()?);
        hints = merge_hints(hints, reply.hints);
        next = reply.next_link()?;
    }
    match next {
        None => Ok((list, hints)),
        Some(_) => Err(SourceError::Unreadable(format!(
            "the list has more than {MOST_PAGES} pages"
        ))),
    }
}
