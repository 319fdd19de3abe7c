//! One instance on its way through the lifecycle hooks of its group, as Auto Scaling leads it
//! (user guide: "Amazon EC2 Auto Scaling lifecycle hooks", "Use lifecycle hooks with a warm pool",
//! "Instance lifecycle policies"). Pure: the time is given.
//!
//! Its hooks may have timeouts of a second; AWS' have 30 at least.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    Launching,
    Terminating,
}

/// A lifecycle hook of a group.
#[derive(Debug, Clone)]
pub struct Hook {
    pub name: String,
    pub transition: Transition,
    /// An action lapses so long after it began or after its last heartbeat.
    pub heartbeat: Duration,
    /// It lapses so long after it began in any case.
    pub global: Duration,
    /// What lapses is taken for ABANDON, else for CONTINUE.
    pub abandons: bool,
    /// Whom the group tells of it.
    pub target: Option<&'static str>,
}

impl Hook {
    fn new(name: &str, transition: Transition) -> Hook {
        Hook {
            name: name.to_owned(),
            transition,
            heartbeat: Duration::ZERO,
            global: Duration::ZERO,
            abandons: true,
            target: None,
        }
        .heartbeat(Duration::from_secs(3600))
    }

    pub fn launching(name: &str) -> Hook {
        Hook::new(name, Transition::Launching)
    }

    pub fn terminating(name: &str) -> Hook {
        Hook::new(name, Transition::Terminating)
    }

    /// Sets the cap as well: 48 hours or 100 times the timeout, whichever is less.
    pub fn heartbeat(self, timeout: Duration) -> Hook {
        let most = Duration::from_secs(48 * 3600);
        Hook {
            heartbeat: timeout,
            global: most.min(timeout * 100),
            ..self
        }
    }

    pub fn global(self, global: Duration) -> Hook {
        Hook { global, ..self }
    }

    pub fn continues(self) -> Hook {
        let abandons = false;
        Hook { abandons, ..self }
    }

    pub fn target(self, arn: &'static str) -> Hook {
        let target = Some(arn);
        Hook { target, ..self }
    }
}

/// Where an instance is led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From its launch, or out of the warm pool, into service.
    IntoService,
    /// From its launch into the warm pool.
    LaunchedIntoPool,
    /// From service back into the warm pool: the terminating hooks, under the pool's states.
    BackIntoPool,
    /// To its end.
    Out,
}

impl Way {
    pub fn transition(self) -> Transition {
        match self {
            Way::IntoService | Way::LaunchedIntoPool => Transition::Launching,
            Way::BackIntoPool | Way::Out => Transition::Terminating,
        }
    }

    fn state(self) -> &'static str {
        match self {
            Way::IntoService => "Pending",
            Way::LaunchedIntoPool | Way::BackIntoPool => "Warmed:Pending",
            Way::Out => "Terminating",
        }
    }
}

/// Where the way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    Dies,
    /// It runs, is billed and counts for nothing until somebody terminates it.
    Retained,
}

/// One pending lifecycle action.
#[derive(Debug, Clone)]
struct Action {
    hook: Hook,
    began: Instant,
    heard: Instant,
}

impl Action {
    fn lapses_at(&self) -> Instant {
        (self.heard + self.hook.heartbeat).min(self.began + self.hook.global)
    }
}

#[derive(Debug, Clone)]
pub struct Passage {
    pub way: Way,
    /// Looks and calls until the actions are there: the target is announced before.
    lag: u32,
    actions: Vec<Action>,
    abandoned: bool,
    /// The group keeps what was abandoned on its way out.
    retains: bool,
    /// Looks that still show `:Proceed`.
    trail: u32,
    fate_told: bool,
}

impl Passage {
    /// `hooks` are the group's; those of the other transition do not matter.
    pub fn new(way: Way, hooks: &[Hook], lag: u32, now: Instant) -> Passage {
        let meant = hooks.iter().filter(|it| it.transition == way.transition());
        let action = |hook: &Hook| Action {
            hook: hook.clone(),
            began: now,
            heard: now,
        };
        Passage {
            way,
            lag,
            actions: meant.map(action).collect(),
            abandoned: false,
            retains: false,
            trail: 1,
            fate_told: false,
        }
    }

    pub fn retaining(self, retains: bool) -> Passage {
        Passage { retains, ..self }
    }

    /// What `DescribeAutoScalingInstances` shows; `None` when it is not listed any more.
    pub fn look(&mut self, now: Instant) -> Option<String> {
        self.lapse(now);
        let state = self.way.state();
        if self.lag > 0 {
            self.lag -= 1;
            return Some(state.to_owned());
        }
        let Some(fate) = self.fate() else {
            return Some(format!("{state}:Wait"));
        };
        let state = if fate == Fate::Dies {
            Way::Out.state()
        } else {
            state
        };
        if fate == Fate::Retained {
            return Some(format!("{state}:Retained"));
        }
        if self.trail > 0 {
            self.trail -= 1;
            return Some(format!("{state}:Proceed"));
        }
        match (fate, self.way) {
            (Fate::Arrives, Way::IntoService) => Some("InService".to_owned()),
            (Fate::Arrives, _) => Some("Warmed:Stopped".to_owned()),
            _ => None,
        }
    }

    /// Whether there was such an action.
    pub fn heartbeat(&mut self, hook: &str, now: Instant) -> bool {
        let Some(place) = self.pending(hook, now) else {
            return false;
        };
        self.actions[place].heard = now;
        true
    }

    /// Whether there was such an action. The first ABANDON ends the others too.
    pub fn complete(&mut self, hook: &str, abandon: bool, now: Instant) -> bool {
        let Some(place) = self.pending(hook, now) else {
            return false;
        };
        self.end(place, abandon);
        true
    }

    /// How it ended, the first time that one asks.
    pub fn take_fate(&mut self, now: Instant) -> Option<Fate> {
        self.lapse(now);
        if self.fate_told || self.lag > 0 {
            return None;
        }
        let fate = self.fate()?;
        self.fate_told = true;
        Some(fate)
    }

    fn fate(&self) -> Option<Fate> {
        if !self.actions.is_empty() {
            return None;
        }
        Some(match (self.way, self.abandoned) {
            (Way::Out, true) if self.retains => Fate::Retained,
            (Way::Out, _) | (_, true) => Fate::Dies,
            (_, false) => Fate::Arrives,
        })
    }

    fn pending(&mut self, hook: &str, now: Instant) -> Option<usize> {
        self.lapse(now);
        if self.lag > 0 {
            self.lag -= 1;
            return None;
        }
        self.actions.iter().position(|it| it.hook.name == hook)
    }

    fn lapse(&mut self, now: Instant) {
        while let Some(place) = self.actions.iter().position(|it| it.lapses_at() <= now) {
            self.end(place, self.actions[place].hook.abandons);
        }
    }

    fn end(&mut self, place: usize, abandon: bool) {
        self.actions.remove(place);
        if abandon {
            self.abandoned = true;
            self.actions.clear();
        }
    }
}
