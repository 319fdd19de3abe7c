//! Groups get the instances they want, and instances come up and end themselves.

use std::collections::VecDeque;
use std::time::Duration;

use super::World;
use super::deeds::Happening;
use super::instance::{Fate, Instance, supervision};
use crate::lifecycle::{Action, AgentIndex, Event, Exit, Lifecycle, Reason, Stop};

/// How long Auto Scaling waits after a launch that failed.
const AGAIN: Duration = Duration::from_secs(60);
/// How long the status checks of a machine that does not come up take to have it replaced.
const UNHEALTHY: Duration = Duration::from_secs(1200);

impl World<'_> {
    /// The group launches what it lacks, and ends what it has too much of.
    pub(super) fn reconcile(&mut self, at: usize) {
        let group = &mut self.groups[at];
        let have = group.alive() + group.starting;
        for _ in have..group.desired {
            self.groups[at].starting += 1;
            let (least, most) = self.groups[at].nature.listed;
            let wait = self.chance.between(least, most);
            self.later(wait, Happening::Lists(at));
        }
        let group = &mut self.groups[at];
        let mut excess = have.saturating_sub(group.desired);
        let revoked = excess.min(group.starting);
        group.starting -= revoked;
        group.revoked += revoked;
        excess -= revoked;
        for _ in 0..excess {
            let members: Vec<u32> = self.groups[at].members.iter().copied().collect();
            if !members.is_empty() {
                let number = self.chance.pick(&members);
                self.vanishes(number, "is scaled in");
            }
        }
    }

    pub(super) fn lists(&mut self, at: usize) {
        let group = &mut self.groups[at];
        if group.revoked > 0 {
            group.revoked -= 1;
            return;
        }
        if self.is_short(at) {
            self.tally.faults += 1;
            self.groups[at].failed = Some(self.now);
            return self.later(AGAIN, Happening::Lists(at));
        }
        self.groups[at].starting -= 1;
        self.launches(at);
    }

    /// An instance appears in its group.
    pub(super) fn launches(&mut self, at: usize) -> u32 {
        self.launched += 1;
        let number = self.launched;
        let faults = self.nature.faults.clone();
        let fate = match self.strikes(faults.stuck) {
            true if self.chance.one_in(2) => Fate::StuckUp,
            true => Fate::Stuck,
            false if self.strikes(faults.mute) => Fate::Mute,
            false => Fate::Works,
        };
        self.says(|| format!("i-{number} is launched in group {at}, {fate:?}"));
        self.instances
            .insert(number, Instance::new(self.now, at, true, fate));
        let group = &mut self.groups[at];
        group.members.insert(number);
        group.failed = None;
        self.tally.started += 1;
        let (least, most) = group.nature.boot;
        let boot = self.chance.between(least, most);
        if fate != Fate::Stuck {
            self.later(boot, Happening::ComesUp(number));
        }
        if matches!(fate, Fate::Stuck | Fate::StuckUp) {
            self.later(UNHEALTHY, Happening::Vanishes(number));
        }
        if self.strikes(faults.reclaimed) {
            let wait = self.chance.seconds(1, 600);
            self.later(wait, Happening::Vanishes(number));
        }
        self.note_group(at);
        number
    }

    pub(super) fn comes_up(&mut self, number: u32) {
        let Some(instance) = self.instances.get_mut(&number) else {
            return;
        };
        let at = instance.group;
        instance.up = true;
        self.note_group(at);
        if self.instances[&number].fate == Fate::StuckUp {
            return;
        }
        let settings = supervision(&self.groups[at].nature);
        let (life, actions) = Lifecycle::new(settings, self.now);
        if let Some(instance) = self.instances.get_mut(&number) {
            instance.life = Some(life);
        }
        self.obeys(number, actions.into());
    }

    /// The supervisor of an instance hears of something, and what it wants is done.
    pub(super) fn lives_on(&mut self, number: u32, event: Event) {
        let now = self.now;
        let instance = self.instances.get_mut(&number);
        if let Some(life) = instance.and_then(|instance| instance.life.as_mut()) {
            let actions = life.handle(now, event);
            self.obeys(number, actions.into());
        }
    }

    fn obeys(&mut self, number: u32, mut actions: VecDeque<Action>) {
        while let Some(action) = actions.pop_front() {
            let answer = self.obey(number, action);
            let Some(instance) = self.instances.get_mut(&number) else {
                return;
            };
            if let (Some(event), Some(life)) = (answer, instance.life.as_mut()) {
                actions.extend(life.handle(self.now, event));
            }
        }
        self.agent_ends(number);
        let instance = self.instances.get_mut(&number);
        let deadline = instance.and_then(|instance| {
            let deadline = instance.life.as_ref()?.next_deadline()?;
            let sooner = instance.wakes.is_none_or(|wakes| deadline < wakes);
            sooner.then(|| {
                instance.wakes = Some(deadline);
                deadline
            })
        });
        if let Some(deadline) = deadline {
            let wait = deadline.since(self.now);
            self.later(wait, Happening::Wakes(number));
        }
    }

    /// One action of a supervisor, and what it is answered at once.
    fn obey(&mut self, number: u32, action: Action) -> Option<Event> {
        let instance = self.instances.get_mut(&number)?;
        let at = instance.group;
        match action {
            Action::Spawn(agent) => {
                instance.runs = true;
                instance.told = false;
                let (least, most) = self.groups[at].nature.ready;
                let wait = self.chance.between(least, most);
                self.later(wait, Happening::Ready(number));
                return Some(Event::Spawned(agent));
            }
            Action::Stop(_, stop) => {
                instance.told = true;
                if stop != Stop::Drain {
                    self.drops_jobs(number);
                }
            }
            Action::Sample => return Some(Event::Sampled),
            Action::Cordon(agent) => return Some(Event::Cordoned(agent, true)),
            Action::Sweep(_) => return Some(Event::TreeGone),
            Action::PrepareRetire(_) => {
                if self.groups[at].nature.detach_early {
                    self.detach(number);
                }
            }
            Action::Retire(reason) => {
                let wait = self.chance.seconds(1, 5);
                self.later(wait, Happening::Leaves(number, reason));
            }
            Action::PowerOff | Action::Exit => self.vanishes(number, "is powered off"),
            Action::Report(_) => {}
        }
        None
    }

    /// An agent that was told to end does so after its last job.
    fn agent_ends(&mut self, number: u32) {
        let Some(instance) = self.instances.get_mut(&number) else {
            return;
        };
        if instance.runs && instance.told && instance.jobs.is_empty() {
            instance.runs = false;
            instance.connected = false;
            let exited = Event::Exited(AgentIndex(1), Exit::Code(0));
            self.lives_on(number, exited);
        }
    }

    pub(super) fn wakes(&mut self, number: u32) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&number) else {
            return;
        };
        instance.wakes = None;
        let deadline = instance.life.as_ref().and_then(Lifecycle::next_deadline);
        match deadline {
            Some(at) if at <= now => self.lives_on(number, Event::Tick),
            _ => self.obeys(number, VecDeque::new()),
        }
    }

    /// The instance takes itself out of its group, as the table of the README says.
    pub(super) fn leaves(&mut self, number: u32, reason: Reason) {
        let Some(instance) = self.instances.get(&number) else {
            return;
        };
        let at = instance.group;
        // Whom the group's minimum does not let go is replaced, unless it was only idle.
        if instance.attached && !self.detach(number) && reason == Reason::Idle {
            self.says(|| format!("i-{number} returns to service"));
            return self.lives_on(number, Event::AtMinimum);
        }
        self.vanishes(number, "has ended itself");
        self.note_group(at);
    }

    /// Out of the group, which wants one less from now on.
    fn detach(&mut self, number: u32) -> bool {
        let Some(instance) = self.instances.get_mut(&number) else {
            return false;
        };
        let at = instance.group;
        if !instance.attached || !self.groups[at].may_shrink() {
            return false;
        }
        instance.attached = false;
        let group = &mut self.groups[at];
        group.members.remove(&number);
        group.desired -= 1;
        let chain = group.chain;
        self.queues[chain].leaves(self.now);
        self.note_group(at);
        self.reconcile(at);
        true
    }

    fn drops_jobs(&mut self, number: u32) {
        let Some(instance) = self.instances.get_mut(&number) else {
            return;
        };
        let jobs = std::mem::take(&mut instance.jobs);
        let chain = self.groups[instance.group].chain;
        for job in jobs {
            self.queues[chain].is_lost(job);
            self.tally.jobs_lost += 1;
        }
        self.note_queue(chain);
        self.picks_soon(chain);
    }

    /// It is gone, and what it ran is lost. If it was a member, it is replaced.
    pub(super) fn vanishes(&mut self, number: u32, why: &str) {
        if !self.instances.contains_key(&number) {
            return;
        }
        self.says(|| format!("i-{number} {why}"));
        self.drops_jobs(number);
        let Some(instance) = self.instances.remove(&number) else {
            return;
        };
        self.tally.never_used += u64::from(instance.up && !instance.used);
        let at = instance.group;
        if self.groups[at].members.remove(&number) {
            self.note_group(at);
            self.reconcile(at);
        }
        self.note_queue(self.groups[at].chain);
    }
}
