//! What was ordered of one group, and what reads show of it.
//!
//! A read may lag behind an order, and an order's answer may be lost. Neither must lead to a
//! second order for the same instances, nor to one that lowers what the first had raised.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::lifecycle::Instant;

use super::token::{Epoch, View};
use super::words::{GroupSettings, Order};

/// For so long a read that shows less than what was ordered is taken to lag.
const LAG: Duration = Duration::from_secs(15);

/// An order that was sent, and that reads may not show yet.
#[derive(Debug, Clone)]
struct Written {
    order: Order,
    /// At least this was asked for.
    desired: u32,
    at: Instant,
    /// `Some`: nobody knows whether it was taken; in view of this it was made.
    doubt: Option<Shown>,
}

/// What a read shows, as far as orders depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub desired: u32,
    /// See [`super::token::members`].
    pub members: u128,
}

#[derive(Debug)]
pub struct Orders {
    /// The order that is not answered yet.
    pub open: Option<Order>,
    answered: Instant,
    written: Option<Written>,
    epoch: Epoch,
}

impl Orders {
    /// `wall`: since 1970.
    pub fn new(wall: Duration) -> Orders {
        Orders {
            open: None,
            answered: Instant::default(),
            written: None,
            epoch: Epoch::new(wall),
        }
    }

    /// Reads that were asked for before this may be older than the last order.
    pub fn answered(&self) -> Instant {
        self.answered
    }

    /// A read showed this desired capacity. It is believed from now on if it shows the order, or
    /// was asked for so long after it that it cannot lag. Until then the order stands, however
    /// long no read succeeds.
    pub fn read(&mut self, wall: Duration, asked: Instant, desired: u32) {
        let Some(ref written) = self.written else {
            return;
        };
        let shows = desired >= written.desired && asked >= self.answered;
        if shows && written.doubt.is_some() {
            // It was taken after all.
            self.epoch = self.epoch.next(wall);
        }
        if shows || asked >= written.at.after(LAG) {
            self.written = None;
        }
    }

    /// The desired capacity: what a read showed, or what was ordered and the read may not
    /// show yet. An order that may be repeated as it was does not count: it would be in
    /// its own way.
    pub fn desired(&self, read: u32, shown: impl Fn() -> Shown) -> u32 {
        match self.written {
            Some(ref written) if written.doubt.is_none_or(|view| view != shown()) => {
                read.max(written.desired)
            }
            _ => read,
        }
    }

    /// The most that may have been asked for, beyond what reads show.
    pub fn claimed(&self) -> u32 {
        self.written.as_ref().map_or(0, |written| written.desired)
    }

    /// The order for `launch` more than `occupied`, to be sent now. One that is in doubt is
    /// repeated as it was, as long as the view is the same. `None`: it must not be crossed by a
    /// smaller one.
    pub fn make(
        &mut self,
        settings: &GroupSettings,
        launch: NonZeroU32,
        occupied: u32,
        shown: Shown,
    ) -> Option<Order> {
        let doubt = self
            .written
            .as_ref()
            .filter(|written| written.doubt == Some(shown));
        let order = match doubt {
            Some(written) if launch < written.order.count => return None,
            Some(written) => written.order.clone(),
            None => {
                let desired = occupied.saturating_add(launch.get());
                let view = View {
                    group: &settings.id,
                    backend: &settings.backend,
                    place: &settings.place,
                    members: shown.members,
                    desired,
                    count: launch.get(),
                    epoch: self.epoch,
                };
                Order {
                    group: settings.id.clone(),
                    count: launch,
                    desired,
                    token: view.token(),
                }
            }
        };
        self.open = Some(order.clone());
        Some(order)
    }

    /// The order with this token, if it is the one that is not answered yet.
    pub fn take(&mut self, now: Instant, token: &str) -> Option<Order> {
        let order = self.open.take_if(|order| order.token == token)?;
        self.answered = now;
        Some(order)
    }

    /// Of the order so many are on their way, and no more. Tells how many.
    pub fn definite(&mut self, now: Instant, wall: Duration, order: Order, count: u32) -> u32 {
        self.epoch = self.epoch.next(wall);
        let count = count.min(order.count.get());
        if count > 0 {
            let short = order.count.get() - count;
            self.written = Some(Written {
                desired: order.desired.saturating_sub(short),
                order,
                at: now,
                doubt: None,
            });
        }
        count
    }

    /// Nobody knows what became of the order, which was made in this view.
    pub fn doubt(&mut self, now: Instant, order: Order, shown: Shown) {
        self.written = Some(Written {
            desired: order.desired,
            order,
            at: now,
            doubt: Some(shown),
        });
    }
}
