//! A lifecycle action that is kept: its [`Keeper`] and the one call that may be in flight.

use crate::instance::notices::{Answer, Ask, Keeper, Turn};
use crate::lifecycle::Instant;

pub struct Kept {
    keeper: Keeper,
    stands: Stands,
    /// The deadline that the lifecycle was last told.
    told: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Asked,
    Waits(Instant),
    Over,
}

impl Kept {
    pub fn new(now: Instant, keeper: Keeper) -> Kept {
        Kept {
            keeper,
            stands: Stands::Waits(now),
            told: None,
        }
    }

    pub fn is_over(&self) -> bool {
        self.stands == Stands::Over
    }

    /// Until when, if it waits.
    pub fn waits(&self) -> Option<Instant> {
        match self.stands {
            Stands::Waits(until) => Some(until),
            Stands::Asked | Stands::Over => None,
        }
    }

    pub fn finish(&mut self, now: Instant) {
        self.keeper.finish(now);
        if let Stands::Waits(_) = self.stands {
            self.stands = Stands::Waits(now);
        }
    }

    pub fn answered(&mut self, now: Instant, ask: Ask, answer: Answer) {
        if self.stands == Stands::Asked {
            self.keeper.told(now, ask, answer);
            self.stands = Stands::Waits(now);
        }
    }

    /// What to ask, and a deadline that was not told yet.
    pub fn turn(&mut self, now: Instant) -> (Option<Ask>, Option<Instant>) {
        if !matches!(self.stands, Stands::Waits(until) if until <= now) {
            return (None, None);
        }
        let deadline = self.keeper.deadline();
        let changed = deadline.filter(|_| deadline != self.told);
        self.told = deadline;
        let (stands, ask) = match self.keeper.next(now) {
            Turn::Ask(ask) => (Stands::Asked, Some(ask)),
            Turn::Wait(until) => {
                assert!(until > now, "it waits for {until} at {now}");
                (Stands::Waits(until), None)
            }
            Turn::Over => (Stands::Over, None),
        };
        self.stands = stands;
        (ask, changed)
    }
}
