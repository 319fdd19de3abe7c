//! What the lifecycle wants is done to the processes of the world.

use super::world::{Obedience, Process, World};
use crate::lifecycle::*;

impl World {
    /// Does what the lifecycle wants, as far as this world lets it.
    pub(super) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn(index) => self.spawn(index),
                Action::Stop(index, stop) => self.stop(index.0 as usize - 1, stop),
                Action::Sample => self.sample(),
                Action::Cordon(index) => self.cordon(index),
                Action::Sweep(_) if self.nature.answers => self.answers.push_back(Event::TreeGone),
                Action::Retire(reason) => self.retirements.push((self.now, reason)),
                Action::Sweep(_)
                | Action::PrepareRetire(_)
                | Action::PowerOff
                | Action::Exit
                | Action::Report(_) => {}
            }
        }
    }

    fn spawn(&mut self, index: AgentIndex) {
        let at = index.0 as usize - 1;
        self.spawns += 1;
        assert!(
            self.processes[at].is_none() || self.nature.obedience == Obedience::Nothing,
            "agent {at} is started twice"
        );
        if !self.nature.starts {
            let failed = Event::SpawnFailed(index, Exit::Code(127));
            return self.news[at].push_back(failed);
        }
        self.processes[at] = Some(Process {
            ready: false,
            told: false,
            spent: false,
            cordoned: false,
            slots: vec![None; self.settings.slots as usize],
        });
        self.news[at].push_back(Event::Spawned(index));
        if self.nature.ready_at_once {
            self.become_ready(at);
        }
    }

    fn stop(&mut self, at: usize, stop: Stop) {
        let obeyed = match self.nature.obedience {
            Obedience::Full => true,
            Obedience::OnlyKill => stop == Stop::Kill,
            Obedience::Nothing => false,
        };
        let Some(process) = self.processes[at].as_mut().filter(|_| obeyed) else {
            return;
        };
        process.told = true;
        match stop {
            Stop::Drain | Stop::Otherwise => {
                let busy = process.slots.iter().any(Option::is_some);
                let cancels =
                    stop == Stop::Otherwise || self.settings.drain == DrainMethod::WaitIdle;
                self.cancelled += u32::from(busy && cancels);
                if !busy || cancels {
                    self.end(at, Exit::Code(0));
                }
            }
            Stop::Cancel => self.end(at, Exit::Code(0)),
            Stop::Terminate => self.end(at, Exit::Signal(15)),
            Stop::Kill => self.end(at, Exit::Signal(9)),
        }
    }

    /// The server refuses while a job runs. One may begin before it hears of the cordon.
    fn cordon(&mut self, index: AgentIndex) {
        let at = index.0 as usize - 1;
        let process = self.processes[at].as_ref();
        let idle = process.is_some_and(|process| process.slots.iter().all(Option::is_none));
        if idle && self.nature.eager & 1 != 0 {
            self.turn(at, 0);
        }
        if !self.nature.answers {
            return;
        }
        let process = self.processes[at].as_mut();
        let done = process.is_some_and(|process| {
            process.cordoned = process.slots.iter().all(Option::is_none) || self.nature.lag;
            process.cordoned
        });
        self.answers.push_back(Event::Cordoned(index, done));
    }

    fn sample(&mut self) {
        if !self.nature.answers {
            return;
        }
        for (at, process) in self.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            let jobs = process.slots.iter().flatten().count() as u32;
            let jobs = (!self.blind).then_some(jobs);
            for (by, kind) in self.settings.detectors.iter().enumerate() {
                if kind.is_level() {
                    let (agent, by) = (AgentIndex(at as u32 + 1), DetectorIndex(by));
                    let level = Event::Observed(agent, by, Observation::Running { jobs });
                    self.answers.push_back(level);
                }
            }
        }
        self.answers.push_back(Event::Sampled);
    }
}
