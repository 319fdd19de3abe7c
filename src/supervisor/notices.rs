//! What the machine says of itself: the gate before the first agent, notices, the warm pool.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{info, warn};

use super::Supervisor;
use super::input::Input;
use crate::clock;
use crate::control::NoticeStatus;
use crate::instance::{
    self, Imds, Membership, News, Notice, Placement, Reading, Target, Transition, Warm, Watch,
    is_container,
};
use crate::lifecycle::{Event, Instant, Phase, Reason};

/// The first agent waits until the metadata service has said that this machine may work; not
/// longer than the lifecycle lets it, which is less than all of these take when it is silent.
const FIRST_LOOKS: u32 = 30;
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What has been heard so far.
pub struct Notices {
    /// What the machine is where there is no metadata service.
    pub metadata: Result<Arc<Imds>, Placement>,
    /// Has it asked at once.
    poke: Arc<Notify>,
    pub heard: Vec<Notice>,
    target: Option<Target>,
    /// The service has answered, if only that it has nothing to say.
    has_answered: bool,
    /// When the machine is taken away, by the soonest of the notices.
    pub ends: Option<Instant>,
}

impl Notices {
    pub fn new() -> Notices {
        Notices {
            metadata: instance::metadata(),
            poke: Arc::default(),
            heard: Vec::new(),
            target: None,
            has_answered: false,
            ends: None,
        }
    }

    /// An instance may have been started only to wait in a warm pool, or be marked for its end
    /// already: no agent starts before that is known. A container is started to work.
    pub fn gate(&self) -> bool {
        self.metadata.is_ok() && !is_container()
    }

    /// The group takes this machine back into its warm pool instead of ending it.
    pub fn is_pooled(&self) -> bool {
        self.target.as_ref().is_some_and(wants_back)
    }

    /// The service to ask whether it does, where nobody knows yet: the supervisor before this one
    /// was killed while the machine was leaving.
    pub fn unanswered(&self) -> Option<Arc<Imds>> {
        let imds = self.metadata.as_ref().ok();
        imds.filter(|_| !self.has_answered).cloned()
    }

    /// Who has never changed its lifecycle state is in service (Auto Scaling user guide, "Retrieve
    /// the target lifecycle state through instance metadata").
    pub fn is_in_service(&self) -> bool {
        let target = self.target.as_ref();
        target.is_none_or(|target| matches!(target, Target::InService | Target::Standby))
    }

    pub fn status(&self, now: Instant) -> Vec<NoticeStatus> {
        let clock = self.metadata.as_ref().ok().map(|imds| imds.clock());
        let in_seconds = |at| Some(clock?.at(at).since(now).as_secs());
        let status = |notice: &Notice| NoticeStatus {
            kind: notice.reason,
            what: notice.what.clone(),
            in_seconds: notice.at.and_then(in_seconds),
            acted_on: notice.acted_on,
        };
        self.heard.iter().map(status).collect()
    }

    /// The agent is about to take jobs: what was said meanwhile counts.
    pub fn look_now(&self) {
        self.poke.notify_one();
    }
}

/// The group has its machine in its warm pool, or on the way there.
pub fn wants_back(target: &Target) -> bool {
    matches!(target, Target::Warmed(warm) if *warm != Warm::Terminated)
}

/// Where the group wants this machine to be, asked for now, if it says so.
pub async fn group_wants(imds: &Imds) -> Option<Target> {
    match instance::look(imds).await.target {
        Reading::Is(target) => Some(target),
        Reading::Nothing | Reading::Unknown => None,
    }
}

impl Supervisor {
    /// Listens from now on.
    pub(super) fn watch_notices(&self) {
        let Ok(imds) = self.notices.metadata.clone() else {
            return;
        };
        // The machine's age counts, not the supervisor's.
        let booted = Instant::default();
        let mut watch = Watch::new(self.config.notices, booted);
        let poke = self.notices.poke.clone();
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            for _ in 0..FIRST_LOOKS {
                let round = instance::look(&imds).await;
                for news in watch.round(imds.clock(), &round) {
                    let _ = inbox.send(Input::News(news)).await;
                }
                if round.target != Reading::Unknown {
                    let _ = inbox.send(Input::MayWork).await;
                    break;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            instance::watch(imds, watch, poke, inbox).await;
        });
    }

