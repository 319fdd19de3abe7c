//! A round of Drone 0.8: the list of live builds, and then each of them.

use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Agent;
use super::builds::{Build, Feed, Zombie};
use crate::poll::http::{Site, encode};
use crate::poll::plan::{Harvest, Queue};
use crate::poll::source::{Later, Source, SourceError};
use crate::poll::sources::selector::of_queue;
use crate::poll::sources::tally::{Ages, Tally, since};
use crate::poll::together::together;

/// Builds that are looked at, the oldest first: more than that only wait for those.
const MOST_BUILDS: usize = 500;
/// Builds beyond the greatest age that are looked at too: they may be zombies.
const MOST_OLD: usize = 20;
/// Builds that are asked for at once.
const AT_ONCE: usize = 16;
/// A little less than a round may take.
const PATIENCE: Duration = Duration::from_secs(16);
/// Zombies that one round ends: should all builds look like ones, something else is wrong.
const MOST_KILLS: usize = 10;

pub struct Builds {
    site: Site,
    ages: Ages,
    kill_zombies: bool,
}

struct Chosen {
    feed: Vec<Feed>,
    /// So many at the front count; the others are only looked at.
    young: usize,
    remarks: Vec<String>,
}

impl Builds {
    pub fn new(site: Site, ages: Ages, kill_zombies: bool) -> Builds {
        Builds {
            site,
            ages,
            kill_zombies,
        }
    }

    async fn round(&self, queues: &[Queue]) -> Result<Harvest, SourceError> {
        let reply = self.site.get("/api/builds", &[]).await?;
        let now = reply.date();
        let feed: Option<Vec<Feed>> = reply.json()?;
        let chosen = self.choose(feed.unwrap_or_default(), now);
        let builds = self.look_at(&chosen.feed).await?;
        let mut harvest = Harvest {
            hints: reply.hints,
            ..Harvest::default()
        };
        for queue in queues {
            let told = of_queue(queue).map(|agent: Agent| {
                // For the greatest age they are chosen already.
                let mut tally = Tally::new(Ages {
                    max: None,
                    ..self.ages
                });
                for build in builds.iter().take(chosen.young).flatten() {
                    build.count(&agent, &mut tally, now);
                }
                tally.demand()
            });
            harvest.demands.push((queue.clone(), told));
        }
        harvest.remarks = chosen.remarks;
        let mut kills = 0;
        for (feed, build) in chosen.feed.iter().zip(&builds) {
            if let Some(zombie) = build.as_ref().and_then(|build| build.zombie(now)) {
                let kill = self.kill_zombies && kills < MOST_KILLS;
                kills += usize::from(kill);
                harvest.remarks.push(self.report(feed, zombie, kill).await);
            }
        }
        Ok(harvest)
    }

    /// The builds worth looking at, and what is to be said of the others.
    fn choose(&self, feed: Vec<Feed>, now: SystemTime) -> Chosen {
        let is_old = |feed: &Feed| {
            let created = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(feed.created));
            let age = created
                .filter(|_| feed.created > 0)
                .map(|then| since(then, now));
            age.zip(self.ages.max).is_some_and(|(age, max)| age > max)
        };
        let (mut old, mut feed): (Vec<_>, Vec<_>) = feed.into_iter().partition(is_old);
        let mut remarks = Vec::new();
        if let Some(max) = self.ages.max.filter(|_| !old.is_empty()) {
            let (old, max) = (old.len(), humantime::format_duration(max));
            remarks.push(format!(
                "builds older than max_age = {max}, which do not count: {old}"
            ));
        }
        feed.sort_by_key(|feed| feed.created);
        if feed.len() > MOST_BUILDS {
            let more = feed.len() - MOST_BUILDS;
            remarks.push(format!(
                "builds beyond {MOST_BUILDS}, which were not looked at: {more}"
            ));
            feed.truncate(MOST_BUILDS);
        }
        let young = feed.len();
        old.truncate(MOST_OLD);
        feed.append(&mut old);
        Chosen {
            feed,
            young,
            remarks,
        }
    }

    /// Each of them; `None` is gone. One that cannot be read makes all unknown: what is left would
    /// be too few running jobs.
    async fn look_at(&self, feed: &[Feed]) -> Result<Vec<Option<Build>>, SourceError> {
        let jobs = feed.iter().map(|feed| async move {
            match self.site.get(&path(feed), &[]).await {
                Ok(reply) => reply.json().map(Some),
                Err(SourceError::Missing(_)) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let builds = together(jobs, AT_ONCE, Instant::now() + PATIENCE).await;
        let late = || {
            let text = format!("{} builds could not be read in time", feed.len());
            Err(SourceError::Unreachable(text))
        };
        builds
            .into_iter()
            .map(|build| build.unwrap_or_else(late))
            .collect()
    }

    async fn report(&self, feed: &Feed, zombie: Zombie, kill: bool) -> String {
        let Feed {
            owner,
            name,
            number,
            ..
        } = feed;
        let what = format!("zombie {owner}/{name} #{number}: {zombie}");
        if !kill {
            return what;
        }
        match self.site.delete(&path(feed)).await {
            Ok(_) => format!("{what}; ended"),
            Err(error) => format!("{what}; cannot be ended: {error}"),
        }
    }
}

fn path(feed: &Feed) -> String {
    let (owner, name) = (encode(&feed.owner), encode(&feed.name));
    format!("/api/repos/{owner}/{name}/builds/{}", feed.number)
}

impl fmt::Display for Zombie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Zombie::Empty => "it runs without any process",
            Zombie::Cancelled => "it was cancelled, and its steps have not ended",
        })
    }
}

impl Source for Builds {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(self.round(queues))
    }
}
