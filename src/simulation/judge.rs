//! What must hold in every world, by its own reckoning: from what the machine was told and the
//! time, not from what the parts under test made of it.

use std::time::Duration;

use super::agents::Job;
use super::group::Action;
use super::metadata;
use crate::instance::notices::{EventState, Hook, NoticePolicy, Reading, Round, Transition};
use crate::lifecycle::{Instant, Phase, Settings};

/// How long the API must have answered, and somebody have asked, before a lapse is a fault.
const SLACK: Duration = Duration::from_secs(45);

/// A lapse is told so long before its deadline, which leaves time for one more try.
const LAST_TRY: Duration = Duration::from_secs(15);

/// However long an action waits, heartbeats come no more often than this.
const MOST_OFTEN: Duration = Duration::from_secs(300);

pub struct Judge {
    margin: Duration,
    drain_timeout: Option<Duration>,
    /// Cancel, then ten kills a second apart, then the sweep; or what a starting agent is given.
    aftermath: Duration,
    /// By when the jobs have to be over, as far as the machine has been told.
    deadline: Option<Instant>,
    /// Since when the group's wish to end the machine is known.
    chosen: Option<Instant>,
    /// Since when its wish to have the machine in service is known.
    launched: Option<Instant>,
    /// The group's hook, once the machine has heard of it.
    hook: Option<Hook>,
    /// This supervisor has.
    knows_hook: bool,
    heartbeat: Option<Instant>,
    /// A lapse that was prevented at the last moment, or was not.
    near_lapse: Option<Instant>,
    /// The last call for its sake was not accepted, or nobody heard so.
    failed: bool,
    signals: u32,
    drains: bool,
    /// Since when the supervisor runs.
    up_since: Instant,
    /// Since when Auto Scaling answers.
    answers_since: Instant,
    denied: bool,
}

impl Judge {
    pub fn new(settings: &Settings, policy: &NoticePolicy) -> Judge {
        Judge {
            margin: policy.cancel_before,
            drain_timeout: settings.limits.drain_timeout.get(),
            aftermath: settings.cancel.unwrap_or_default() + Duration::from_secs(30),
            deadline: None,
            chosen: None,
            launched: Some(Instant::default()),
            hook: None,
            knows_hook: false,
            heartbeat: None,
            near_lapse: None,
            failed: false,
            signals: 0,
            drains: false,
            up_since: Instant::default(),
            answers_since: Instant::default(),
            denied: false,
        }
    }

    /// The machine begins to work, or does so again: what was before does not count.
    pub fn begins(&mut self) {
        self.deadline = None;
        self.chosen = None;
        self.heartbeat = None;
        self.near_lapse = None;
        self.failed = false;
        self.signals = 0;
        self.drains = false;
    }

    pub fn is_up(&mut self, now: Instant) {
        self.up_since = now;
        // A supervisor that comes back asks anew.
        self.knows_hook = false;
    }

    /// Auto Scaling answers nothing, or nothing that is heard, until then.
    pub fn silent_until(&mut self, until: Instant) {
        self.answers_since = self.answers_since.max(until);
    }

