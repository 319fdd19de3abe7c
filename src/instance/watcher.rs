//! Looks at the machine's notices, over the one connection that [`Imds`] keeps.
//!
//! One request after the other, so that a service that throttles per instance is asked as little
//! as can be. A service in trouble gets one request a round, and the log two lines an episode:
//! `imds.unavailable` and `imds.available`.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::imds::{Imds, ImdsError};
use super::notices::parse::{self, BadNotice};
use super::notices::{Episode, News, NoticePolicy, OnRebalance, Reading, Round, Watch};

/// Of so many looks one is for what is told days ahead, or what nothing follows from.
const SELDOM: u32 = 6;

/// Something that the service may say, in the order of what is urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Spot,
    Target,
    Maintenance,
    Rebalance,
}

impl Topic {
    const ALL: [Topic; 4] = [
        Topic::Spot,
        Topic::Target,
        Topic::Maintenance,
        Topic::Rebalance,
    ];

    fn path(self) -> &'static str {
        match self {
            Topic::Spot => "meta-data/spot/instance-action",
            Topic::Target => "meta-data/autoscaling/target-lifecycle-state",
            Topic::Maintenance => "meta-data/events/maintenance/scheduled",
            Topic::Rebalance => "meta-data/events/recommendations/rebalance",
        }
    }

    /// Of how many looks one is for this.
    fn every(self, policy: &NoticePolicy) -> u32 {
        match self {
            Topic::Spot | Topic::Target => 1,
            Topic::Rebalance if policy.on_rebalance != OnRebalance::Ignore => 1,
            Topic::Maintenance | Topic::Rebalance => SELDOM,
        }
    }
}

/// Looks every [`NoticePolicy::interval`], and at once and at everything when poked; several pokes
/// are one look. Tells what is new, until the inbox is closed.
pub async fn watch<I: From<News>>(
    imds: Arc<Imds>,
    mut watch: Watch,
    poke: Arc<Notify>,
    inbox: mpsc::Sender<I>,
) {
    let policy = watch.policy();
    let mut eyes = Eyes::new(&policy);
    loop {
        let next = Instant::now() + policy.interval;
        eyes.open();
        // Told at once: what is asked next may take its time to fail.
        while let Some(round) = eyes.next(&imds).await {
            for news in watch.round(imds.clock(), &round) {
                if inbox.send(news.into()).await.is_err() {
                    return;
                }
            }
        }
        tokio::select! {
            () = sleep_until(next) => {}
            () = poke.notified() => eyes.waits = Default::default(),
            () = inbox.closed() => return,
        }
    }
}

/// One look, for who has to know before anything begins. Takes seconds at most: where the service
/// is silent about one thing it is not asked for the rest.
pub async fn look(imds: &Imds) -> Round {
    let mut round = Round::default();
    for topic in Topic::ALL {
        match read(imds, topic, &mut round).await {
            Ok(_) | Err(ImdsError::Status { .. } | ImdsError::NotText { .. }) => {}
            Err(ImdsError::NoAnswer { .. }) => break,
        }
    }
    round
}

/// A series of looks. Each ends at the first failure, and the next one begins behind that: a topic
/// that always fails hides no other.
#[derive(Debug)]
struct Eyes {
    /// What is left of this look, as indices of [`Topic::ALL`].
    left: VecDeque<usize>,
    /// The one that the next look begins with.
    first: usize,
    /// In how many looks each is due, and how often it is.
    waits: [u32; Topic::ALL.len()],
    every: [u32; Topic::ALL.len()],
    silence: Episode,
    nonsense: [Episode; Topic::ALL.len()],
}

impl Eyes {
    fn new(policy: &NoticePolicy) -> Eyes {
        Eyes {
            left: VecDeque::new(),
            first: 0,
            waits: Default::default(),
            every: Topic::ALL.map(|topic| topic.every(policy)),
            silence: Episode::default(),
            nonsense: Default::default(),
        }
    }

    /// Begins a look.
    fn open(&mut self) {
        self.waits = self.waits.map(|looks| looks.saturating_sub(1));
        let topics = Topic::ALL.len();
        let in_turn = (self.first..self.first + topics).map(|index| index % topics);
        self.left = in_turn.filter(|&index| self.waits[index] == 0).collect();
    }

    /// What the service says to the next topic; `None` when this look is over.
    async fn next(&mut self, imds: &Imds) -> Option<Round> {
        let index = self.left.pop_front()?;
        let topic = Topic::ALL[index];
        let mut round = Round::default();
        let outcome = read(imds, topic, &mut round).await;
        let now = imds.clock().boot;
        match outcome {
            Err(error) => {
                if self.silence.bad(now) {
                    warn!(%error, "imds.unavailable: what it says of this machine's end is unknown");
                }
                self.left.clear();
                self.first = (index + 1) % Topic::ALL.len();
                return None;
            }
            Ok(Err(error)) => {
                if self.nonsense[index].bad(now) {
                    warn!(path = topic.path(), %error, "notice.unreadable");
                }
            }
            Ok(Ok(())) => drop(self.nonsense[index].good(now)),
        }
        self.waits[index] = self.every[index];
        if self.left.is_empty() {
            self.first = 0;
            if let Some(lasted) = self.silence.good(now) {
                info!(seconds = lasted.as_secs(), "imds.available");
            }
        }
        Some(round)
    }
}

/// What the service says to one topic. The inner error is an answer that is no notice.
async fn read(
    imds: &Imds,
    topic: Topic,
    round: &mut Round,
) -> Result<Result<(), BadNotice>, ImdsError> {
    let text = imds.get(topic.path()).await?;
    let Some(text) = text else {
        match topic {
            Topic::Spot => round.spot = Reading::Nothing,
            Topic::Target => round.target = Reading::Nothing,
            Topic::Maintenance => round.maintenance = Reading::Nothing,
            Topic::Rebalance => round.rebalance = Reading::Nothing,
        }
        return Ok(Ok(()));
    };
    Ok(match topic {
        Topic::Spot => parse::spot(&text).map(|it| round.spot = Reading::Is(it)),
        Topic::Target => parse::target(&text).map(|it| round.target = Reading::Is(it)),
        Topic::Maintenance => parse::maintenance(&text).map(|events| {
            round.maintenance = if events.is_empty() {
                Reading::Nothing
            } else {
                Reading::Is(events)
            };
        }),
        Topic::Rebalance => parse::rebalance(&text).map(|it| round.rebalance = Reading::Is(it)),
    })
}
