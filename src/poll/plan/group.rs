//! One group as the planner knows it: what was read, what was ordered, what fails.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::lifecycle::Instant;

use super::arithmetic::{self, Allowance, Bounds, Grant, Part, Why};
use super::boot::{Boot, Boots, Tally};
use super::breaker::{Breaker, Cause, Change};
use super::decision::Decision;
use super::event::Report;
use super::names::Names;
use super::orders::{Orders, Shown};
use super::pace::Penalty;
use super::token;
use super::words::{GroupSettings, Launched, Member, Order, Supply, Trouble, TroubleKind};

/// What is asked for and not listed for longer than this is worth a question.
const OVERDUE: Duration = Duration::from_secs(30);
/// Such a question is asked at most this often.
const BETWEEN_TROUBLES: Duration = Duration::from_secs(60);
/// A failed read is repeated at least this often.
const LONGEST_BETWEEN_READS: Duration = Duration::from_secs(60);
/// Launches that are throttled are repeated at least this often.
const LONGEST_THROTTLE: Duration = Duration::from_secs(300);
/// Failures of no known kind, in a row, until the breaker opens.
const OTHERS: u32 = 3;

/// What was read of the group itself; its members are in [`Boots`].
#[derive(Debug, Clone)]
struct Read {
    asked: Instant,
    desired: u32,
    max: Option<u32>,
    held: Option<String>,
}

/// Counters for the metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Instances that were asked for.
    pub launched: u64,
    /// Orders that failed, by kind: a [`TroubleKind`] in its written form, or `unknown`.
    pub launch_errors: BTreeMap<&'static str, u64>,
    /// Decisions that launched.
    pub decisions: u64,
    /// Instances that were late or gone without ever having been up.
    pub boot_failures: u64,
}

/// How the group counts now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub tally: Tally,
    /// By the read, or by an order that reads do not show yet.
    pub desired: u32,
    /// Asked for and not listed.
    pub flight: u32,
    /// Of `flight`: past the boot deadline.
    pub lost: u32,
    /// Of `flight`, not `lost`: on the way to a group whose launches fail.
    pub phantom: u32,
    /// Up by the listing, but fewer agents are connected than instances are up.
    pub silent: u32,
}

impl Count {
    pub fn alive(&self) -> u32 {
        self.tally.listed().saturating_add(self.flight)
    }

    pub fn stale(&self) -> u32 {
        self.tally.stale + self.lost + self.silent
    }

    pub fn booting(&self) -> u32 {
        self.tally.booting + self.flight - self.lost - self.phantom
    }

    pub fn usable(&self) -> u32 {
        self.alive() - self.stale() - self.phantom
    }

    /// Something is on its way.
    pub fn coming(&self) -> bool {
        self.flight > 0 || self.tally.booting > 0
    }

    /// What counts against every maximum.
    pub fn occupied(&self) -> u32 {
        self.desired.max(self.alive())
    }
}

#[derive(Debug)]
pub struct Group {
    pub settings: GroupSettings,
    /// Index of the backend, and of the chain that it is in.
    pub backend: usize,
    pub chain: Option<usize>,
    pub boots: Boots,
    pub breaker: Breaker,
    pub totals: Totals,
    pub decision: Option<Decision>,
    /// When a read last ended, well or not.
    pub told: Option<Instant>,
    /// Why the last read failed.
    pub failure: Option<String>,
    pub orders: Orders,
    /// A Describe and a question for troubles that are not answered yet.
    pub describing: bool,
    pub asking: bool,
    read: Option<Read>,
    asked_troubles: Option<Instant>,
    reads: Penalty,
    launches: Penalty,
    others: u32,
}

impl Group {
    /// `wall`: since 1970.
    pub fn new(settings: GroupSettings, wall: Duration) -> Group {
        Group {
            boots: Boots::new(settings.boot),
            settings,
            backend: 0,
            chain: None,
            breaker: Breaker::new(),
            totals: Totals::default(),
            orders: Orders::new(wall),
            decision: None,
            told: None,
            failure: None,
            describing: false,
            asking: false,
            read: None,
            asked_troubles: None,
            reads: Penalty::default(),
            launches: Penalty::default(),
            others: 0,
        }
    }

    /// Whether it is the same group, whatever else the settings say.
    pub fn is_at(&self, settings: &GroupSettings) -> bool {
        self.settings.backend == settings.backend && self.settings.place == settings.place
    }

    pub fn adopt(&mut self, settings: GroupSettings) {
        self.boots.set_bounds(settings.boot);
        self.settings = settings;
    }

    /// Whether it was ever read.
    pub fn known(&self) -> bool {
        self.read.is_some()
    }

    /// Whether it was read by a question that was sent since then.
    pub fn read_since(&self, since: Instant) -> bool {
        self.read.as_ref().is_some_and(|read| read.asked >= since)
    }

    /// Whether the last read was asked for after `since`, and after the last order was answered.
    pub fn fresh(&self, since: Instant) -> bool {
        self.read_since(since.max(self.orders.answered()))
    }

    /// Whether it may be read now: failed reads are not repeated at once.
    pub fn readable(&self, now: Instant) -> bool {
        self.reads.over(now)
    }

