//! What follows from what the metadata service says.
//!
//! A notice only ever makes things sooner: one that moves to a later time, is withdrawn, or cannot
//! be read any more changes nothing. Jobs that a withdrawn notice stopped would not come back, and
//! a service that flickers must not make the machine do so.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::policy::{NoticePolicy, OnRebalance};
use super::words::{
    Clock, EventState, Maintenance, MaintenanceCode, Reading, Round, SpotAction, Target,
};
use crate::lifecycle::{Instant, Reason};

/// A deadline is told again when it is so much sooner: the service's clock is known to a second.
const SOONER: Duration = Duration::from_secs(1);

/// Something new. Each is told once, and again only when it became sooner or graver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// For the log, the status and the final record; also what is not acted on.
    Notice(Notice),
    /// The machine takes no further job, and is done by the deadline.
    Drain {
        reason: Reason,
        deadline: Option<Instant>,
    },
    /// The same as soon as a job ends or none runs.
    DrainAfterJob {
        reason: Reason,
        deadline: Option<Instant>,
    },
    /// The group wants the machine elsewhere than before; also the first that was read.
    Target(Target),
}

/// One notice as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    #[serde(rename = "kind")]
    pub reason: Reason,
    /// The service's own word: `terminate`, `instance-stop`, `Terminated`.
    pub what: String,
    /// A scheduled event's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When the machine is taken away, if that is known.
    #[serde(serialize_with = "rfc3339")]
    pub at: Option<SystemTime>,
    pub acted_on: bool,
}

/// Everything that was told so far.
#[derive(Debug, Clone)]
pub struct Watch {
    policy: NoticePolicy,
    born: Instant,
    notices: HashMap<Key, (Option<SystemTime>, Acted)>,
    drains: HashMap<Reason, Order>,
    target: Option<Target>,
}

type Key = (Reason, String, Option<String>);
type Acted = bool;

/// How soon the machine leaves; the later one is the graver one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    AfterJob,
    Now,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    when: When,
    deadline: Option<Instant>,
}

impl Watch {
    /// `born`: when the machine began, for the age that a rebalance recommendation must find.
    pub fn new(policy: NoticePolicy, born: Instant) -> Watch {
        Watch {
            policy,
            born,
            notices: HashMap::new(),
            drains: HashMap::new(),
            target: None,
        }
    }

    pub fn policy(&self) -> NoticePolicy {
        self.policy
    }

    /// What is new in this round, the most urgent first.
    pub fn round(&mut self, clock: Clock, round: &Round) -> Vec<News> {
        let mut news = Vec::new();
        if let Reading::Is(action) = &round.spot {
            self.spot(clock, action, &mut news);
        }
        if let Reading::Is(target) = &round.target {
            self.target(target, &mut news);
        }
        if let Reading::Is(events) = &round.maintenance {
            self.maintenance(clock, events, &mut news);
        }
        if let Reading::Is(_) = &round.rebalance {
            self.rebalance(clock, &mut news);
        }
        news
    }

    fn spot(&mut self, clock: Clock, action: &SpotAction, news: &mut Vec<News>) {
        let what = action.kind.as_str();
        self.tell(Reason::Spot, what, None, Some(action.at), true, news);
        let deadline = clock.before(action.at, self.policy.cancel_before);
        self.order(Reason::Spot, When::Now, Some(deadline), news);
    }

    fn target(&mut self, target: &Target, news: &mut Vec<News>) {
        if self.target.as_ref() != Some(target) {
            self.target = Some(target.clone());
            news.push(News::Target(target.clone()));
        }
        if *target == Target::Terminated {
            self.tell(Reason::ScaleIn, target.as_str(), None, None, true, news);
            self.order(Reason::ScaleIn, When::Now, None, news);
        }
    }

