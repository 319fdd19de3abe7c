//! Lists of several pages.

use serde::de::DeserializeOwned;

use crate::poll::http::{Site, merge_hints};
use crate::poll::plan::Hints;
use crate::poll::source::SourceError;

/// With a hundred entries each, and half a second a page, more than fits in a round.
const MOST_PAGES: usize = 30;

/// A list, as far as it was read.
#[derive(Debug)]
pub struct List<T> {
    pub entries: Vec<T>,
    pub hints: Hints,
    /// There is more. A list of jobs that is cut off has more than any maximum lets run, so it is
    /// better than none: who counts too few launches too few.
    pub cut: bool,
}

/// All pages of a list, which are linked as of RFC 8288.
pub async fn all<T: DeserializeOwned>(site: &Site, first: String) -> Result<List<T>, SourceError> {
    let (mut entries, mut hints) = (Vec::new(), Hints::default());
    let mut next = Some(first);
    for _ in 0..MOST_PAGES {
        let Some(url) = next.take() else {
            break;
        };
        let reply = site.get_url(&url, None).await?;
        entries.append(&mut reply.json()?);
        hints = merge_hints(hints, reply.hints);
        next = reply.next_link()?;
    }
    Ok(List {
        entries,
        hints,
        cut: next.is_some(),
    })
}