    /// Why nothing may be launched although the group would take it.
    pub fn held(&self) -> Option<&str> {
        self.read.as_ref().and_then(|read| read.held.as_deref())
    }

    /// The least of the group's own and the configured maximum; `None`: there is none.
    pub fn max(&self) -> Option<u32> {
        let own = self.read.as_ref().and_then(|read| read.max);
        match (own, self.settings.max) {
            (Some(own), Some(set)) => Some(own.min(set)),
            (own, set) => own.or(set),
        }
    }

    /// Takes a read that was asked for at `asked`. Reads that overtook each other are ignored.
    /// `wall`: since 1970.
    pub fn take(
        &mut self,
        now: Instant,
        wall: Duration,
        asked: Instant,
        supply: Supply,
    ) -> Vec<Report> {
        self.failure = None;
        self.reads.forgive();
        if self.read.as_ref().is_some_and(|read| asked < read.asked) {
            return Vec::new();
        }
        let before = self.count(now, false);
        self.read = Some(Read {
            asked,
            desired: supply.desired,
            max: supply.max,
            held: supply.held,
        });
        let told = self.boots.read(now, supply.members);
        self.orders.read(wall, asked, supply.desired);
        let mut reports = self.boots_told(now, told);
        self.refresh_flight(now);
        let after = self.count(now, false);
        let change = if after.lost > 0 {
            let why = format!("{} were asked for and do not come", after.lost);
            self.breaker.open(now, Cause::Provider, why)
        } else if before.flight > 0 && after.flight == 0 && after.desired >= before.desired {
            self.breaker.provided()
        } else {
            None
        };
        reports.extend(self.changed(change));
        reports
    }

    pub fn fail(&mut self, now: Instant, interval: Duration, why: String) {
        self.failure = Some(why);
        self.reads.add(now, interval, LONGEST_BETWEEN_READS);
    }

    fn refresh_flight(&mut self, now: Instant) {
        let flight = self.count(now, false).flight;
        self.boots.set_flight(now, flight);
    }

    /// Takes the names of the queue's connected agents.
    pub fn register(&mut self, now: Instant, names: &Names<'_>) -> Vec<Report> {
        let told = self.boots.register(now, names);
        self.boots_told(now, told)
    }

    /// Tells what became of instances, for the totals, the breaker and a person.
    fn boots_told(&mut self, now: Instant, told: Vec<Boot>) -> Vec<Report> {
        let mut reports = Vec::new();
        for boot in told {
            let group = self.settings.id.clone();
            let change = match boot {
                Boot::Done => self.breaker.booted(),
                Boot::Late(member) => {
                    self.totals.boot_failures += 1;
                    let why = format!("the last, {member}, was too late");
                    reports.push(Report::BootedTooLate {
                        group,
                        member,
                        deadline: self.boots.deadline(),
                    });
                    self.breaker.boot_failed(now, &why)
                }
                Boot::Vanished(member) => {
                    self.totals.boot_failures += 1;
                    let why = format!("the last, {member}, is gone");
                    reports.push(Report::Vanished { group, member });
                    self.breaker.boot_failed(now, &why)
                }
            };
            reports.extend(self.changed(change));
        }
        reports
    }

    fn changed(&self, change: Option<Change>) -> Option<Report> {
        let group = self.settings.id.clone();
        Some(match change? {
            Change::Opened { why, wait } => Report::BreakerOpened { group, why, wait },
            Change::Closed => Report::BreakerClosed { group },
        })
    }

    /// `named`: the names of the connected agents are known.
    pub fn count(&self, now: Instant, named: bool) -> Count {
        let tally = self.boots.tally(now, named);
        let listed = |member: &Member| self.boots.members().any(|known| known == member);
        let unlisted = self.orders.unlisted(listed);
        let desired = self.desired().max(tally.listed().saturating_add(unlisted));
        let flight = desired.saturating_sub(tally.listed());
        let lost = self.boots.overdue(now, self.boots.deadline()).min(flight);
        let phantom = if self.breaker.provider_fails() {
            flight - lost
        } else {
            0
        };
        Count {
            tally,
            desired,
            flight,
            lost,
            phantom,
            silent: 0,
        }
    }

    /// The desired capacity, with what was ordered and reads may not show yet.
    fn desired(&self) -> u32 {
        let read = self.read.as_ref().map_or(0, |read| read.desired);
        self.orders.desired(read, || self.shown())
    }

    fn shown(&self) -> Shown {
        Shown {
            desired: self.read.as_ref().map_or(0, |read| read.desired),
            members: token::members(self.boots.members()),
        }
    }

    pub fn part(&self, count: &Count) -> Part {
        Part {
            slots: self.settings.slots,
            round: self.settings.round,
            usable: count.usable(),
            booting: count.booting(),
            settling: count.tally.settling,
        }
    }

    pub fn room(&self, count: &Count) -> u32 {
        let max = self.max().unwrap_or(u32::MAX);
        max.saturating_sub(count.occupied())
    }

