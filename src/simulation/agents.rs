//! Agents and their jobs, as they truly are.

use crate::lifecycle::{AgentIndex, DrainMethod, Settings, Stop};

/// How the agents of a world answer their signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    Obedient,
    /// They end jobs for nobody, and must be killed.
    Stubborn,
}

#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub number: u32,
    /// Its agent has been told to end it.
    pub cancelled: bool,
}

#[derive(Debug)]
pub struct Process {
    /// Tells it from the agent's processes before and after.
    pub life: u32,
    pub ready: bool,
    /// It takes no more jobs, and ends after those it has.
    pub leaves: bool,
    /// It is about to end.
    pub ends: bool,
    pub slots: Vec<Option<Job>>,
}

impl Process {
    fn jobs(&mut self) -> impl Iterator<Item = &mut Job> {
        self.slots.iter_mut().flatten()
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }
}

pub struct Agents {
    pub manners: Manners,
    drain: DrainMethod,
    slots: u32,
    processes: Vec<Option<Process>>,
    lives: u32,
    jobs: u32,
}

/// What a signal has brought about.
#[derive(Debug, Default)]
pub struct Struck {
    /// This process ends; it takes a while unless it was killed.
    pub ends: Option<u32>,
    /// These jobs were running, and end before their time.
    pub killed: Vec<Job>,
}

impl Agents {
    pub fn new(settings: &Settings, manners: Manners) -> Agents {
        Agents {
            manners,
            drain: settings.drain,
            slots: settings.slots,
            processes: (0..settings.agents).map(|_| None).collect(),
            lives: 0,
            jobs: 0,
        }
    }

    pub fn any(&self) -> bool {
        self.processes.iter().any(Option::is_some)
    }

    pub fn slots(&self) -> usize {
        self.slots as usize
    }

    /// This process of an agent, if it still runs.
    pub fn process(&mut self, agent: AgentIndex, life: u32) -> Option<&mut Process> {
        let process = self.processes[agent.0 as usize - 1].as_mut();
        process.filter(|process| process.life == life)
    }

    pub fn has_process(&self, agent: AgentIndex) -> bool {
        self.processes[agent.0 as usize - 1].is_some()
    }

    pub fn spawn(&mut self, agent: AgentIndex) -> u32 {
        self.lives += 1;
        let place = &mut self.processes[agent.0 as usize - 1];
        assert!(place.is_none(), "agent {agent} is started twice");
        *place = Some(Process {
            life: self.lives,
            ready: false,
            leaves: false,
            ends: false,
            slots: vec![None; self.slots as usize],
        });
        self.lives
    }

    /// A job begins in this slot, if its agent takes one.
    pub fn begin(&mut self, agent: AgentIndex, slot: usize) -> Option<(u32, u32)> {
        let process = self.processes[agent.0 as usize - 1].as_mut()?;
        if !process.ready || process.leaves || process.ends || process.slots[slot].is_some() {
            return None;
        }
        self.jobs += 1;
        process.slots[slot] = Some(Job {
            number: self.jobs,
            cancelled: false,
        });
        process.leaves |= self.drain == DrainMethod::SingleJob;
        Some((process.life, self.jobs))
    }

    /// A job ends by itself: in which slot, and whether its process ends too.
    pub fn finish(&mut self, agent: AgentIndex, life: u32, number: u32) -> Option<(usize, bool)> {
        let process = self.process(agent, life)?;
        let ends = |job: Job| job.number == number && !job.cancelled;
        let slot = process
            .slots
            .iter()
            .position(|slot| slot.is_some_and(ends))?;
        process.slots[slot] = None;
        let ends = process.leaves && process.is_idle() && !process.ends;
        process.ends |= ends;
        Some((slot, ends))
    }

    /// A signal arrives.
    pub fn strike(&mut self, agent: AgentIndex, stop: Stop) -> Struck {
        let (drain, manners) = (self.drain, self.manners);
        let mut struck = Struck::default();
        let Some(process) = self.processes[agent.0 as usize - 1].as_mut() else {
            return struck;
        };
        let ignores =
            manners == Manners::Stubborn && matches!(stop, Stop::Cancel | Stop::Terminate);
        let lets_finish = stop == Stop::Drain && drain == DrainMethod::Signal && !process.is_idle();
        process.leaves = true;
        if !lets_finish {
            for job in process.jobs().filter(|job| !job.cancelled) {
                job.cancelled = true;
                struck.killed.push(*job);
            }
        }
        // Who is about to end can still be killed.
        let again = process.ends && stop != Stop::Kill;
        if !ignores && !lets_finish && !again {
            process.ends = true;
            struck.ends = Some(process.life);
        }
        struck
    }

    /// The process is gone, and with it its jobs.
    pub fn end(&mut self, agent: AgentIndex, life: u32) -> Option<Process> {
        let place = &mut self.processes[agent.0 as usize - 1];
        place.take_if(|process| process.life == life)
    }

    pub fn running(&self) -> impl Iterator<Item = &Job> {
        let processes = self.processes.iter().flatten();
        processes.flat_map(|process| process.slots.iter().flatten())
    }
}
