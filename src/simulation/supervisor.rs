//! The supervisor between the pure parts: what it feeds to which, in which order, as
//! `supervisor::{notices, hooks, protection}` do it, with the I/O left to the world.

use std::collections::VecDeque;
use std::time::Duration;

use super::kept::Kept;
use super::metadata;
use crate::instance::notices::{
    Answer, Ask, Keeper, News, NoticePolicy, Protect, ProtectFailure, ProtectTurn, Protector,
    Reading, Round, Target, Transition, Warm, Watch,
};
use crate::lifecycle::{Action, Event, Instant, Lifecycle, Phase, Reason, Report, Stage};

/// What the world must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    Act(Action),
    /// The metadata service is looked at again at once.
    Look,
    Ask(Transition, Ask),
    Protect(bool),
    /// Something for the story.
    Heard(News),
}

pub struct Supervisor {
    pub life: Lifecycle,
    watch: Watch,
    target: Option<Target>,
    may_work: bool,
    launch: Option<Kept>,
    termination: Option<Kept>,
    has_launched: bool,
    protector: Protector,
    protecting: bool,
    margin: Duration,
    deeds: VecDeque<Deed>,
}

impl Supervisor {
    pub fn new(
        now: Instant,
        life: Lifecycle,
        policy: NoticePolicy,
        protect: Protect,
    ) -> Supervisor {
        let mut supervisor = Supervisor {
            life,
            margin: policy.cancel_before,
            watch: Watch::new(policy, Instant::default()),
            target: None,
            may_work: false,
            launch: None,
            termination: None,
            has_launched: false,
            protector: Protector::new(protect),
            protecting: false,
            deeds: VecDeque::new(),
        };
        supervisor.keep(now, Transition::Launching);
        supervisor
    }

    /// It goes on with a stored life. Who has an agent at work may have been killed before the
    /// group heard of it.
    pub fn resumes(&mut self, now: Instant, actions: Vec<Action>) {
        self.deeds.extend(actions.into_iter().map(Deed::Act));
        let is_ready = |(_, stage, _): (_, Stage, _)| stage == Stage::Ready;
        if self.life.agents().any(is_ready) {
            self.launched(now);
        }
        if self.life.reason() == Some(Reason::ScaleIn) {
            self.keep(now, Transition::Terminating);
        }
        self.protector.work(now, self.life.running() > 0);
    }

    /// What is to be done, in order, until nothing is.
    pub fn deed(&mut self) -> Option<Deed> {
        self.deeds.pop_front()
    }

    pub fn feed(&mut self, now: Instant, event: Event) {
        for action in self.life.handle(now, event) {
            let ready = matches!(action, Action::Report(Report::AgentReady(_)));
            self.deeds.push_back(Deed::Act(action));
            if ready {
                self.deeds.push_back(Deed::Look);
                self.launched(now);
            }
        }
        self.protector.work(now, self.life.running() > 0);
    }

    pub fn looked(&mut self, now: Instant, round: &Round) {
        for news in self.watch.round(metadata::clock(now), round) {
            self.deeds.push_back(Deed::Heard(news.clone()));
            self.news(now, news);
        }
        if !self.may_work && round.target != Reading::Unknown {
            self.may_work = true;
            if !self.is_pooled() {
                self.wake(now);
            }
        }
    }

    /// The group takes this machine into its warm pool instead of ending it.
    pub fn is_pooled(&self) -> bool {
        matches!(&self.target, Some(Target::Warmed(warm)) if *warm != Warm::Terminated)
    }

    pub fn is_in_service(&self) -> bool {
        let target = self.target.as_ref();
        target.is_none_or(|target| matches!(target, Target::InService | Target::Standby))
    }

    fn is_parked(&self) -> bool {
        matches!(self.life.phase(), Phase::Parked { .. })
    }

    fn news(&mut self, now: Instant, news: News) {
        match news {
            News::Notice(_) => {}
            News::Drain { reason, deadline } => {
                if reason == Reason::ScaleIn {
                    self.keep(now, Transition::Terminating);
                }
                self.feed(now, Event::Drain { reason, deadline });
            }
            News::DrainAfterJob { reason, deadline } => {
                self.feed(now, Event::DrainAfterJob { reason, deadline });
            }
            News::Target(target) => self.targeted(now, target),
        }
    }

