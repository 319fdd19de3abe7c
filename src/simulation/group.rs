//! The Auto Scaling group, as far as one of its instances can see it: lifecycle states, hooks,
//! protection, and an API that is throttled, denied or loses its answers.

use std::time::Duration;

use super::chance::Chance;
use crate::instance::notices::{Hook, Transition};
use crate::lifecycle::Instant;

/// Where the instance truly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    InService,
    Standby,
    /// Chosen to leave; the hook has not noticed yet.
    Terminating,
    /// Nothing holds it any more.
    Proceeding,
    Pooled,
    Gone,
}

/// A pending lifecycle action.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    pub transition: Transition,
    pub began: Instant,
    pub expires: Instant,
    pub cap: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Hooks,
    State,
    Heartbeat(Transition),
    Complete(Transition),
    Protect(bool),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Hooks(Vec<Hook>),
    State(Option<String>),
    Done,
    NoAction,
    NotInService,
    Denied,
    Throttled,
    /// It was done, perhaps; nobody heard the answer.
    Lost,
}

/// The group has done something by itself.
#[derive(Debug, Clone, Copy)]
pub enum Moved {
    Waits,
    Lapsed(Action),
    Gone,
    Pooled,
}

#[derive(Debug)]
pub struct Group {
    pub hooks: Vec<Hook>,
    pub state: State,
    pub action: Option<Action>,
    /// When the state changes by itself.
    moves_at: Option<Instant>,
    pub is_protected: bool,
    /// Who leaves service goes into the warm pool.
    pub has_pool: bool,
    pub throttled_until: Instant,
    pub denied_until: Instant,
    pub loses_until: Instant,
    chance: Chance,
}

impl Group {
    pub fn new(hooks: Vec<Hook>, chance: Chance) -> Group {
        Group {
            hooks,
            state: State::InService,
            action: None,
            moves_at: None,
            is_protected: false,
            has_pool: false,
            throttled_until: Instant::default(),
            denied_until: Instant::default(),
            loses_until: Instant::default(),
            chance,
        }
    }

    fn hook(&self, transition: Transition) -> Option<&Hook> {
        self.hooks.iter().find(|hook| hook.transition == transition)
    }

    fn begin_action(&mut self, transition: Transition, now: Instant) -> bool {
        let action = self.hook(transition).map(|hook| Action {
            transition,
            began: now,
            expires: now.after(hook.heartbeat_timeout),
            cap: now.after(hook.global_timeout),
        });
        self.action = action;
        self.action.is_some()
    }

    /// The instance has been started, for service or for the pool.
    pub fn launch(&mut self, now: Instant) {
        self.state = State::Pending;
        if !self.begin_action(Transition::Launching, now) {
            self.end_action(now, true);
        }
    }

    /// Out of the pool, into service.
    pub fn unpool(&mut self, now: Instant) {
        self.has_pool = false;
        self.launch(now);
    }

    /// Out of the pool, to its end.
    pub fn leaves_pool(&mut self, now: Instant) {
        self.has_pool = false;
        self.end_action(now, false);
    }

    /// The instance is chosen to leave, unless it is protected.
    pub fn scale_in(&mut self, now: Instant) -> bool {
        let in_service = matches!(self.state, State::InService | State::Standby);
        let chosen = in_service && !self.is_protected;
        if chosen {
            self.state = State::Terminating;
            self.moves_at = Some(now.after(self.chance.seconds(10, 60)));
        }
        chosen
    }

    /// The instance leaves whatever the group thinks.
    pub fn ends(&mut self) {
        self.state = State::Gone;
        self.action = None;
        self.moves_at = None;
    }

    pub fn next(&self) -> Option<Instant> {
        let expires = self.action.map(|action| action.expires);
        [expires, self.moves_at].into_iter().flatten().min()
    }