    pub fn told(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |old| old.min(deadline)));
    }

    pub fn signalled(&mut self) {
        self.signals += 1;
    }

    pub fn looked(&mut self, now: Instant, round: &Round) {
        if let Reading::Is(action) = &round.spot {
            self.ends(now, metadata::boot(action.at));
        }
        if let Reading::Is(events) = &round.maintenance {
            let active = { events.iter() }.filter(|event| event.state == EventState::Active);
            let begins = active.filter_map(|event| event.not_before);
            for at in begins.map(metadata::boot).filter(|at| *at > now) {
                self.ends(now, at);
            }
        }
    }

    /// The machine is taken away at that time, and has just been told.
    fn ends(&mut self, now: Instant, at: Instant) {
        let deadline = Instant(at.0.saturating_sub(self.margin));
        self.told(deadline.max(now));
    }

    pub fn chosen(&mut self, now: Instant) {
        self.chosen.get_or_insert(now);
    }

    /// The group wants the machine in service: since then, or it has yet to hear of it.
    pub fn launched(&mut self, since: Option<Instant>) {
        self.launched = since;
    }

    /// Auto Scaling has told of its hooks.
    pub fn learned(&mut self, hooks: &[Hook]) {
        let terminates = |hook: &&Hook| hook.transition == Transition::Terminating;
        self.hook = hooks.iter().find(terminates).cloned();
        self.knows_hook = self.hook.is_some();
    }

    /// A heartbeat was accepted, and the machine knows.
    pub fn heartbeat(&mut self, now: Instant) {
        let deadline = self.lapse();
        let near = deadline.is_some_and(|at| at <= now.after(LAST_TRY));
        if near && self.failed {
            // It may have been told already, and a deadline only tightens.
            self.near_lapse = deadline;
        }
        self.failed = false;
        if let (Some(hook), Some(last)) = (&self.hook, self.heartbeat) {
            // Auto Scaling throttles the whole account.
            let least = (hook.heartbeat_timeout / 12).min(MOST_OFTEN);
            let often = last >= self.up_since && now.since(last) < least;
            assert!(!often, "a heartbeat at {now}, after one at {last}");
        }
        self.heartbeat = Some(now);
    }

    /// A call that would have kept the action came to nothing.
    pub fn failed(&mut self) {
        self.failed = true;
    }

    pub fn denied(&mut self) {
        self.denied = true;
    }

    /// Since when Auto Scaling has answered, if not since that time.
    pub fn answers_since(&self, since: Instant) -> Instant {
        since.max(self.answers_since)
    }

    pub fn was_denied(&self) -> bool {
        self.denied
    }

    /// After each event.
    pub fn phase(&mut self, now: Instant, phase: Phase) {
        let drains = !matches!(phase, Phase::Parked { .. } | Phase::Working);
        if drains && !self.drains {
            let timeout = self.drain_timeout.map(|timeout| now.after(timeout));
            timeout.into_iter().for_each(|at| self.told(at));
        }
        if self.drains && !drains {
            self.begins();
        }
        self.drains = drains;
    }

    /// When the group's action lapses, if no heartbeat is accepted any more, less what cancelling
    /// takes; a short action cannot spare the whole margin.
    fn lapse(&self) -> Option<Instant> {
        let (chosen, hook) = (self.chosen?, self.hook.as_ref()?);
        let kept = self.heartbeat.unwrap_or(chosen).max(chosen);
        let timeout = hook.heartbeat_timeout;
        let margin = self.margin.min(timeout / 3);
        Some(kept.after(timeout.saturating_sub(margin)))
    }

    /// When it ends, however often it is kept.
    fn cap(&self) -> Option<Instant> {
        let (chosen, hook) = (self.chosen?, self.hook.as_ref()?);
        Some(chosen.after(hook.global_timeout.saturating_sub(self.margin)))
    }

    /// A job is ended by its agent's cancel step, its kill, or a drain step that ends jobs.
    pub fn killed(&self, now: Instant, job: &Job) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        let asked = self.signals > 1;
        let lapses = due(self.near_lapse) || (self.failed && due(self.lapse()));
        assert!(
            asked || due(self.deadline) || due(self.cap()) || lapses,
            "job {} is ended at {now}, though its deadline is {:?}, or by its hook {:?}",
            job.number,
            self.deadline,
            self.lapse(),
        );
    }

    /// Nothing of the machine's work is left running after its deadline.
    pub fn late<'a>(&self, now: Instant, phase: Phase, jobs: impl Iterator<Item = &'a Job>) {
        // What moves by less than a second is not told again.
        let late = |at: &Instant| at.after(Duration::from_secs(1)) <= now;
        let Some(deadline) = self.deadline.filter(late) else {
            return;
        };
        let works = matches!(phase, Phase::Working | Phase::Draining { .. });
        // A cancel step that died with its supervisor is not repeated; the kill comes all the same.
        let lost = deadline <= self.up_since && now <= self.up_since.after(self.aftermath);
        let goes_on = |job: &&Job| works && !lost && !job.cancelled;
        if let Some(job) = { jobs }.find(goes_on) {
            panic!("job {} goes on at {now}, after {deadline}", job.number);
        }
        let latest = deadline.max(self.up_since).after(self.aftermath);
        let retires = !works && !matches!(phase, Phase::Sweeping { .. });
        assert!(
            retires || now <= latest,
            "{phase:?} at {now}, though the deadline was {deadline}"
        );
    }

    /// A lifecycle action has run out.
    pub fn lapsed<'a>(
        &mut self,
        now: Instant,
        action: &Action,
        phase: Option<Phase>,
        jobs: impl Iterator<Item = &'a Job>,
    ) {
        if action.transition == Transition::Terminating {
            // Moments are left.
            self.near_lapse = Some(now);
        }
        // Who drains is not going to be of use, and lets its launch lapse; a termination that
        // nobody has told of is not kept.
        let works = phase == Some(Phase::Working);
        let drains = matches!(phase, Some(Phase::Draining { .. }));
        let (kept, known) = match action.transition {
            Transition::Launching => (works, self.launched),
            Transition::Terminating => (works || drains, self.chosen),
        };
        let Some(known) = known else {
            return;
        };
        let since = [self.up_since, action.began, known];
        let since = since.into_iter().max().unwrap_or_default();
        let answered = since.max(self.answers_since).after(SLACK) <= now;
        let capped = action.expires == action.cap || self.cap().is_some_and(|at| at <= now);
        assert!(
            !kept || capped || !answered || self.denied,
            "{:?} lapses at {now}, though Auto Scaling has answered",
            action.transition
        );
        // Also a lapse that nobody could prevent is foreseen; the cap not to the second by who came
        // back during the action, and does not know when it began.
        let saw_begin = self.up_since <= action.began || !capped;
        let foreseen = self.knows_hook && saw_begin && since.after(SLACK) <= now;
        if kept && foreseen && action.transition == Transition::Terminating {
            let running = { jobs }.find(|job| !job.cancelled);
            assert!(running.is_none(), "{running:?} goes on as its hook lapses");
        }
    }
}
