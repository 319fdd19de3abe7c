//! Keeping a pending lifecycle action alive until the work is over (Auto Scaling user guide,
//! "Lifecycle hooks"; API reference, `RecordLifecycleActionHeartbeat`).
//!
//! The metadata service tells that the group wants the instance gone before Auto Scaling accepts
//! heartbeats, so "no active action" is asked about: it means too early, or over. A launch is not
//! asked about before that: hundreds of machines boot at once, and `DescribeAutoScalingInstances`
//! is what they would be throttled at.

use std::time::Duration;

use super::hooks::{Hook, Transition};
use super::retry::{Retry, spread};
use super::standing::Standing;
use crate::lifecycle::Instant;

/// No action waits longer, whatever its heartbeats say (48 hours).
const LONGEST: Duration = Duration::from_secs(48 * 3600);
/// An action waits for at most so many of its heartbeat timeouts.
const TIMEOUTS: u32 = 100;
/// Also where the timeout would allow for more: a supervisor that dies should not hold the group
/// up for long.
const SLOWEST_BEAT: Duration = Duration::from_secs(15 * 60);
/// Between tries.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between tries at what is denied: permissions are mended, and take effect late.
const DENIED: Duration = Duration::from_secs(60);
/// Before the deadline of a lapsing action there is one more try, so much earlier.
const LAST_TRY: Duration = Duration::from_secs(15);
/// A launching instance that is not listed so often is in no group. Once proves nothing: the list
/// is eventually consistent.
const MISSING: u32 = 5;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Ask(Ask),
    Wait(Instant),
    /// There is nothing to keep, or nothing any more.
    Over,
}

/// One request to Auto Scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    /// `DescribeLifecycleHooks`
    Hooks,
    /// `DescribeAutoScalingInstances`
    State,
    /// `RecordLifecycleActionHeartbeat`
    Heartbeat,
    /// `CompleteLifecycleAction` with CONTINUE
    Complete,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Ours only, see [`super::ours`].
    Hooks(Vec<Hook>),
    /// The instance's `LifecycleState`; `None` when it is in no group.
    State(Option<String>),
    Done,
    /// "No active Lifecycle Action found": too early, or over.
    NoAction,
    Failed(HookFailure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookFailure {
    Denied,
    /// Throttled, unanswered: worth another try.
    Retry,
}

/// Keeps one pending action of the group's hooks that are ours.
///
/// Its owner has one call in flight at a time: [`Keeper::next`] is asked again after
/// [`Keeper::told`], or after [`Keeper::finish`].
#[derive(Debug, Clone)]
pub struct Keeper {
    transition: Transition,
    margin: Duration,
    born: Instant,
    stage: Stage,
    due: Instant,
    terms: Option<Terms>,
    /// When the action last was certain to be alive or still ahead.
    alive: Instant,
    deadline: Option<Instant>,
    retry: Retry,
    /// The work is over.
    finished: bool,
    /// The action was seen: a heartbeat was accepted, or the instance waited.
    seen: bool,
    /// What was told last is that there is no action.
    refused: bool,
    /// Nobody may look at the state.
    blind: bool,
    missing: u32,
}

/// What will be asked for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Next(Ask),
    Over,
}

/// Of all hooks of ours the strictest.
#[derive(Debug, Clone, Copy)]
struct Terms {
    timeout: Duration,
    cap: Instant,
}

impl Keeper {
    /// From the moment that the action is expected; `margin` is what cancelling jobs takes.
    pub fn new(transition: Transition, margin: Duration, now: Instant) -> Keeper {
        Keeper {
            transition,
            margin,
            born: now,
            stage: Stage::Next(Ask::Hooks),
            due: now,
            terms: None,
            alive: now,
            deadline: None,
            retry: Retry::default(),
            finished: false,
            seen: false,
            refused: false,
            blind: false,
            missing: 0,
        }
    }

    /// What to do now. A [`Turn::Wait`] is for a time that is still ahead.
    pub fn next(&self, now: Instant) -> Turn {
        let cap = self
            .terms
            .map_or_else(|| self.born.after(LONGEST), |terms| terms.cap);
        match self.stage {
            Stage::Over => Turn::Over,
            _ if now >= cap => Turn::Over,
            Stage::Next(ask) if now >= self.due => Turn::Ask(ask),
            Stage::Next(_) => Turn::Wait(self.due.min(cap)),
        }
    }

    /// What a call came to. Of one that was overtaken by [`Keeper::finish`] only what it proves.
    pub fn told(&mut self, now: Instant, ask: Ask, answer: Answer) {
        if answer == Answer::Done && ask == Ask::Heartbeat {
            self.beaten(now);
        }
        if self.stage != Stage::Next(ask) {
            return;
        }
        match (ask, answer) {
            (Ask::Hooks, Answer::Hooks(hooks)) => self.know(now, &hooks),
            (Ask::State, Answer::State(state)) => self.stand(now, state.as_deref()),
            (Ask::Heartbeat, Answer::Done) => self.due = now.after(self.beat(now)),
            (Ask::Complete, Answer::Done) => self.end(),
            (Ask::Heartbeat | Ask::Complete, Answer::NoAction) => self.refused(now),
            (Ask::State, answer) => {
                self.blind = answer == Answer::Failed(HookFailure::Denied);
                // Heartbeats may be let through where looking is throttled.
                self.act();
                self.again(now);
            }
            (Ask::Hooks, Answer::Failed(HookFailure::Denied)) if self.finished => {
                // Most groups have no hook, and nobody may say that this one has.
                self.missing += 1;
                if self.missing >= MISSING {
                    return self.end();
                }
                self.wait(now, spread(now, DENIED));
            }
            (_, Answer::Failed(HookFailure::Denied)) => self.wait(now, spread(now, DENIED)),
            _ => self.again(now),
        }
    }

