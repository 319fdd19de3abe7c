//! Looks at the machine's notices, over the one connection that [`Imds`] keeps.
//!
//! One request after the other, so that a service that throttles per instance is asked as little
//! as can be. A service in trouble gets one request a round, and the log two lines an episode:
//! `imds.unavailable` and `imds.available`.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::imds::{Imds, ImdsError};
use super::notices::parse::{self, BadNotice};
use super::notices::{Episode, News, Reading, Round, Watch};

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
}

/// Looks every [`Watch::interval`], and at once when poked; several pokes are one look. Tells what
/// is new, until the inbox is closed.
pub async fn watch<I: From<News>>(
    imds: Arc<Imds>,
    mut watch: Watch,
    poke: Arc<Notify>,
    inbox: mpsc::Sender<I>,
) {
    let mut eyes = Eyes::default();
    loop {
        let next = Instant::now() + watch.interval();
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
            () = poke.notified() => {}
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
#[derive(Debug, Default)]
struct Eyes {
    /// Of [`Topic::ALL`], the one to be read next.
    next: usize,
    /// So many are left in this look.
    left: usize,
    silence: Episode,
    nonsense: [Episode; Topic::ALL.len()],
}

impl Eyes {
    /// Begins a look.
    fn open(&mut self) {
        self.left = Topic::ALL.len();
    }

    /// What the service says to the next topic; `None` when this look is over.
    async fn next(&mut self, imds: &Imds) -> Option<Round> {
        self.left = self.left.checked_sub(1)?;
        let index = self.next;
        self.next = (index + 1) % Topic::ALL.len();
        let topic = Topic::ALL[index];
        let mut round = Round::default();
        let outcome = read(imds, topic, &mut round).await;
        let now = imds.clock().boot;
        match outcome {
            Err(error) => {
                if self.silence.bad(now) {
                    warn!(%error, "imds.unavailable: what it says of this machine's end is unknown");
                }
                self.left = 0;
                return None;
            }
            Ok(Err(error)) => {
                if self.nonsense[index].bad(now) {
                    warn!(path = topic.path(), %error, "notice.unreadable");
                }
            }
            Ok(Ok(())) => drop(self.nonsense[index].good(now)),
        }
        if self.left == 0 {
            self.next = 0;
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
