//! Asking the detectors that see levels: child processes, and the agents' own pages.

use std::sync::Arc;

use futures_util::future::join_all;
use nix::unistd::Pid;
use tracing::warn;

use super::Supervisor;
use super::input::Input;
use crate::agent;
use crate::jobs::{Children, HttpProbe, Process};
use crate::lifecycle::{AgentIndex, DetectorIndex, Event, Observation};
use crate::presets::{ChildDetector, Detector, Watch};

/// What one detector answered.
pub type Sampled = (AgentIndex, DetectorIndex, Observation);

/// The level detectors of one agent process.
pub struct Probes {
    child: Option<(DetectorIndex, ChildDetector)>,
    /// Known from when the agent is ready: what runs then is no work.
    children: Option<Children>,
    http: Vec<(DetectorIndex, Arc<HttpProbe>)>,
}

impl Probes {
    pub fn new(detectors: &[Detector]) -> Probes {
        let mut probes = Probes {
            child: None,
            children: None,
            http: Vec::new(),
        };
        for (at, detector) in detectors.iter().enumerate() {
            let at = DetectorIndex(at);
            match &detector.watch {
                Watch::Child(child) => probes.child = Some((at, child.clone())),
                Watch::Http(http, target) => match HttpProbe::new(http, &target.url) {
                    Ok(probe) => probes.http.push((at, Arc::new(probe))),
                    // It stays unknown, which is never idle.
                    Err(error) => warn!(url = target.url, %error, "detector.unusable"),
                },
                Watch::Log(_) | Watch::ProcessEnv(_) | Watch::Hook | Watch::Nothing => {}
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

    fn child(&self, pid: Pid) -> Option<(DetectorIndex, Observation)> {
        let (at, _) = self.child.as_ref()?;
        Some((*at, self.children.as_ref()?.observe(&below(pid))))
    }
}

/// The processes below an agent's, as its child detector wants them.
fn below(agent: Pid) -> Vec<Process> {
    let found = agent::descendants(agent).into_iter();
    found
        .map(|process| Process {
            pid: process.pid.as_raw(),
            parent: process.ppid.as_raw(),
            start_time: process.start_time,
            comm: process.comm.into_bytes(),
        })
        .collect()
}

impl Supervisor {
    /// It is ready: whatever it starts from now on is work.
    pub(super) fn take_baseline(&mut self, agent: AgentIndex) {
        let Some(running) = self.running.get_mut(&agent) else {
            return;
        };
        if running.probes.child.is_some() {
            let own = below(running.process.pid()).into_iter();
            let own = own.map(|process| (process.pid, process.start_time));
            running
                .probes
                .set_baseline(own, running.process.start_time());
        }
    }

    /// Asks them all. The lifecycle hears of [`Event::Sampled`] when the last has answered.
    pub(super) fn sample(&mut self) {
        self.sample_children();
        let mut asked = Vec::new();
        for (agent, running) in &self.running {
            for (at, probe) in &running.probes.http {
                let (agent, at, probe) = (*agent, *at, probe.clone());
                asked.push(async move { (agent, at, probe.sample().await) });
            }
        }
        if asked.is_empty() {
            self.events.push_back(Event::Sampled);
            return;
        }
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let answers = join_all(asked).await;
            let _ = inbox.send(Input::Sampled(answers)).await;
        });
    }

    /// The part that needs no waiting.
    pub(super) fn sample_children(&mut self) {
        for (agent, running) in &self.running {
            if let Some((at, seen)) = running.probes.child(running.process.pid()) {
                self.events.push_back(Event::Observed(*agent, at, seen));
            }
        }
    }
}
