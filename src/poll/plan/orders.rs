//! What was ordered of one group, and what reads show of it.
//!
//! A read may lag behind an order, and an order's answer may be lost. Neither must lead to a
//! second order for the same instances, nor to one that lowers what the first had raised.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::lifecycle::Instant;

use super::token::{Epoch, View};
use super::words::{GroupSettings, Member, Order};

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
    /// Instances that orders have brought, by the time they were told. Reads need not grow better
    /// with time: one that shows an order may be followed by an older one that does not.
    brought: Vec<(Instant, Member)>,
    epoch: Epoch,
}

impl Orders {
    /// `wall`: since 1970.
    pub fn new(wall: Duration) -> Orders {
        Orders {
            open: None,
            answered: Instant::default(),
            written: None,
            brought: Vec::new(),
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
        self.brought.retain(|(at, _)| asked < at.after(LAG));
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

    /// An order has brought these.
    pub fn bring(&mut self, now: Instant, members: Vec<Member>) {
        let members = members.into_iter().map(|member| (now, member));
        self.brought.extend(members);
    }

    /// How many that orders have brought so lately that a read may not list them are not listed.
    pub fn unlisted(&self, listed: impl Fn(&Member) -> bool) -> u32 {
        let brought = self.brought.iter();
        let unlisted = brought.filter(|(_, member)| !listed(member)).count();
        u32::try_from(unlisted).unwrap_or(u32::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn what_an_order_brought_is_on_its_way_even_if_an_older_read_follows_one_that_showed_it() {
        let mut orders = Orders::new(Duration::ZERO);
        orders.bring(at(10), vec![Member::new("i-1"), Member::new("i-2")]);
        let first = |member: &Member| member.as_str() == "i-1";
        for asked in [11, 12, 24] {
            orders.read(Duration::ZERO, at(asked), 2);
            assert_eq!((orders.unlisted(|_| false), orders.unlisted(first)), (2, 1));
        }
        orders.read(Duration::ZERO, at(25), 0);
        assert_eq!(orders.unlisted(|_| false), 0);
    }
}
