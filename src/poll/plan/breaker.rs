//! Stops launching where launches fail, and tries one again after a while.

use std::time::Duration;

use crate::lifecycle::Instant;

use super::arithmetic::Allowance;
use super::words::TroubleKind;

const SHORTEST: Duration = Duration::from_secs(120);
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// A person or somebody else's scale-in has to help; trying more often or less often does not.
const FOR_A_PERSON: Duration = Duration::from_secs(5 * 60);
/// Boots in a row that fail before the group is given up for a while.
const STRIKES: u32 = 3;

/// Why it is open, and what closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Instances come and never work; one that boots closes it.
    Boot,
    /// The provider gives no instances; one that is listed closes it.
    Provider,
    /// As `Provider`, and a person must help.
    Person,
}

impl Cause {
    /// `None`: no reason to stop.
    pub fn of(kind: TroubleKind) -> Option<Cause> {
        match kind {
            TroubleKind::Capacity => Some(Cause::Provider),
            TroubleKind::Quota | TroubleKind::Denied => Some(Cause::Person),
            TroubleKind::Throttled | TroubleKind::Conflict | TroubleKind::Other => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// One instance was launched to see whether it works again.
    Probing {
        since: Instant,
    },
}

#[derive(Debug, Clone)]
pub struct Breaker {
    state: State,
    cause: Cause,
    why: String,
    /// Failed boots in a row.
    strikes: u32,
    /// How often it opened without having closed.
    opened: u32,
}

/// As a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerView {
    Closed,
    Open {
        why: String,
        until: Instant,
    },
    /// One is tried, or may be.
    HalfOpen {
        why: String,
    },
}

/// What has changed: told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Opened { why: String, wait: Duration },
    Closed,
}

impl Breaker {
    pub fn new() -> Breaker {
        Breaker {
            state: State::Closed,
            cause: Cause::Boot,
            why: String::new(),
            strikes: 0,
            opened: 0,
        }
    }

    /// What may be launched. `flight`: the group still tries to get what it was asked for, and is
    /// the probe itself. `patience`: how long a probe may take.
    pub fn allowance(&self, now: Instant, flight: bool, patience: Duration) -> Allowance {
        match self.state {
            State::Closed => Allowance::Any,
            _ if flight => Allowance::None,
            State::Open { until } if now < until => Allowance::None,
            State::Open { .. } => Allowance::One,
            State::Probing { since } if now.since(since) <= patience => Allowance::None,
            State::Probing { .. } => Allowance::One,
        }
    }

    /// What is on the way to the group is not to be counted on.
    pub fn provider_fails(&self) -> bool {
        self.state != State::Closed && self.cause != Cause::Boot
    }

    /// Something was launched: if the breaker is not closed, that was the probe.
    pub fn launched(&mut self, now: Instant) {
        if self.state != State::Closed {
            self.state = State::Probing { since: now };
        }
    }

    /// An instance never booted.
    pub fn boot_failed(&mut self, now: Instant, what: &str) -> Option<Change> {
        self.strikes = self.strikes.saturating_add(1);
        let probing = matches!(self.state, State::Probing { .. });
        if self.strikes < STRIKES && !(probing && self.cause == Cause::Boot) {
            return None;
        }
        let why = format!("{} instances in a row never booted; {what}", self.strikes);
        self.open(now, Cause::Boot, why)
    }

    /// An instance booted.
    pub fn booted(&mut self) -> Option<Change> {
        self.strikes = 0;
        self.close_if(|cause| cause == Cause::Boot)
    }

    /// The provider gave what it had refused: everything that was asked for is listed.
    pub fn provided(&mut self) -> Option<Change> {
        self.close_if(|cause| cause != Cause::Boot)
    }

    fn close_if(&mut self, closes: impl Fn(Cause) -> bool) -> Option<Change> {
        if self.state == State::Closed || !closes(self.cause) {
            return None;
        }
        self.state = State::Closed;
        self.opened = 0;
        Some(Change::Closed)
    }

