//! Telling an agent to stop, as its preset says: signals, commands, and the cordon before them.

use std::ffi::OsString;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use regex::bytes::Regex;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::commands::Order;
use super::input::Input;
use super::{Running, Supervisor, cordon, repeat};
use crate::agent::{self, Process};
use crate::instance::no_input;
use crate::lifecycle::{AgentIndex, Event, Exit, Stop};
use crate::presets::{Cordon, HttpCall, Step, Template};

/// A command that hangs must not outlive its agent by much.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// How a command ended, once it has; `None` when it could not be started.
type Ended = oneshot::Receiver<Option<Exit>>;

impl Supervisor {
    /// Makes an agent's process stop, this hard.
    pub(super) fn stop(&mut self, agent: AgentIndex, how: Stop) {
        if self.give_up_waiting(agent) {
            return;
        }
        let preset = self.config.preset.clone();
        let drain = &preset.drain;
        let (step, process) = match how {
            Stop::Drain => (&drain.step, &drain.process),
            Stop::Otherwise => match &drain.otherwise {
                Some(otherwise) => (&otherwise.step, &drain.process),
                None => (&drain.step, &drain.process),
            },
            Stop::Cancel => match &preset.cancel {
                Some(cancel) => (&cancel.step, &cancel.process),
                None => return self.kill(agent),
            },
            Stop::Terminate => (&Step::Signal(Signal::SIGTERM), &None),
            Stop::Kill => return self.kill(agent),
        };
        match step {
            Step::Signal(signal) => self.send(agent, *signal, process.as_ref()),
            Step::Command(words) => self.tell(agent, words),
        }
    }

    /// A signal, to the descendant of this name if there is one.
    fn send(&mut self, agent: AgentIndex, signal: Signal, name: Option<&Regex>) {
        let Some(running) = self.running.get_mut(&agent) else {
            return;
        };
        let below = name.and_then(|name| descendant(&running.process, name));
        let process = below.as_ref().unwrap_or(&running.process);
        let is_repeated = running.signalled.replace(signal) == Some(signal);
        let own = Process::adopt(process.pid(), process.start_time());
        match own.filter(|_| is_repeated) {
            Some(process) => drop(tokio::spawn(repeat::send(agent, process, signal))),
            None => repeat::send_now(agent, process, signal),
        }
    }

    fn tell(&mut self, agent: AgentIndex, words: &[Template]) {
        let Some(ended) = self.run_as_agent(agent, words) else {
            return;
        };
        let shown = shown(words);
        info!(%agent, command = shown, "agent.told");
        tokio::spawn(async move {
            if let Ok(Some(exit)) = ended.await
                && exit != Exit::Code(0)
            {
                warn!(%agent, command = shown, %exit, "agent.untold");
            }
        });
    }

    /// An agent that has just become ready and did not say that it survives its drain step.
    pub(super) fn warn_unarmed(&self, agent: AgentIndex) {
        let is_armed = self.running.get(&agent).is_none_or(|running| running.armed);
        let drain = &self.config.preset.drain;
        if let (false, Some(otherwise)) = (is_armed, &drain.otherwise) {
            let step = match &otherwise.step {
                Step::Signal(signal) => signal.to_string(),
                Step::Command(words) => shown(words),
            };
            let preset = &self.config.preset.name;
            warn!(%agent, preset, step, "agent.unarmed: it is drained otherwise");
        }
    }

    /// Has the CI server told to give this agent no more jobs; the lifecycle hears whether it
    /// agreed.
    pub(super) fn cordon(&mut self, agent: AgentIndex) {
        let preset = self.config.preset.clone();
        let asked = match &preset.drain.cordon {
            Some(Cordon::Command(words)) => self.run_as_agent(agent, words),
            Some(Cordon::Http(call)) => return self.cordon_by_call(agent, call),
            None => None,
        };
        self.cordon_answered(agent, asked);
    }

    fn cordon_by_call(&mut self, agent: AgentIndex, call: &HttpCall) {
        let running = self.running.get(&agent);
        let filled = running.and_then(|running| running.launch.call(call).ok());
        let Some(filled) = filled else {
            return self.cordon_answered(agent, None);
        };
        if cordon::needs_curl(&filled) {
            let asked = match cordon::curl(&filled) {
                Ok((argv, stdin)) => self.order(agent, argv, format!("curl {}", call.url), stdin),
                Err(error) => {
                    warn!(%agent, %error, "agent.uncordoned");
                    None
                }
            };
            return self.cordon_answered(agent, asked);
        }
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let agreed = cordon::send(filled).await;
            if let Err(error) = &agreed {
                info!(%agent, %error, "agent.uncordoned");
            }
            let _ = inbox.send(Input::Cordoned(agent, agreed.is_ok())).await;
        });
    }

    /// A refusal is no failure of ours: servers refuse while a job runs.
    fn cordon_answered(&mut self, agent: AgentIndex, asked: Option<Ended>) {
        let Some(ended) = asked else {
            self.events.push_back(Event::Cordoned(agent, false));
            return;
        };
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let exit = ended.await.ok().flatten();
            if let Some(exit) = exit
                && exit != Exit::Code(0)
            {
                info!(%agent, %exit, "agent.uncordoned");
            }
            let agreed = exit == Some(Exit::Code(0));
            let _ = inbox.send(Input::Cordoned(agent, agreed)).await;
        });
    }

    /// Starts a command of the preset's as the agent. `None`, and a line in the log: it has no
    /// process, or a place in a word cannot be filled.
    fn run_as_agent(&mut self, agent: AgentIndex, words: &[Template]) -> Option<Ended> {
        let Running {
            process, launch, ..
        } = self.running.get(&agent)?;
        match launch.words(words, process.pid().as_raw()) {
            Ok(argv) => self.order(agent, argv, shown(words), no_input()),
            Err(error) => {
                warn!(%agent, command = shown(words), %error, "agent.untold");
                None
            }
        }
    }

    fn order(
        &mut self,
        agent: AgentIndex,
        argv: Vec<OsString>,
        shown: String,
        stdin: Stdio,
    ) -> Option<Ended> {
        let spec = Arc::clone(&self.running.get(&agent)?.spec);
        let (reply, ended) = oneshot::channel();
        self.run_command(Order {
            argv,
            shown,
            agent: Some((spec, agent)),
            stdin,
            is_silent: false,
            timeout: STEP_TIMEOUT,
            reply,
        });
        Some(ended)
    }
}

/// The words of a command as its preset has them: filled, they may be secrets.
fn shown(words: &[Template]) -> String {
    let words: Vec<_> = words.iter().map(Template::as_str).collect();
    words.join(" ")
}

/// The first process of this name that was started below an agent's.
fn descendant(agent: &Process, name: &Regex) -> Option<Process> {
    let below = agent::descendants(agent.pid()).into_iter();
    let named = below.filter(|process| name.is_match(process.comm.as_bytes()));
    let first = named.min_by_key(|process| process.start_time)?;
    Process::adopt(first.pid, first.start_time)
}
