//! What comes over a machine from outside.

use std::time::Duration;

use super::group::State;
use super::metadata::wall;
use super::world::{Happening, World};
use crate::instance::notices::{
    EventState, Maintenance, MaintenanceCode, SpotAction, SpotKind, Target, Warm,
};
use crate::lifecycle::{AgentIndex, Event, Instant, Reason};

#[derive(Debug, Clone)]
pub enum Fate {
    /// EC2 takes the machine away after so long.
    Spot(SpotKind, Duration),
    /// It says another time, but means the sooner one; or that it was nothing.
    SpotMoves(Duration),
    SpotWithdrawn,
    Rebalance,
    /// A scheduled event, which begins after so long.
    Maintenance(MaintenanceCode, Duration),
    MaintenanceCanceled,
    /// The group chooses this machine, to end it or for its pool.
    ScaleIn(Option<Warm>),
    /// Out of the pool, into service.
    Wakes,
    /// The pool shrinks.
    LeavesPool,
    /// The group wants it in a state that nobody has heard of.
    Strange,
    Standby,
    InService,
    /// The group lets go of it.
    Detached,
    Operator(Option<Duration>),
    Interrupt,
    /// Auto Scaling is throttled, or denies everything, or loses answers, for so long.
    Throttled(Duration),
    Denied(Duration),
    Lossy(Duration),
    /// The metadata service answers only so many of its questions, for so long.
    Silent(usize, Duration),
    /// The supervisor is killed, now or before it does the next thing, and gone for so long.
    Killed(Duration),
    Doomed(Duration),
    /// The metadata service is looked at now.
    Looks,
    /// A job of this length begins in this slot of the first agent.
    Job(usize, Duration),
}

impl World {
    pub(super) fn befalls(&mut self, fate: Fate) {
        self.story.tells(self.now, || format!("-- {fate:?}"));
        let now = self.now;
        match fate {
            Fate::Spot(kind, lead) => self.spot(kind, now.after(lead)),
            Fate::SpotMoves(lead) => {
                if let Some(action) = self.metadata.spot {
                    self.spot(action.kind, now.after(lead));
                }
            }
            Fate::SpotWithdrawn => {
                self.metadata.spot = None;
                self.taken_at = None;
                self.look_soon();
            }
            Fate::Rebalance => {
                self.metadata.rebalance = Some(wall(now));
                self.look_soon();
            }
            Fate::Maintenance(code, lead) => self.maintenance(code, now.after(lead)),
            Fate::MaintenanceCanceled => {
                for event in &mut self.metadata.maintenance {
                    event.state = EventState::Over;
                }
                self.taken_at = None;
                self.look_soon();
            }
            Fate::ScaleIn(pool) => self.scale_in(pool),
            Fate::Wakes => self.wakes(),
            Fate::LeavesPool => self.leaves_pool(),
            Fate::Strange => {
                let strange = Target::Other("Quarantined".to_owned());
                self.moves(State::InService, State::InService, strange);
            }
            Fate::Standby => self.moves(State::InService, State::Standby, Target::Standby),
            Fate::InService => self.in_service(),
            Fate::Detached => self.moves(State::InService, State::Gone, Target::Detached),
            Fate::Operator(wait) => {
                let deadline = wait.map(|wait| now.after(wait));
                if self.supervisor.is_some() {
                    deadline.into_iter().for_each(|at| self.judge.told(at));
                    let reason = Reason::Operator;
                    self.tell(Event::Drain { reason, deadline });
                }
            }
            Fate::Interrupt => {
                if self.supervisor.is_some() {
                    self.judge.signalled();
                    self.tell(Event::Interrupt);
                }
            }
            Fate::Throttled(time) => {
                self.group.throttled_until = now.after(time);
                self.judge.silent_until(now.after(time));
            }
            Fate::Denied(time) => {
                self.group.denied_until = now.after(time);
                self.judge.silent_until(now.after(time));
            }
            Fate::Lossy(time) => {
                self.group.loses_until = now.after(time);
                self.judge.silent_until(now.after(time));
            }
            Fate::Silent(answers, time) => {
                self.metadata.answers = Some(answers);
                self.look_soon();
                self.later(time, Happening::Speaks);
            }
            Fate::Killed(down) => self.dies(down),
            Fate::Doomed(down) => self.doomed = Some(down),
            Fate::Looks => self.look(),
            Fate::Job(slot, lasts) => self.begins(AgentIndex(1), slot, lasts),
        }
    }

    /// EC2 says when; it does so at the soonest time that it ever said.
    fn spot(&mut self, kind: SpotKind, at: Instant) {
        self.metadata.spot = Some(SpotAction { kind, at: wall(at) });
        self.taken_at = Some(self.taken_at.map_or(at, |before| before.min(at)));
        self.look_soon();
    }

    fn maintenance(&mut self, code: MaintenanceCode, at: Instant) {
        let number = self.metadata.maintenance.len();
        self.metadata.maintenance.push(Maintenance {
            id: format!("instance-event-{number}"),
            code,
            description: String::new(),
            state: EventState::Active,
            not_before: Some(wall(at)),
            not_after: None,
        });
        self.taken_at = Some(self.taken_at.map_or(at, |before| before.min(at)));
        self.look_soon();
    }

    /// The group asks again as long as protection keeps the machine.
    fn scale_in(&mut self, pool: Option<Warm>) {
        if self.group.scale_in(self.now) {
            self.group.has_pool = pool.is_some();
            self.metadata.target = Some(pool.map_or(Target::Terminated, Target::Warmed));
            return self.look_soon();
        }
        if self.group.is_protected {
            self.totals.refused += 1;
            self.fate(Duration::from_secs(600), Fate::ScaleIn(pool));
        }
    }

    fn wakes(&mut self) {
        let stops = self.metadata.target == Some(Target::Warmed(Warm::Stopped));
        let is_down = self.supervisor.is_none() && self.stored.is_none();
        if !self.is_pooled || (stops && !is_down) {
            return self.fate(Duration::from_secs(60), Fate::Wakes);
        }
        self.is_pooled = false;
        self.metadata.target = Some(Target::InService);
        self.group.unpool(self.now);
        self.judge.launched(None);
        if self.supervisor.is_none() && self.stored.is_none() {
            self.boots();
        }
        self.look_soon();
    }

    /// From standby, or from a state that nobody has heard of.
    fn in_service(&mut self) {
        if matches!(self.group.state, State::InService | State::Standby) {
            let from = self.group.state;
            self.moves(from, State::InService, Target::InService);
        }
    }

    fn leaves_pool(&mut self) {
        if self.is_pooled {
            self.is_pooled = false;
            self.metadata.target = Some(Target::Warmed(Warm::Terminated));
            self.group.leaves_pool(self.now);
            self.look_soon();
        }
    }

    fn moves(&mut self, from: State, to: State, target: Target) {
        if self.group.state == from {
            self.group.state = to;
            self.metadata.target = Some(target);
            self.look_soon();
        }
    }
}
