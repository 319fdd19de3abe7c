//! Asking the detectors that see levels: processes, and the agents' own pages.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use nix::unistd::Pid;
use tracing::warn;

use super::Supervisor;
use super::input::Input;
use crate::agent::{self, ProcInfo};
use crate::jobs::{Carrier, Children, Environ, HttpProbe, OpenStep, Process, Steps, Variable};
use crate::lifecycle::{AgentIndex, DetectorIndex, Event, Observation};
use crate::presets::{ChildDetector, Detector, Watch};

/// What one detector of one agent process answered.
pub struct Sampled {
    agent: AgentIndex,
    pid: Pid,
    by: DetectorIndex,
    seen: Observation,
}

/// The questions to the agents' pages. One round of them at a time: no answer may overtake an
/// earlier one's, and a page that hangs must not gather askers.
#[derive(Default)]
pub struct Rounds {
    /// Samples that were asked for since the present round began.
    waiting: u32,
    /// Samples that the present round is; 0 between rounds.
    present: u32,
}

/// The level detectors of one agent process.
pub struct Probes {
    child: Option<(DetectorIndex, ChildDetector)>,
    /// Known from when the agent is ready: what runs then is no work.
    children: Option<Children>,
    environ: Option<(DetectorIndex, String, Environ)>,
    http: Vec<(DetectorIndex, Arc<HttpProbe>)>,
    steps: Vec<(DetectorIndex, Steps)>,
}

impl Probes {
    pub fn new(detectors: &[Detector]) -> Probes {
        let mut probes = Probes {
            child: None,
            children: None,
            environ: None,
            http: Vec::new(),
            steps: Vec::new(),
        };
        for (at, detector) in detectors.iter().enumerate() {
            let at = DetectorIndex(at);
            match &detector.watch {
                Watch::Child(child) => probes.child = Some((at, child.clone())),
                Watch::Http(http, target) => match HttpProbe::new(http, target) {
                    Ok(probe) => probes.http.push((at, Arc::new(probe))),
                    // It stays unknown, which is never idle.
                    Err(error) => warn!(url = target.url, %error, "detector.unusable"),
                },
                Watch::ProcessEnv(env) => {
                    probes.environ = Some((at, env.name.clone(), Environ::default()));
                }
                Watch::Log(log) => {
                    let steps = log.ends_jobs.map(Steps::new);
                    probes.steps.extend(steps.map(|steps| (at, steps)));
                }
                // Without an answer it stays unknown.
                Watch::Hook | Watch::Nothing => {}
            }
        }
        probes
    }

    /// These processes are the agent's own.
    pub fn set_baseline(&mut self, own: impl IntoIterator<Item = (i32, u64)>, started: u64) {
        let spec = self.child.as_ref().map(|(_, spec)| spec);
        self.children = spec.map(|spec| Children::new(spec, own, started));
    }

    /// To be stored, and set again by the next supervisor.
    pub fn baseline(&self) -> Vec<(i32, u64)> {
        self.children
            .as_ref()
            .map(Children::baseline)
            .unwrap_or_default()
    }

    /// Steps that run; to be stored, and set again by the next supervisor.
    pub fn open_steps(&self) -> Vec<Vec<OpenStep>> {
        let each = self.steps.iter();
        each.map(|(_, steps)| steps.open().to_vec()).collect()
    }

    pub fn set_open_steps(&mut self, stored: Vec<Vec<OpenStep>>) {
        for ((_, steps), open) in self.steps.iter_mut().zip(stored) {
            steps.set_open(open, Instant::now());
        }
    }

    /// A detector of the agent's output saw something.
    pub fn heard(&mut self, by: DetectorIndex, seen: &Observation) {
        let now = Instant::now();
        for (at, steps) in &mut self.steps {
            if *at == by {
                steps.see(seen, now);
            } else if matches!(seen, Observation::Started { .. }) {
                steps.live(now);
            }
        }
    }

    fn child(&mut self, pid: Pid) -> Option<(DetectorIndex, Observation)> {
        let (at, spec) = self.child.as_ref()?;
        let below = below(pid, spec.exe.is_some());
        Some((*at, self.children.as_mut()?.observe(&below)))
    }
}

