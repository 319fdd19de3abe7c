//! What happens in a world by itself, once something has set it going.

use std::time::Duration;

use super::group::{Call, Moved, State, Word};
use super::supervisor::Supervisor;
use super::world::{Happening, World};
use crate::instance::notices::{Target, Transition, Warm};
use crate::lifecycle::*;

/// How long the ladder tries to complete the group's action before it ends the machine itself.
const LADDER_PATIENCE: Duration = Duration::from_secs(120);

impl World {
    pub(super) fn happen(&mut self, happening: Happening) {
        let (now, number) = (self.now, self.number);
        match happening {
            Happening::Fate(fate) => self.befalls(fate),
            Happening::Ready(agent, life) => self.becomes_ready(agent, life),
            Happening::Begins(agent, life, slot, lasts) => {
                if self.agents.process(agent, life).is_some() {
                    self.begins(agent, slot, lasts);
                }
            }
            Happening::Finishes(agent, life, job) => self.finishes(agent, life, job),
            Happening::Ends(agent, life, exit) => {
                if self.agents.end(agent, life).is_some() {
                    self.story
                        .tells(now, || format!("agent {agent} ends: {exit}"));
                    // Whoever comes back finds it gone.
                    if self.supervisor.is_some() {
                        self.tell(Event::Exited(agent, exit));
                    }
                }
            }
            Happening::Answered(to, transition, ask, answer) if to == number => {
                if let Some(supervisor) = &mut self.supervisor {
                    supervisor.answered(now, transition, ask, answer);
                }
            }
            Happening::Protected(to, protect, answer) if to == number => {
                if let Some(supervisor) = &mut self.supervisor {
                    supervisor.protected(now, protect, answer);
                }
            }
            Happening::Told(to, event) if to == number && self.supervisor.is_some() => {
                self.tell(event);
            }
            Happening::Climbed(to, reason, since) if to == number => self.climbed(reason, since),
            Happening::Back => self.comes_back(),
            Happening::ShutsDown => self.shuts_down(),
            Happening::Speaks => {
                self.metadata.answers = None;
                self.look_soon();
            }
            Happening::Answered(..)
            | Happening::Protected(..)
            | Happening::Told(..)
            | Happening::Climbed(..) => {}
        }
    }

    fn becomes_ready(&mut self, agent: AgentIndex, life: u32) {
        let Some(process) = self.agents.process(agent, life) else {
            return;
        };
        if process.ends {
            return;
        }
        process.ready = true;
        self.was_ready = true;
        self.tell(Event::Observed(agent, DetectorIndex(0), Observation::Ready));
        for slot in 0..self.agents.slots() {
            self.gets_a_job(agent, life, slot);
        }
    }

    /// The CI server has a job for this slot, sooner or later.
    fn gets_a_job(&mut self, agent: AgentIndex, life: u32, slot: usize) {
        if let Some((gap, longest)) = self.nature.jobs {
            let gap = self.chance.between(Duration::ZERO, gap);
            let lasts = self.chance.between(Duration::from_secs(1), longest);
            self.later(gap, Happening::Begins(agent, life, slot, lasts));
        }
    }

    pub(super) fn begins(&mut self, agent: AgentIndex, slot: usize, lasts: Duration) {
        let races = self.nature.settings.drain == DrainMethod::WaitIdle;
        if races && self.supervisor.is_none() {
            // Where a drain step ends jobs, it may end one that is not heard of yet: the race of
            // such presets, not of notices.
            return;
        }
        if let Some((life, job)) = self.agents.begin(agent, slot) {
            self.story
                .tells(self.now, || format!("job {job} begins, for {lasts:?}"));
            self.totals.jobs += 1;
            let id = Some(job.to_string());
            self.tell(Event::Observed(
                agent,
                DetectorIndex(0),
                Observation::Started { id },
            ));
            self.later(lasts, Happening::Finishes(agent, life, job));
        }
    }

    fn finishes(&mut self, agent: AgentIndex, life: u32, job: u32) {
        let Some((slot, ends)) = self.agents.finish(agent, life, job) else {
            return;
        };
        self.story.tells(self.now, || format!("job {job} finishes"));
        self.totals.finished += 1;
        let (id, outcome) = (Some(job.to_string()), Outcome::Passed);
        let finished = Observation::Finished { id, outcome };
        self.tell(Event::Observed(agent, DetectorIndex(0), finished));
        if ends {
            let wait = self.chance.seconds(1, 5);
            self.later(wait, Happening::Ends(agent, life, Exit::Code(0)));
        } else {
            self.gets_a_job(agent, life, slot);
        }
    }