    fn maintenance(&mut self, clock: Clock, events: &[Maintenance], news: &mut Vec<News>) {
        let mut orders = Vec::new();
        for event in events
            .iter()
            .filter(|event| event.state != EventState::Over)
        {
            let acted_on = event.state == EventState::Active;
            let id = Some(event.id.clone()).filter(|id| !id.is_empty());
            let what = event.code.as_str();
            let reason = Reason::Maintenance;
            self.tell(reason, what, id, event.not_before, acted_on, news);
            if acted_on {
                // From its beginning on an event may come at any moment, or in a week.
                let ahead = event.not_before.filter(|at| *at > clock.wall);
                let deadline = ahead.map(|at| clock.before(at, self.policy.cancel_before));
                orders.push((gravity(event), deadline));
            }
        }
        let Some(when) = orders.iter().map(|(when, _)| *when).max() else {
            return;
        };
        let deadline = orders.iter().filter_map(|(_, deadline)| *deadline).min();
        self.order(Reason::Maintenance, when, deadline, news);
    }

    /// Looked at again each round, because a young machine grows older.
    fn rebalance(&mut self, clock: Clock, news: &mut Vec<News>) {
        let is_old = clock.boot.since(self.born) >= self.policy.rebalance_min_age;
        let when = match self.policy.on_rebalance {
            OnRebalance::AfterJob if is_old => Some(When::AfterJob),
            OnRebalance::Now if is_old => Some(When::Now),
            _ => None,
        };
        let acted_on = when.is_some();
        self.tell(Reason::Rebalance, "recommended", None, None, acted_on, news);
        if let Some(when) = when {
            self.order(Reason::Rebalance, when, None, news);
        }
    }

    fn tell(
        &mut self,
        reason: Reason,
        what: &str,
        id: Option<String>,
        at: Option<SystemTime>,
        acted_on: Acted,
        news: &mut Vec<News>,
    ) {
        let key = (reason, what.to_owned(), id.clone());
        let (mut at, mut acted_on) = (at, acted_on);
        if let Some((told, acted)) = self.notices.get(&key) {
            let sooner = at.is_some_and(|at| told.is_none_or(|told| at < told));
            if !sooner && *acted >= acted_on {
                return;
            }
            at = [at, *told].into_iter().flatten().min();
            acted_on |= *acted;
        }
        self.notices.insert(key, (at, acted_on));
        news.push(News::Notice(Notice {
            reason,
            what: what.to_owned(),
            id,
            at,
            acted_on,
        }));
    }

    fn order(
        &mut self,
        reason: Reason,
        when: When,
        deadline: Option<Instant>,
        news: &mut Vec<News>,
    ) {
        let mut order = Order { when, deadline };
        if let Some(told) = self.drains.get(&reason) {
            let sooner = deadline
                .is_some_and(|new| told.deadline.is_none_or(|old| old.since(new) >= SOONER));
            if !sooner && when <= told.when {
                return;
            }
            order.when = when.max(told.when);
            order.deadline = [deadline, told.deadline].into_iter().flatten().min();
        }
        self.drains.insert(reason, order);
        let deadline = order.deadline;
        news.push(match order.when {
            When::AfterJob => News::DrainAfterJob { reason, deadline },
            When::Now => News::Drain { reason, deadline },
        });
    }
}

/// A reboot can wait for the job at hand; hardware that fails takes it down at any moment.
fn gravity(event: &Maintenance) -> When {
    let description = event.description.to_ascii_lowercase();
    let is_failing = ["degraded", "retirement"]
        .iter()
        .any(|word| description.contains(word));
    match event.code {
        MaintenanceCode::InstanceStop | MaintenanceCode::InstanceRetirement => When::Now,
        _ if is_failing => When::Now,
        _ => When::AfterJob,
    }
}

fn rfc3339<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        // The formatter panics before 1970, and no machine is taken away then.
        Some(time) if *time >= SystemTime::UNIX_EPOCH => {
            serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
        }
        _ => serializer.serialize_none(),
    }
}