/// The processes below an agent's, as its child detector wants them.
fn below(agent: Pid, with_arguments: bool) -> Vec<Process> {
    let found = agent::descendants(agent).into_iter();
    found
        .map(|process| Process {
            pid: process.pid.as_raw(),
            parent: process.ppid.as_raw(),
            start_time: process.start_time,
            arguments: with_arguments
                .then(|| agent::arguments(&process).ok())
                .flatten(),
            comm: process.comm.into_bytes(),
        })
        .collect()
}

/// What a process has in this variable; `None` when it is gone.
fn carrier(process: &ProcInfo, name: &str) -> Option<Carrier> {
    let value = match agent::variable(process, name) {
        Ok(Some(value)) => Variable::Set(value),
        Ok(None) => Variable::Unset,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(_) => Variable::Unreadable,
    };
    Some(Carrier {
        pid: process.pid.as_raw(),
        start_time: process.start_time,
        value,
    })
}

impl Supervisor {
    /// It is ready: whatever it starts from now on is work.
    pub(super) fn take_baseline(&mut self, agent: AgentIndex) {
        let Some(running) = self.running.get_mut(&agent) else {
            return;
        };
        if running.probes.child.is_some() {
            let own = below(running.process.pid(), false).into_iter();
            let own = own.map(|process| (process.pid, process.start_time));
            running
                .probes
                .set_baseline(own, running.process.start_time());
        }
    }

    /// Asks them all. The lifecycle hears of [`Event::Sampled`] when the last has answered, once
    /// for each time that it asked.
    pub(super) fn sample(&mut self) {
        self.sample_children();
        self.rounds.waiting += 1;
        if self.rounds.present == 0 {
            self.ask_pages();
        }
    }

    fn ask_pages(&mut self) {
        self.rounds.present = std::mem::take(&mut self.rounds.waiting);
        let mut asked = Vec::new();
        for (agent, running) in &self.running {
            let (agent, pid) = (*agent, running.process.pid());
            for (by, probe) in &running.probes.http {
                let (by, probe) = (*by, probe.clone());
                asked.push(async move {
                    let seen = probe.sample().await;
                    Sampled {
                        agent,
                        pid,
                        by,
                        seen,
                    }
                });
            }
        }
        if asked.is_empty() {
            self.round_over();
            return;
        }
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let answers = join_all(asked).await;
            let _ = inbox.send(Input::Sampled(answers)).await;
        });
    }

    /// All pages have answered, or not in time.
    pub(super) fn sampled(&mut self, answers: Vec<Sampled>) {
        for Sampled {
            agent,
            pid,
            by,
            seen,
        } in answers
        {
            let asked = self.running.get(&agent);
            // Another process of this agent's may have been started since.
            if asked.is_some_and(|running| running.process.pid() == pid) {
                self.events.push_back(Event::Observed(agent, by, seen));
            }
        }
        self.round_over();
        if self.rounds.waiting > 0 {
            self.ask_pages();
        }
        self.feed_queued();
    }

    fn round_over(&mut self) {
        for _ in 0..std::mem::take(&mut self.rounds.present) {
            self.events.push_back(Event::Sampled);
        }
    }

    /// The part that needs no waiting.
    pub(super) fn sample_children(&mut self) {
        for (agent, running) in &mut self.running {
            if let Some((at, seen)) = running.probes.child(running.process.pid()) {
                self.events.push_back(Event::Observed(*agent, at, seen));
            }
            for (at, steps) in &running.probes.steps {
                let seen = steps.answer(Instant::now());
                self.events.push_back(Event::Observed(*agent, *at, seen));
            }
        }
        self.sample_environments();
    }

    fn sample_environments(&mut self) {
        let spared = self.spared();
        let mut found = Vec::new();
        for (agent, running) in &self.running {
            if let Some((_, name, _)) = &running.probes.environ {
                let owner = self.owner(*agent, Some(&running.process));
                let processes = self.tree.processes(owner, &spared).into_iter();
                let carriers: Vec<_> = processes.filter_map(|p| carrier(&p, name)).collect();
                found.push((*agent, carriers));
            }
        }
        for (agent, carriers) in found {
            let running = self.running.get_mut(&agent);
            let running = running.expect("nothing was taken out since");
            if let Some((at, _, environ)) = &mut running.probes.environ {
                let seen = environ.observe(running.process.pid().as_raw(), carriers);
                self.events.push_back(Event::Observed(agent, *at, seen));
            }
        }
    }
}