    /// The work is over. A launch is completed now; a termination is the ladder's to complete.
    pub fn finish(&mut self, now: Instant) {
        if self.stage == Stage::Over {
            return;
        }
        self.finished = true;
        match self.transition {
            Transition::Terminating => self.end(),
            Transition::Launching if self.terms.is_some() => {
                self.act();
                self.due = now;
                self.retry = Retry::default();
            }
            // Which hook that is, is being asked.
            Transition::Launching => {}
        }
    }

    /// By when the work must be over: at the action's cap, or when it lapses for want of
    /// heartbeats once no further try can prevent that, each less what cancelling takes. `None`
    /// without a hook of ours, and before that is known.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn know(&mut self, now: Instant, hooks: &[Hook]) {
        let timeout = hooks.iter().map(|hook| hook.heartbeat_timeout).min();
        let Some(timeout) = timeout else {
            return self.end();
        };
        let each = hooks.iter().map(|hook| {
            let timeouts = hook.heartbeat_timeout.saturating_mul(TIMEOUTS);
            timeouts.min(hook.global_timeout)
        });
        let cap = each.min().unwrap_or(LONGEST).min(LONGEST);
        let cap = self.born.after(cap);
        self.terms = Some(Terms { timeout, cap });
        self.deadline = Some(before(cap, self.margin));
        self.retry = Retry::default();
        self.due = now;
        self.act();
        match self.transition {
            Transition::Terminating if !self.finished => self.stage = Stage::Next(Ask::State),
            // It began about when the machine booted. Most are ready before a beat is due.
            Transition::Launching if !self.finished => {
                self.due = now.max(Instant::default().after(self.beat(now)));
            }
            _ => {}
        }
    }

    fn stand(&mut self, now: Instant, state: Option<&str>) {
        let mut standing = Standing::of(self.transition, state);
        if state.is_none() && self.transition == Transition::Launching {
            self.missing += 1;
            if self.missing >= MISSING {
                standing = Standing::Past;
            }
        }
        // The termination was there, and took it no further than the warm pool.
        if self.transition == Transition::Terminating && self.seen && state == Some("InService") {
            standing = Standing::Past;
        }
        match standing {
            Standing::Past => self.end(),
            Standing::Going => {
                self.end();
                // Whatever still runs has moments left to be cancelled in.
                self.deadline = Some(now);
            }
            Standing::Waiting => {
                self.seen = true;
                self.act();
                if std::mem::take(&mut self.refused) {
                    self.again(now);
                } else {
                    self.retry = Retry::default();
                    self.due = now;
                }
            }
            Standing::Early => {
                self.alive = now;
                self.again(now);
            }
        }
    }

    fn beaten(&mut self, now: Instant) {
        self.alive = now;
        self.seen = true;
        self.refused = false;
        self.retry = Retry::default();
        // If it was about to lapse, it is not any more.
        if let (Some(terms), false) = (self.terms, self.stage == Stage::Over) {
            self.deadline = Some(before(terms.cap, self.margin));
        }
    }

    /// There is no action. If it is still ahead nothing lapses; if it is over nothing helps.
    fn refused(&mut self, now: Instant) {
        self.alive = now;
        self.refused = true;
        if !self.blind {
            self.stage = Stage::Next(Ask::State);
            self.due = now;
            return;
        }
        self.missing += 1;
        if self.seen || (self.finished && self.missing >= MISSING) {
            return self.end();
        }
        self.again(now);
    }

    /// What the action is told next.
    fn act(&mut self) {
        self.stage = Stage::Next(if self.finished {
            Ask::Complete
        } else {
            Ask::Heartbeat
        });
    }

    fn end(&mut self) {
        self.stage = Stage::Over;
        self.deadline = None;
    }

    /// Another try, later each time.
    fn again(&mut self, now: Instant) {
        let third = self.terms.map_or(PATIENCE, |terms| terms.timeout / 3);
        let wait = self.retry.wait(now, third.min(PATIENCE));
        self.wait(now, wait);
    }

    /// The last try that can still prevent the action from lapsing is not missed, and after it the
    /// deadline is known.
    fn wait(&mut self, now: Instant, wait: Duration) {
        self.due = now.after(wait);
        let Some(terms) = self.terms.filter(|_| !self.finished) else {
            return;
        };
        let third = terms.timeout / 3;
        let end = before(self.alive.after(terms.timeout), self.margin.min(third));
        let last = before(end, LAST_TRY.min(third / 3));
        if self.due <= last {
            return;
        }
        if now < last {
            self.due = last;
        } else {
            let cap = before(terms.cap, self.margin);
            self.deadline = Some(end.min(cap));
        }
    }

    /// Between two beats: two of them may fail.
    fn beat(&self, now: Instant) -> Duration {
        let third = self.terms.map_or(SLOWEST_BEAT, |terms| terms.timeout / 3);
        spread(now, third.min(SLOWEST_BEAT))
    }
}

fn before(time: Instant, margin: Duration) -> Instant {
    Instant(time.0.saturating_sub(margin))
}
