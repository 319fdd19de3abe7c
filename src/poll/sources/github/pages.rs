//! Lists of several pages, of which those that did not change cost nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use super::jobs::{Jobs, Repo, Runs};
use super::rate::Rate;
use crate::poll::http::{Site, etag, merge_hints};
use crate::poll::plan::Hints;
use crate::poll::source::SourceError;

/// GitHub lists 1000 runs at most, and has no more than 256 jobs in a run's matrix.
const MOST_PAGES: usize = 50;

/// Rounds for which a page is kept that nobody asked for again.
const KEPT: u64 = 3;

/// A kind of page, and where pages of it are kept.
pub trait Page: DeserializeOwned {
    fn kept(pages: &Pages) -> &Kept<Self>;
}

macro_rules! pages {
    ($($page:ty: $field:ident),*) => { $(
        impl Page for $page {
            fn kept(pages: &Pages) -> &Kept<Self> {
                &pages.$field
            }
        }
    )* };
}

pages!(Vec<Repo>: repos, Runs: runs, Jobs: jobs);

pub type Kept<T> = RefCell<HashMap<String, Seen<T>>>;

/// What was answered last, by address, and what asking has cost.
#[derive(Debug, Default)]
pub struct Pages {
    repos: Kept<Vec<Repo>>,
    runs: Kept<Runs>,
    jobs: Kept<Jobs>,
    round: Cell<u64>,
    /// Of this round, in answers that were not 304.
    cost: Cell<u32>,
    /// Of the rounds of late.
    usual: Cell<u32>,
    rate: Cell<Option<Rate>>,
    hints: Cell<Hints>,
}

#[derive(Debug)]
pub struct Seen<T> {
    etag: String,
    page: Rc<T>,
    next: Option<String>,
    round: u64,
}

impl Pages {
    /// Begins a round: forgets what the last ones did not ask for.
    pub fn begin(&self) {
        let round = self.round.get() + 1;
        self.round.set(round);
        self.cost.set(0);
        self.hints.set(Hints::default());
        fn forget<T>(kept: &Kept<T>, round: u64) {
            kept.borrow_mut()
                .retain(|_, seen| seen.round + KEPT >= round);
        }
        forget(&self.repos, round);
        forget(&self.runs, round);
        forget(&self.jobs, round);
    }

    /// When to come again, by what rounds cost of late. The first one reads everything, which says
    /// nothing of the next.
    pub fn end(&self) -> Hints {
        if self.round.get() > 1 {
            let both = self.usual.get().saturating_add(self.cost.get());
            self.usual.set(both.div_ceil(2));
        }
        let every = self
            .rate
            .get()
            .and_then(|rate| rate.every(self.usual.get()));
        let paced = Hints {
            not_before: None,
            every,
        };
        merge_hints(self.hints.get(), paced)
    }

    /// All pages from this one on.
    pub async fn all<T: Page>(
        &self,
        site: &Site,
        first: String,
    ) -> Result<Vec<Rc<T>>, SourceError> {
        let mut pages = Vec::new();
        let mut next = Some(first);
        while let Some(url) = next.filter(|_| pages.len() < MOST_PAGES) {
            let page;
            (page, next) = self.one(site, url).await?;
            pages.push(page);
        }
        Ok(pages)
    }

    async fn one<T: Page>(
        &self,
        site: &Site,
        url: String,
    ) -> Result<(Rc<T>, Option<String>), SourceError> {
        // What is known is kept until its answer is there: not borrowed while others ask.
        let known = T::kept(self)
            .borrow()
            .get(&url)
            .map(|seen| seen.etag.clone());
        let reply = site.get_url(&url, known.as_deref()).await?;
        self.rate
            .set(Rate::read(&reply.headers).or(self.rate.get()));
        self.hints.set(merge_hints(self.hints.get(), reply.hints));
        let mut kept = T::kept(self).borrow_mut();
        if reply.status == 304 {
            let Some(seen) = kept.get_mut(&url) else {
                return Err(SourceError::Unreadable(format!(
                    "304 for {url}, which was not asked for"
                )));
            };
            seen.round = self.round.get();
            return Ok((Rc::clone(&seen.page), seen.next.clone()));
        }
        self.cost.set(self.cost.get() + 1);
        let page = Rc::new(reply.json::<T>()?);
        let next = reply.next_link()?;
        match etag(&reply) {
            Some(etag) => {
                let seen = Seen {
                    etag: etag.to_owned(),
                    page: Rc::clone(&page),
                    next: next.clone(),
                    round: self.round.get(),
                };
                kept.insert(url, seen);
            }
            None => drop(kept.remove(&url)),
        }
        Ok((page, next))
    }
}
