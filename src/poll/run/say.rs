//! The log: quiet while nothing changes, a line for each launch and each end or begin of trouble.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{debug, info, warn};

use super::groups::Groups;
use crate::exit::Status;
use crate::poll::config::Poll;
use crate::poll::plan::{BackendId, Decision, GroupId, Launched, Order, Report, SourceId, Why};

pub struct Voice {
    /// Every decision is told, and any failure is the round's.
    once: bool,
    failed: bool,
    launching: usize,
    /// What bound each group's last decision.
    whys: BTreeMap<GroupId, Why>,
    /// Groups and queues that are not known now, while their backend and source are.
    unknown: BTreeSet<String>,
}

impl Voice {
    pub fn new(once: bool) -> Voice {
        Voice {
            once,
            failed: false,
            launching: 0,
            whys: BTreeMap::new(),
            unknown: BTreeSet::new(),
        }
    }

    pub fn begin(&self, poll: &Poll, groups: &Groups) {
        info!(
            groups = groups.len(),
            discover = poll.discover.len(),
            interval = poll.interval.as_secs_f64(),
            max_instances = poll.max_instances,
            dry_run = poll.dry_run,
            "poll.started"
        );
    }

    /// Of one round: whether all of it was known and done.
    pub fn verdict(&self) -> Status {
        if self.failed {
            Status::Failure
        } else {
            Status::Success
        }
    }

    pub fn failed(&mut self) {
        self.failed = true;
    }

    /// Launches that were sent and not answered.
    pub fn launching(&self) -> usize {
        self.launching
    }

    pub fn decided(&mut self, decision: &Decision) {
        let group = &decision.group;
        let news = self.whys.insert(group.clone(), decision.why) != Some(decision.why);
        if decision.launch > 0 || self.once {
            info!(%group, "poll.decided: {decision}");
        } else if news {
            debug!(%group, "poll.decided: {decision}");
        }
    }

    pub fn would_launch(&self, order: &Order) {
        let (group, count, desired) = (&order.group, order.count, order.desired);
        info!(%group, count, desired, "poll.would_launch");
    }

    pub fn sent(&mut self) {
        self.launching += 1;
    }

    pub fn launched(&mut self, order: &Order, told: &Launched) {
        self.launching = self.launching.saturating_sub(1);
        let (group, token) = (&order.group, &order.token);
        match told {
            Launched::Accepted { count, members } => {
                let members: Vec<_> = members.iter().map(|member| member.as_str()).collect();
                let (desired, members) = (order.desired, members.join(" "));
                info!(%group, count, desired, members, token, "poll.launched");
            }
            Launched::Partly { count, trouble } => {
                let (scope, error) = (&trouble.scope, &trouble.message);
                warn!(%group, count, of = order.count, scope, error, token, "poll.launched");
                self.failed = true;
            }
            Launched::Refused(trouble) => {
                let (scope, error) = (&trouble.scope, &trouble.message);
                warn!(%group, count = order.count, scope, error, "poll.failed");
                self.failed = true;
            }
            Launched::Unknown(error) => {
                warn!(%group, count = order.count, error, token, "poll.failed: nobody knows whether it was done");
                self.failed = true;
            }
        }
    }

    /// An episode of a source's silence began, or ended.
    pub fn source(&mut self, source: &SourceId, error: Option<&str>) {
        match error {
            Some(error) => warn!(%source, error, "source.unknown"),
            None => info!(%source, "source.known"),
        }
        self.failed |= error.is_some();
    }

    pub fn backend(&mut self, backend: &BackendId, error: Option<&str>) {
        match error {
            Some(error) => warn!(%backend, error, "target.unknown"),
            None => info!(%backend, "target.known"),
        }
        self.failed |= error.is_some();
    }

    /// One group of a backend that answers, or one queue of a source that does: an episode.
    pub fn one(&mut self, what: impl FnOnce() -> String, error: Option<&str>) {
        match error {
            Some(error) => {
                self.failed = true;
                let what = what();
                if !self.unknown.contains(&what) {
                    warn!(error, "poll.unknown: {what}");
                    self.unknown.insert(what);
                }
            }
            // Thousands are well each time, and nobody wants to hear of it.
            None if self.unknown.is_empty() => {}
            None => {
                let what = what();
                if self.unknown.remove(&what) {
                    info!("poll.known: {what}");
                }
            }
        }
    }

    /// What a source says of its queue, each thing once.
    pub fn remarks(&self, source: &SourceId, before: &[String], now: &[String]) {
        for remark in now.iter().filter(|remark| !before.contains(remark)) {
            warn!(%source, "source.remark: {remark}");
        }
    }

    pub fn report(&self, report: &Report) {
        match report {
            Report::BreakerOpened { group, why, wait } => {
                let seconds = wait.as_secs();
                warn!(%group, why, seconds, "breaker.opened");
            }
            Report::BreakerClosed { group } => info!(%group, "breaker.closed"),
            Report::BootedTooLate {
                group,
                member,
                deadline,
            } => {
                let seconds = deadline.as_secs();
                warn!(%group, %member, seconds, "instance.late: it is no supply any more");
            }
            Report::Vanished { group, member } => {
                warn!(%group, %member, "instance.vanished: it was never up");
            }
            Report::JobsWait {
                group,
                waiting,
                free,
            } => warn!(
                %group, waiting, free,
                "jobs.wait: although instances should be free; look at labels and at the agents"
            ),
        }
    }
}