    /// What is due happens.
    pub fn advance(&mut self, now: Instant) -> Option<Moved> {
        if let Some(action) = self.action.filter(|action| action.expires <= now) {
            let abandons = self
                .hook(action.transition)
                .is_some_and(|hook| hook.abandons);
            let launches = action.transition == Transition::Launching && !abandons;
            self.end_action(now, launches);
            return Some(Moved::Lapsed(action));
        }
        self.moves_at.filter(|at| *at <= now)?;
        self.moves_at = None;
        match self.state {
            State::Terminating => {
                if !self.begin_action(Transition::Terminating, now) {
                    self.end_action(now, false);
                }
                Some(Moved::Waits)
            }
            State::Proceeding if self.has_pool => {
                self.state = State::Pooled;
                Some(Moved::Pooled)
            }
            State::Proceeding => {
                self.state = State::Gone;
                Some(Moved::Gone)
            }
            _ => None,
        }
    }

    fn end_action(&mut self, now: Instant, launches: bool) {
        self.action = None;
        if launches && self.has_pool {
            self.state = State::Pooled;
        } else if launches {
            self.state = State::InService;
        } else {
            self.state = State::Proceeding;
            self.moves_at = Some(now.after(self.chance.seconds(5, 60)));
        }
    }

    pub fn call(&mut self, now: Instant, call: Call) -> Word {
        if now < self.denied_until {
            return Word::Denied;
        }
        if now < self.throttled_until {
            return Word::Throttled;
        }
        let word = self.perform(now, call);
        if now < self.loses_until && self.chance.one_in(3) {
            return Word::Lost;
        }
        word
    }

    fn perform(&mut self, now: Instant, call: Call) -> Word {
        match call {
            Call::Hooks => Word::Hooks(self.hooks.clone()),
            Call::State => Word::State(self.describe()),
            Call::Heartbeat(transition) => {
                let timeout = self.hook(transition).map(|hook| hook.heartbeat_timeout);
                match (&mut self.action, timeout) {
                    (Some(action), Some(timeout)) if action.transition == transition => {
                        action.expires = now.after(timeout).min(action.cap);
                        Word::Done
                    }
                    _ => Word::NoAction,
                }
            }
            Call::Complete(transition) => {
                let action = self.action;
                if action.is_none_or(|action| action.transition != transition) {
                    return Word::NoAction;
                }
                self.end_action(now, transition == Transition::Launching);
                Word::Done
            }
            Call::Protect(_) if !matches!(self.state, State::InService | State::Standby) => {
                Word::NotInService
            }
            Call::Protect(protect) => {
                self.is_protected = protect;
                Word::Done
            }
        }
    }

    fn describe(&self) -> Option<String> {
        let waits = self.action.is_some();
        let to_pool = self.has_pool;
        let state = match (self.state, waits) {
            // Into its pool and back to it (Auto Scaling user guide, "Use lifecycle hooks with a
            // warm pool").
            (State::Pending | State::Terminating, true) if to_pool => "Warmed:Pending:Wait",
            (State::Pending | State::Terminating, false) if to_pool => "Warmed:Pending",
            (State::Proceeding, _) if to_pool => "Warmed:Pending:Proceed",
            (State::Pending, _) => "Pending:Wait",
            (State::InService, _) => "InService",
            (State::Standby, _) => "Standby",
            (State::Terminating, true) => "Terminating:Wait",
            (State::Terminating, false) => "Terminating",
            (State::Proceeding, _) => "Terminating:Proceed",
            (State::Pooled, _) => "Warmed:Running",
            (State::Gone, _) => return None,
        };
        Some(state.to_owned())
    }
}

/// A hook as it is made without any options, but for its times.
pub fn hook(transition: Transition, heartbeat_timeout: Duration) -> Hook {
    let longest = Duration::from_secs(48 * 3600);
    Hook {
        name: "clockout".to_owned(),
        transition,
        heartbeat_timeout,
        global_timeout: longest.min(heartbeat_timeout * 100),
        has_target: false,
        abandons: true,
    }
}
