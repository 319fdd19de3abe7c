//! Pollers' processes: they start, are killed, start again, and hold the lease or wait for it.

use std::time::Duration;

use super::World;
use super::deeds::{Asker, Happening};
use super::nature::Pollers;
use super::wire::{Poller, Told};
use crate::lifecycle::Instant;

/// Makes a poller that has just been started.
pub type Maker<'a> = dyn Fn(Instant) -> Box<dyn Poller> + 'a;

/// Where a poller runs, again and again.
#[derive(Default)]
pub struct Seat {
    poller: Option<Box<dyn Poller>>,
    life: u32,
    /// Which deadline the world will wake it for.
    wakes: Option<Instant>,
}

impl World<'_> {
    pub(super) fn seat_pollers(&mut self) {
        let pollers = match self.nature.pollers {
            Pollers::One => 1,
            Pollers::Two | Pollers::TwoWithLease => 2,
        };
        for seat in 0..pollers {
            self.seats.push(Seat::default());
            let wait = match seat {
                0 => Duration::ZERO,
                _ => self.chance.between(Duration::ZERO, self.nature.interval),
            };
            self.later(wait, Happening::Starts(seat));
        }
    }

    pub(super) fn starts(&mut self, seat: usize) {
        let poller = (self.maker)(self.now);
        let place = &mut self.seats[seat];
        place.poller = Some(poller);
        place.life += 1;
        place.wakes = None;
        let life = place.life;
        let asker = Asker { seat, life };
        self.says(|| format!("poller {seat} starts"));
        self.judge.starts(self.now, self.nature.supply_lag);
        if self.nature.pollers == Pollers::TwoWithLease {
            let leads = *self.holder.get_or_insert(seat) == seat;
            self.hears(asker, Told::Leader(leads));
        }
        self.hears(asker, Told::Time);
        let lives = self.nature.faults.lives;
        if !lives.is_zero() && self.is_faulty() {
            let wait = self.chance.between(Duration::from_secs(1), 2 * lives);
            self.later(wait, Happening::Dies(asker));
        }
    }

    pub(super) fn dies(&mut self, asker: Asker) {
        if !self.is_faulty() || self.seats[asker.seat].life != asker.life {
            return;
        }
        self.says(|| format!("poller {} is killed", asker.seat));
        self.tally.restarts += 1;
        self.seats[asker.seat].poller = None;
        if self.holder == Some(asker.seat) {
            self.holder = None;
            let wait = self.chance.seconds(1, 3);
            self.later(wait, Happening::LeaseIsFree);
        }
        let wait = self.chance.seconds(1, 60);
        self.later(wait, Happening::Starts(asker.seat));
    }

    pub(super) fn lease_is_free(&mut self) {
        if self.holder.is_some() {
            return;
        }
        if let Some(seat) = self.seats.iter().position(|seat| seat.poller.is_some()) {
            self.holder = Some(seat);
            let life = self.seats[seat].life;
            self.says(|| format!("poller {seat} has the lease"));
            self.judge.starts(self.now, self.nature.supply_lag);
            self.hears(Asker { seat, life }, Told::Leader(true));
        }
    }

    /// Whether a write of this poller is let out.
    pub(super) fn may_write(&self, asker: Asker) -> bool {
        self.nature.pollers != Pollers::TwoWithLease || self.holder == Some(asker.seat)
    }

    /// The poller is told something, if it still lives, and asks for what it wants.
    pub(super) fn hears(&mut self, asker: Asker, told: Told) {
        let seat = &mut self.seats[asker.seat];
        let Some(poller) = seat.poller.as_mut().filter(|_| seat.life == asker.life) else {
            return;
        };
        let asks = poller.hears(self.now, told);
        let next = poller.next();
        let sooner = next.filter(|at| seat.wakes.is_none_or(|wakes| *at < wakes));
        if let Some(at) = sooner {
            seat.wakes = Some(at);
            let wait = at.since(self.now);
            self.later(wait, Happening::Time(asker));
        }
        for ask in asks {
            self.asks(asker, ask);
        }
    }

    pub(super) fn ticks(&mut self, asker: Asker) {
        let seat = &mut self.seats[asker.seat];
        if seat.life == asker.life {
            seat.wakes = None;
            let due = seat.poller.as_ref().and_then(|poller| poller.next());
            if due.is_some_and(|at| at <= self.now) {
                return self.hears(asker, Told::Time);
            }
            if let Some(at) = due {
                self.seats[asker.seat].wakes = Some(at);
                let wait = at.since(self.now);
                self.later(wait, Happening::Time(asker));
            }
        }
    }
}
