//! A small Auto Scaling in virtual time, and a keeper that lives with it.

use std::time::Duration;

use super::*;
use crate::lifecycle::Instant;

pub const MARGIN: Duration = Duration::from_secs(20);
pub const HOUR: u64 = 3600;

pub fn at(second: u64) -> Instant {
    Instant(Duration::from_secs(second))
}

pub fn hook(timeout: u64) -> Hook {
    let timeout = Duration::from_secs(timeout);
    Hook {
        name: "clockout".to_owned(),
        transition: Transition::Terminating,
        heartbeat_timeout: timeout,
        global_timeout: Duration::from_secs(48 * HOUR).min(timeout * 100),
        has_target: false,
        abandons: true,
    }
}

/// What Auto Scaling does with one action, and with the calls about it.
#[derive(Debug, Clone)]
pub struct World {
    transition: Transition,
    timeout: u64,
    /// The action begins then.
    begins: Instant,
    /// Calls fail in this time, in this way.
    fault: (Instant, Instant, Failure),
    /// When the action ends, once it has begun.
    lapses: Option<Instant>,
    pub completed: bool,
    pub calls: Vec<(Instant, Ask)>,
    pub beats: Vec<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Refused(HookFailure),
    /// Done, and the answer is lost.
    Lost,
}

impl World {
    pub fn new(transition: Transition, timeout: u64) -> World {
        World {
            transition,
            timeout,
            begins: at(0),
            fault: (at(0), at(0), Failure::Lost),
            lapses: None,
            completed: false,
            calls: Vec::new(),
            beats: Vec::new(),
        }
    }

    pub fn begins(mut self, second: u64) -> World {
        self.begins = at(second);
        self
    }

    pub fn fails(mut self, from: u64, to: u64, how: Failure) -> World {
        self.fault = (at(from), at(to), how);
        self
    }

    pub fn throttled(self, from: u64, to: u64) -> World {
        self.fails(from, to, Failure::Refused(HookFailure::Retry))
    }

    fn cap(&self) -> Instant {
        let cap = (self.timeout * 100).min(48 * HOUR);
        self.begins.after(Duration::from_secs(cap))
    }

    /// When the action ends if it is told nothing more.
    pub fn lapses(&self) -> Instant {
        let first = self.begins.after(Duration::from_secs(self.timeout));
        self.lapses.unwrap_or(first).min(self.cap())
    }

    pub fn is_active(&self, now: Instant) -> bool {
        now >= self.begins && now < self.lapses() && !self.completed
    }

    fn state(&self, now: Instant) -> &'static str {
        match self.transition {
            Transition::Launching if now < self.begins => "Pending",
            Transition::Launching if self.is_active(now) => "Pending:Wait",
            Transition::Launching if self.completed => "InService",
            Transition::Launching => "Terminating",
            Transition::Terminating if now < self.begins => "Terminating",
            Transition::Terminating if self.is_active(now) => "Terminating:Wait",
            Transition::Terminating => "Terminating:Proceed",
        }
    }

    pub fn answer(&mut self, now: Instant, ask: Ask) -> Answer {
        self.calls.push((now, ask));
        let (from, to, how) = self.fault;
        let failure = Some(how).filter(|_| (from..to).contains(&now));
        if let Some(Failure::Refused(failure)) = failure {
            return Answer::Failed(failure);
        }
        let answer = match ask {
            Ask::Hooks => Answer::Hooks(vec![hook(self.timeout)]),
            Ask::State => Answer::State(Some(self.state(now).to_owned())),
            _ if !self.is_active(now) => Answer::NoAction,
            Ask::Heartbeat => {
                self.beats.push(now);
                self.lapses = Some(now.after(Duration::from_secs(self.timeout)));
                Answer::Done
            }
            Ask::Complete => {
                self.completed = true;
                Answer::Done
            }
        };
        match failure {
            Some(Failure::Lost) => Answer::Failed(HookFailure::Retry),
            _ => answer,
        }
    }
}

/// A keeper that began at zero, and its world.
pub struct Story {
    pub keeper: Keeper,
    pub world: World,
    pub now: Instant,
    /// How long calls take.
    pub latency: Duration,
    /// The deadlines that were told, and when.
    pub deadlines: Vec<(Instant, Option<Instant>)>,
}

impl Story {
    pub fn new(world: World) -> Story {
        Story {
            keeper: Keeper::new(world.transition, MARGIN, at(0)),
            world,
            now: at(0),
            latency: Duration::from_millis(100),
            deadlines: Vec::new(),
        }
    }

    /// Runs until then, or until it is over.
    pub fn run(&mut self, second: u64) -> Turn {
        let until = at(second);
        let mut quick = 0;
        loop {
            let turn = self.keeper.next(self.now);
            match turn {
                Turn::Over => return turn,
                _ if self.now >= until => return turn,
                Turn::Wait(next) => {
                    assert!(next > self.now, "waits for the past");
                    self.now = next.min(until);
                    quick = 0;
                }
                Turn::Ask(ask) => {
                    quick += 1;
                    assert!(quick < 5, "never waits: {ask:?}");
                    let answer = self.world.answer(self.now, ask);
                    self.now = self.now.after(self.latency);
                    self.keeper.told(self.now, ask, answer);
                    let deadline = self.keeper.deadline();
                    if self.deadlines.last().map(|(_, last)| *last) != Some(deadline) {
                        self.deadlines.push((self.now, deadline));
                    }
                }
            }
        }
    }

    pub fn finish(&mut self) {
        self.keeper.finish(self.now);
    }

    pub fn asks(&self) -> Vec<Ask> {
        self.world.calls.iter().map(|(_, ask)| *ask).collect()
    }

    /// The soonest deadline that was told.
    pub fn soonest(&self) -> Option<Instant> {
        self.deadlines
            .iter()
            .filter_map(|(_, deadline)| *deadline)
            .min()
    }
}