    fn targeted(&mut self, now: Instant, target: Target) {
        let is_first = self.target.replace(target.clone()).is_none();
        self.protector.in_service(self.is_in_service());
        match target {
            Target::Warmed(Warm::Terminated) => self.drain_for_group(now),
            Target::Warmed(_) if self.is_parked() => {
                self.feed(now, Event::Pooled);
                self.keep(now, Transition::Launching);
                self.launched(now);
            }
            Target::Warmed(_) => self.drain_for_group(now),
            Target::InService if !is_first => self.wake(now),
            _ => {}
        }
    }

    fn drain_for_group(&mut self, now: Instant) {
        self.keep(now, Transition::Terminating);
        let (reason, deadline) = (Reason::ScaleIn, None);
        self.feed(now, Event::Drain { reason, deadline });
    }

    fn wake(&mut self, now: Instant) {
        if self.is_parked() {
            self.has_launched = false;
            self.launch = None;
            self.feed(now, Event::Wake);
            self.keep(now, Transition::Launching);
        }
    }

    /// The ladder has left the machine to its pool.
    pub fn pooled(&mut self, now: Instant) {
        self.termination = None;
        self.feed(now, Event::Pooled);
        if !self.is_pooled() {
            self.wake(now);
        }
    }

    fn launched(&mut self, now: Instant) {
        self.has_launched = true;
        if let Some(kept) = &mut self.launch {
            kept.finish(now);
        }
    }

    fn keep(&mut self, now: Instant, transition: Transition) {
        let (kept, done) = match transition {
            Transition::Launching => (&mut self.launch, self.has_launched),
            Transition::Terminating => (&mut self.termination, false),
        };
        if kept.as_ref().is_none_or(Kept::is_over) {
            let mut keeper = Keeper::new(transition, self.margin, now);
            if done {
                keeper.finish(now);
            }
            *kept = Some(Kept::new(now, keeper));
        }
    }

    pub fn answered(&mut self, now: Instant, transition: Transition, ask: Ask, answer: Answer) {
        if let Some(kept) = self.kept(transition) {
            kept.answered(now, ask, answer);
        }
    }

    pub fn protected(&mut self, now: Instant, protect: bool, answer: Result<(), ProtectFailure>) {
        self.protecting = false;
        self.protector.told(now, protect, answer);
    }

    fn kept(&mut self, transition: Transition) -> Option<&mut Kept> {
        match transition {
            Transition::Launching => self.launch.as_mut(),
            Transition::Terminating => self.termination.as_mut(),
        }
    }

    /// What the keepers and the protector want now.
    pub fn turn(&mut self, now: Instant) {
        for transition in [Transition::Launching, Transition::Terminating] {
            let Some(kept) = self.kept(transition) else {
                continue;
            };
            let (ask, deadline) = kept.turn(now);
            let ask = ask.map(|ask| Deed::Ask(transition, ask));
            self.deeds.extend(ask);
            if transition == Transition::Terminating && deadline.is_some() {
                let reason = Reason::ScaleIn;
                self.feed(now, Event::Drain { reason, deadline });
            }
        }
        if self.protecting {
            return;
        }
        if let ProtectTurn::Call(protect) = self.protector.next(now) {
            self.protecting = true;
            self.deeds.push_back(Deed::Protect(protect));
        }
    }

    /// When something is to be done if nothing happens.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let waits = |kept: &Option<Kept>| kept.as_ref()?.waits();
        let protects = match self.protector.next(now) {
            _ if self.protecting => None,
            ProtectTurn::Call(_) => Some(now),
            ProtectTurn::Wait(until) => Some(until),
            ProtectTurn::Rest => None,
        };
        let all = [
            self.life.next_deadline(),
            waits(&self.launch),
            waits(&self.termination),
            protects,
        ];
        all.into_iter().flatten().min()
    }
}