    /// The ladder, as far as it matters here: it completes the group's action, or ends the
    /// machine.
    fn climbed(&mut self, reason: Reason, since: Instant) {
        let now = self.now;
        let Some(supervisor) = &mut self.supervisor else {
            return;
        };
        if reason == Reason::Idle && self.nature.at_minimum {
            return self.tell(Event::AtMinimum);
        }
        let pooled = supervisor.is_pooled();
        if reason == Reason::ScaleIn {
            let word = self
                .group
                .call(now, Call::Complete(Transition::Terminating));
            self.story
                .tells(now, || format!("the ladder completes: {word:?}"));
            let waits = self.group.state == State::Terminating;
            let again = matches!(word, Word::Throttled | Word::Lost) || waits;
            if again && now.since(since) < LADDER_PATIENCE {
                let wait = Duration::from_secs(5);
                return self.later(wait, Happening::Climbed(self.number, reason, since));
            }
            if pooled && !waits {
                let supervisor = self.supervisor.as_mut().expect("it was there");
                return supervisor.pooled(now);
            }
        }
        self.group.ends();
        self.tell(Event::Retired);
    }

    pub(super) fn group_moved(&mut self, moved: Moved) {
        self.story
            .tells(self.now, || format!("the group: {moved:?}"));
        match moved {
            Moved::Waits | Moved::Pooled => {}
            Moved::Lapsed(action) => {
                self.totals.lapses += 1;
                let phase = self.supervisor.as_ref().map(|it| it.life.phase());
                let jobs = self.agents.running();
                self.judge.lapsed(self.now, &action, phase, jobs);
            }
            Moved::Gone => self.is_taken_away(),
        }
    }

    /// The system of a machine that was put into its pool stopped is shut down.
    pub(super) fn follows_the_group(&mut self) {
        let is_pooled = self.group.state == State::Pooled;
        if is_pooled && !self.is_pooled {
            self.is_pooled = true;
            if self.metadata.target == Some(Target::Warmed(Warm::Stopped)) {
                let wait = self.chance.seconds(5, 60);
                self.later(wait, Happening::ShutsDown);
            }
        }
    }

    /// It waits a while for the supervisor, not for the jobs of one that was not done.
    fn shuts_down(&mut self) {
        if self.stored.is_some() {
            self.later(Duration::from_secs(5), Happening::ShutsDown);
        } else if self.agents.any() {
            self.is_taken_away();
        } else {
            self.tell(Event::Interrupt);
        }
    }

    pub(super) fn is_taken_away(&mut self) {
        self.totals.lost += self.agents.running().filter(|job| !job.cancelled).count() as u64;
        if let Some(supervisor) = &self.supervisor {
            let phase = supervisor.life.phase();
            self.judge.late(self.now, phase, self.agents.running());
        }
        self.ends("the machine is taken away");
    }

    pub(super) fn supervisor_ends(&mut self) {
        assert!(!self.agents.any(), "the supervisor leaves an agent");
        let stays = self.supervisor.take().is_some_and(|it| it.is_pooled());
        self.number += 1;
        if !stays || self.group.state != State::Pooled {
            self.ends("the machine ends");
        }
    }

    pub(super) fn dies(&mut self, down: Duration) {
        self.doomed = None;
        if let Some(supervisor) = self.supervisor.take() {
            self.story.tells(self.now, || "the supervisor dies");
            let stored = serde_json::to_string(&supervisor.life);
            self.stored = Some(stored.expect("a life can be stored"));
            self.number += 1;
            self.totals.restarts += 1;
            self.later(down, Happening::Back);
        }
    }

    fn comes_back(&mut self) {
        let now = self.now;
        let Some(stored) = self.stored.take() else {
            return;
        };
        self.story.tells(now, || "the supervisor comes back");
        let life: Lifecycle = serde_json::from_str(&stored).expect("a life can be read");
        let resumed = life.resume(self.nature.settings.clone(), now);
        let (life, actions) = resumed.expect("a true life fits");
        let agents: Vec<_> = life.agents().collect();
        self.knows_hooks = false;
        self.judge.is_up(now);
        let mut supervisor = Supervisor::new(now, life, self.nature.policy, self.nature.protect);
        supervisor.resumes(now, actions);
        self.supervisor = Some(supervisor);
        for event in std::mem::take(&mut self.unheard) {
            self.tell(event);
        }
        for (agent, stage, _) in agents {
            if stage.has_process() && !self.agents.has_process(agent) {
                self.tell(Event::Exited(agent, Exit::Unknown));
            }
        }
        self.look_at(now);
    }

    /// Out of the pool a stopped machine is booted, and knows nothing of before.
    pub(super) fn boots(&mut self) {
        let life = Lifecycle::parked(self.nature.settings.clone(), self.now);
        let supervisor = Supervisor::new(self.now, life, self.nature.policy, self.nature.protect);
        self.supervisor = Some(supervisor);
        self.knows_hooks = false;
        self.judge.is_up(self.now);
        self.judge.begins();
        self.judge.launched(Some(self.now));
        self.look_at(self.now);
    }
}