    pub fn allowance(&self, now: Instant, count: &Count) -> Allowance {
        let patience = self.boots.deadline().saturating_mul(2);
        match self.breaker.allowance(now, count.flight > 0, patience) {
            // The group is asking already, in vain: asking for more would change nothing.
            Allowance::Any | Allowance::One if count.lost > 0 => Allowance::None,
            allowance => allowance,
        }
    }

    /// What it launches of `need`. Throttled orders are not repeated at once.
    pub fn grant(&self, now: Instant, need: u32, bounds: Bounds) -> Grant {
        let grant = arithmetic::grant(need, bounds);
        if grant.launch == 0 || self.launches.over(now) {
            return grant;
        }
        Grant {
            launch: 0,
            why: Why::Throttled,
            rest: 0,
        }
    }

    /// What it has, may have got, or is about to get.
    pub fn claims(&self, now: Instant) -> u64 {
        let count = self.count(now, false);
        let occupied = count.occupied().max(self.orders.claimed());
        let open = self.orders.open.as_ref();
        let ordered = open.map_or(0, |order| order.count.get());
        u64::from(occupied) + u64::from(ordered)
    }

    /// The order for `launch` more, to be sent now. `None`: an order is in doubt that must not be
    /// crossed by another one.
    pub fn order(&mut self, now: Instant, launch: NonZeroU32, count: &Count) -> Option<Order> {
        let shown = self.shown();
        let occupied = count.occupied();
        let order = self.orders.make(&self.settings, launch, occupied, shown)?;
        self.breaker.launched(now);
        self.totals.decisions += 1;
        Some(order)
    }

    /// Takes what became of the order. Tells whether another group of the chain should try now.
    pub fn answered(
        &mut self,
        now: Instant,
        interval: Duration,
        wall: Duration,
        order: Order,
        told: Launched,
    ) -> (Vec<Report>, bool) {
        let (count, trouble) = match told {
            Launched::Accepted { count, members } => {
                let change = (!members.is_empty()).then(|| self.breaker.provided());
                let reports = self.changed(change.flatten()).into_iter().collect();
                self.orders.bring(now, members);
                self.definite(now, wall, order, count);
                self.launches.forgive();
                self.others = 0;
                return (reports, false);
            }
            Launched::Unknown(_) => {
                self.error("unknown");
                self.orders.doubt(now, order, self.shown());
                self.refresh_flight(now);
                return (Vec::new(), false);
            }
            Launched::Partly { count, trouble } => (count, trouble),
            Launched::Refused(trouble) => (0, trouble),
        };
        self.definite(now, wall, order, count);
        (
            self.troubled(now, interval, &trouble),
            Cause::of(trouble.kind).is_some(),
        )
    }

    fn definite(&mut self, now: Instant, wall: Duration, order: Order, count: u32) {
        let count = self.orders.definite(now, wall, order, count);
        self.totals.launched += u64::from(count);
        self.refresh_flight(now);
    }

    fn error(&mut self, kind: &'static str) {
        *self.totals.launch_errors.entry(kind).or_default() += 1;
    }

    fn troubled(&mut self, now: Instant, interval: Duration, trouble: &Trouble) -> Vec<Report> {
        self.error(written(trouble.kind));
        match trouble.kind {
            TroubleKind::Throttled => self.launches.add(now, interval, LONGEST_THROTTLE),
            TroubleKind::Other => self.others = self.others.saturating_add(1),
            _ => {}
        }
        let cause = match Cause::of(trouble.kind) {
            None if self.others >= OTHERS => Some(Cause::Provider),
            cause => cause,
        };
        self.open_for(now, cause, trouble)
    }

    fn open_for(&mut self, now: Instant, cause: Option<Cause>, trouble: &Trouble) -> Vec<Report> {
        let Some(cause) = cause else {
            return Vec::new();
        };
        let why = match trouble.scope.as_str() {
            "" => trouble.message.clone(),
            scope => format!("{scope}: {}", trouble.message),
        };
        let change = self.breaker.open(now, cause, why);
        self.changed(change).into_iter().collect()
    }

    /// Whether to ask why the group does not get what it asks for; notes that it is asked.
    pub fn ask_troubles(&mut self, now: Instant) -> bool {
        let lately = self
            .asked_troubles
            .is_some_and(|asked| now.since(asked) < BETWEEN_TROUBLES);
        if self.asking || lately || self.boots.overdue(now, OVERDUE) == 0 {
            return false;
        }
        self.asking = true;
        self.asked_troubles = Some(now);
        true
    }

    /// Takes the answer. What the group asks for is still not there, so that any reason counts
    /// for the whole group.
    pub fn troubles(&mut self, now: Instant, told: &[Trouble]) -> Vec<Report> {
        self.asking = false;
        if self.count(now, false).flight == 0 {
            return Vec::new();
        }
        told.iter()
            .flat_map(|trouble| self.open_for(now, Cause::of(trouble.kind), trouble))
            .collect()
    }
}

fn written(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Capacity => "capacity",
        TroubleKind::Quota => "quota",
        TroubleKind::Denied => "denied",
        TroubleKind::Throttled => "throttled",
        TroubleKind::Conflict => "conflict",
        TroubleKind::Other => "other",
    }
}