    /// Opens it, for longer each time in a row. While it is open nothing changes.
    pub fn open(&mut self, now: Instant, cause: Cause, why: String) -> Option<Change> {
        if matches!(self.state, State::Open { until } if now < until) {
            return None;
        }
        let wait = match cause {
            Cause::Person => FOR_A_PERSON,
            Cause::Boot | Cause::Provider => SHORTEST
                .saturating_mul(1 << self.opened.min(8))
                .min(LONGEST),
        };
        self.opened = self.opened.saturating_add(1);
        self.cause = cause;
        self.why.clone_from(&why);
        self.state = State::Open {
            until: now.after(wait),
        };
        Some(Change::Opened { why, wait })
    }

    pub fn view(&self, now: Instant) -> BreakerView {
        let why = || self.why.clone();
        match self.state {
            State::Closed => BreakerView::Closed,
            State::Open { until } if now < until => BreakerView::Open { why: why(), until },
            State::Open { .. } | State::Probing { .. } => BreakerView::HalfOpen { why: why() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    fn wait(change: Option<Change>) -> Option<u64> {
        match change {
            Some(Change::Opened { wait, .. }) => Some(wait.as_secs()),
            Some(Change::Closed) | None => None,
        }
    }

    #[test]
    fn three_boot_failures_in_a_row_open_it_and_a_boot_between_them_does_not_let_them_add_up() {
        let mut breaker = Breaker::new();
        for _ in 0..2 {
            assert_eq!(breaker.boot_failed(at(0), "x"), None);
        }
        assert_eq!(breaker.booted(), None);
        for _ in 0..2 {
            assert_eq!(breaker.boot_failed(at(1), "x"), None);
        }
        assert_eq!(wait(breaker.boot_failed(at(2), "x")), Some(120));
        assert_eq!(breaker.allowance(at(121), false, PATIENCE), Allowance::None);
        assert_eq!(breaker.allowance(at(122), false, PATIENCE), Allowance::One);
        breaker.launched(at(122));
        assert_eq!(breaker.allowance(at(123), false, PATIENCE), Allowance::None);
        assert_eq!(breaker.booted(), Some(Change::Closed));
        assert_eq!(breaker.allowance(at(123), false, PATIENCE), Allowance::Any);
    }

    #[test]
    fn it_opens_for_twice_as_long_each_time_up_to_half_an_hour() {
        let mut breaker = Breaker::new();
        let mut now = 0;
        for expected in [120, 240, 480, 960, 1800, 1800] {
            let opened = breaker.open(at(now), Cause::Provider, "ICE".into());
            assert_eq!(wait(opened), Some(expected));
            // While it is open, more of the same changes nothing.
            let again = breaker.open(at(now + 1), Cause::Provider, "ICE".into());
            assert_eq!(again, None);
            now += expected;
            breaker.launched(at(now));
        }
    }

    #[test]
    fn what_a_person_must_mend_is_tried_each_five_minutes() {
        let mut breaker = Breaker::new();
        for now in [0, 300, 600] {
            let opened = breaker.open(at(now), Cause::Person, "VcpuLimitExceeded".into());
            assert_eq!(wait(opened), Some(300));
        }
    }

    #[test]
    fn a_group_that_still_tries_is_its_own_probe() {
        let mut breaker = Breaker::new();
        breaker.open(at(0), Cause::Provider, "ICE".into());
        assert_eq!(breaker.allowance(at(999), true, PATIENCE), Allowance::None);
        assert!(breaker.provider_fails());
        assert_eq!(breaker.booted(), None);
        assert_eq!(breaker.provided(), Some(Change::Closed));
        assert!(!breaker.provider_fails());
    }

    #[test]
    fn a_probe_that_nobody_hears_of_again_is_followed_by_another_single_one() {
        let mut breaker = Breaker::new();
        breaker.open(at(0), Cause::Boot, "x".into());
        breaker.launched(at(120));
        assert_eq!(breaker.allowance(at(720), false, PATIENCE), Allowance::None);
        assert_eq!(breaker.allowance(at(721), false, PATIENCE), Allowance::One);
    }

    #[test]
    fn a_failed_probe_opens_it_again_at_once() {
        let mut breaker = Breaker::new();
        breaker.open(at(0), Cause::Boot, "x".into());
        breaker.booted();
        breaker.open(at(0), Cause::Boot, "x".into());
        breaker.launched(at(120));
        assert_eq!(wait(breaker.boot_failed(at(130), "x")), Some(240));
    }
}