    pub(super) fn news(&mut self, news: News) {
        match news {
            News::Notice(notice) => self.noticed(notice),
            News::Drain { reason, deadline } => {
                if reason == Reason::ScaleIn {
                    self.keep_hook(Transition::Terminating);
                }
                self.feed(Event::Drain { reason, deadline });
            }
            News::DrainAfterJob { reason, deadline } => {
                self.feed(Event::DrainAfterJob { reason, deadline });
            }
            News::Target(target) => self.targeted(target),
        }
    }

    /// The log has it once; the status and the final record keep it.
    fn noticed(&mut self, notice: Notice) {
        let imds = self.notices.metadata.as_ref().ok();
        let clock = imds.map(|imds| imds.clock());
        let ends = notice.at.zip(clock).map(|(at, clock)| clock.at(at));
        let now = clock::now();
        let ends_in = ends.map(|at| at.since(now).as_secs());
        let (kind, what, id) = (notice.reason, &notice.what, notice.id.as_deref());
        let acted_on = notice.acted_on;
        info!(%kind, what, id, ends_in, acted_on, "notice.received");
        if acted_on {
            // From its beginning on an event may come at any moment, or in a week.
            let ends = ends.filter(|at| kind != Reason::Maintenance || *at > now);
            self.notices.ends = [self.notices.ends, ends].into_iter().flatten().min();
        }
        let known = |old: &Notice| old.reason == notice.reason && old.id == notice.id;
        self.notices.heard.retain(|old| !known(old));
        self.notices.heard.push(notice);
    }

    /// Where its group wants this machine to be.
    fn targeted(&mut self, target: Target) {
        info!(%target, "group.target");
        let is_first = self.notices.target.replace(target.clone()).is_none();
        self.protection.in_service(self.notices.is_in_service());
        self.look_up_group(&target);
        match target {
            Target::Warmed(Warm::Terminated) => self.drain_for_group(),
            Target::Warmed(_) if self.is_parked() => self.enter_pool(),
            Target::Warmed(_) => self.drain_for_group(),
            // The first is for the gate to decide.
            Target::InService if !is_first => self.wake(),
            Target::InService
            | Target::Standby
            | Target::Detached
            | Target::Terminated
            | Target::Other(_) => {}
        }
    }

    fn drain_for_group(&mut self) {
        self.keep_hook(Transition::Terminating);
        let reason = Reason::ScaleIn;
        let deadline = None;
        self.feed(Event::Drain { reason, deadline });
    }

    /// It was put into a group, or taken out of it, since it was asked for its group.
    fn look_up_group(&mut self, target: &Target) {
        let Some(Placement::Ec2(mut identity)) = self.placement.borrow().clone() else {
            return;
        };
        let is_in = matches!(identity.membership, Membership::In(_));
        if *target == Target::Detached {
            if self.life.phase() == Phase::Working {
                warn!("group.left: nobody but this supervisor ends the machine now");
            }
            identity.membership = Membership::None;
            self.placement.send_replace(Some(Placement::Ec2(identity)));
        } else if !is_in {
            self.find_placement();
        }
    }

    /// The metadata service has answered for the first time.
    pub(super) fn may_work(&mut self) {
        self.notices.has_answered = true;
        if !self.notices.is_pooled() {
            self.wake();
        }
    }

    fn wake(&mut self) {
        if self.is_parked() {
            self.hooks.launches_again();
            self.feed(Event::Wake);
            self.keep_hook(Transition::Launching);
        }
    }

    /// It was started for the pool: booting was all that it had to do, so a launch hook, which
    /// holds on the way into the pool too, need not wait for an agent.
    fn enter_pool(&mut self) {
        self.feed(Event::Pooled);
        self.hooks.launched();
        self.keep_hook(Transition::Launching);
    }

    /// The group has taken the machine back into its warm pool.
    pub(super) fn pooled(&mut self) {
        self.hooks.returned();
        self.feed(Event::Pooled);
        if !self.is_parked() {
            // It is to end all the same.
            return;
        }
        self.returned_to_service();
        if !self.notices.is_pooled() {
            // It changed its mind meanwhile.
            self.wake();
        }
    }

    pub(super) fn is_parked(&self) -> bool {
        matches!(self.life.phase(), Phase::Parked { .. })
    }
}
