//! An agent process as its preset has it started, and what the preset then says of it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cancel::Cancel;
use super::container::ContainerRun;
use super::dress::{Dressed, dress, may_add_args};
use super::format::Preset;
use super::require::Standing;
use super::template::{Place, Wanted, fill_argument};
use super::view::{View, World};
use super::watch::Watch;
use crate::lifecycle::{AgentIndex, DrainMethod};

/// What one agent process has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    pub index: AgentIndex,
    /// A free port of the loopback interface, where [`Launch::wants_port`]. Without one, `{port}`
    /// stays as it is written.
    pub port: Option<u16>,
    /// Where a container client may write the container's id. The file must not be there when the
    /// client starts.
    pub cidfile: Option<PathBuf>,
}

impl Default for Seat {
    /// The first, with nothing of its own yet.
    fn default() -> Seat {
        Seat {
            index: AgentIndex(1),
            port: None,
            cidfile: None,
        }
    }
}

/// How one agent process is started, and what can be seen and done then.
///
/// The first, [`Launch::new`], stands for all agents of the machine; each process's own comes
/// from it by [`Launch::seated`].
#[derive(Debug, Clone)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Set beside, and over, what the process inherits.
    pub env: Vec<(OsString, OsString)>,
    /// What of both the preset has added, as it says it.
    pub(super) added: Vec<String>,
    /// Jobs that it runs at a time, at least 1.
    pub slots: u32,
    /// They were told, not assumed.
    pub slots_known: bool,
    /// It ends by itself after one job.
    pub single_job: bool,
    pub(super) preset: Arc<Preset>,
    pub(super) view: View,
    pub(super) container: Option<ContainerRun>,
    cidfile: Option<PathBuf>,
    given: Arc<Given>,
    /// Which of the preset's detectors are in use: the same for all agents of the machine.
    pub(super) in_use: Arc<[bool]>,
}

/// What the user gave.
#[derive(Debug)]
struct Given {
    argv: Vec<OsString>,
    slots: Option<u32>,
    world: Arc<World>,
}

impl Launch {
    /// Of an agent with these arguments, as its user wrote them. `slots`: how many jobs it runs at
    /// a time, where its user says so.
    pub fn new(preset: Arc<Preset>, argv: &[OsString], slots: Option<u32>) -> Launch {
        Launch::in_world(preset, argv, slots, World::here())
    }

    pub(super) fn in_world(
        preset: Arc<Preset>,
        argv: &[OsString],
        slots: Option<u32>,
        world: World,
    ) -> Launch {
        let given = Given {
            argv: argv.to_vec(),
            slots,
            world: Arc::new(world),
        };
        let mut launch = Launch::at(preset, Arc::new(given), Seat::default());
        let found = launch.all_detectors().into_iter();
        launch.in_use = found.map(|detector| detector.is_ok()).collect();
        launch
    }

    /// Of one agent process.
    pub fn seated(&self, seat: Seat) -> Launch {
        let mut launch = Launch::at(self.preset.clone(), self.given.clone(), seat);
        launch.in_use = self.in_use.clone();
        launch
    }

    fn at(preset: Arc<Preset>, given: Arc<Given>, seat: Seat) -> Launch {
        let place = View::on_host(given.world.clone(), Vec::new(), &seat);
        let known = |wanted: Wanted<'_>| place.place(wanted);
        let filled = given.argv.iter().map(|arg| fill_argument(arg, &known));
        let argv: Vec<_> = filled.collect();

        let container = ContainerRun::parse(&argv);
        let mut view = match &container {
            None => View::on_host(given.world.clone(), argv.clone(), &seat),
            Some(run) => {
                let own = preset.argv_in(run, &argv);
                View::in_container(given.world.clone(), run, own, &seat)
            }
        };
        view.find_config(&preset.config);

        let told = preset.slots.slots(&view);
        let slots = given.slots.or(told);
        let count = slots.unwrap_or(preset.default_slots());
        let can_tell =
            preset.single_job.add_args.is_empty() || may_add_args(&argv, container.as_ref());
        let single = &preset.single_job;
        let (single_job, tell_it) = match single.when.iter().find_map(|one| one.switch(&view)) {
            Some(said) => (said, false),
            None => {
                let ours = single.can_be_told() && can_tell && count == 1;
                (ours, ours)
            }
        };

        let cidfile = seat.cidfile.as_deref();
        let container_run = container.as_ref();
        let Dressed { argv, env, added } =
            dress(&preset, &argv, container_run, tell_it, cidfile, &mut view);
        Launch {
            argv,
            env,
            added,
            slots: if single_job { 1 } else { count },
            slots_known: single_job || slots.is_some(),
            single_job,
            cidfile: container_run.and_then(|run| run.cidfile.clone().or(seat.cidfile)),
            preset,
            view,
            container,
            given,
            in_use: Arc::default(),
        }
    }

    /// Its process needs a port, in a [`Seat`].
    pub fn wants_port(&self) -> bool {
        let port = Place::Port.written();
        let has_port =
            |text: &OsString| memchr::memmem::find(text.as_bytes(), port.as_bytes()).is_some();
        let values = self.env.iter().map(|(_, value)| value);
        self.view.port.is_none() && self.argv.iter().chain(values).any(has_port)
    }

    /// How it is drained.
    pub fn drain_method(&self) -> DrainMethod {
        if self.single_job {
            DrainMethod::SingleJob
        } else {
            self.preset.drain.method
        }
    }

    /// What the cancel step may take; `None` when there is no such step.
    pub fn cancel_allow(&self) -> Option<Duration> {
        let cancel: Option<&Cancel> = self.preset.cancel.as_ref();
        cancel.map(|cancel| cancel.allow(&self.view))
    }

    /// Where the agent runs in a container, the file with the container's id.
    pub fn cidfile(&self) -> Option<&Path> {
        self.cidfile.as_deref()
    }

    /// The container client and its own options, up to `run`, when the agent is started through
    /// one: `kill` or `rm` may stand in the place of `run`.
    pub fn client(&self) -> Option<&[OsString]> {
        let run = self.container.as_ref()?;
        Some(&self.argv[..run.options - 1])
    }

    /// The container is not to be kept after its end.
    pub fn container_is_temporary(&self) -> bool {
        self.container.as_ref().is_some_and(|run| run.is_temporary)
    }

    /// How each thing that the preset requires stands.
    pub fn requirements(&self) -> Vec<Standing> {
        let all = self.preset.require.iter();
        all.map(|require| require.check(&self.view)).collect()
    }

    /// What may go wrong with this agent, each in a line.
    pub fn warnings(&self) -> Vec<String> {
        let unseen = self.requirements().into_iter();
        let mut all: Vec<_> = unseen
            .filter_map(|standing| match standing {
                Standing::Unseen(what) => Some(format!("the container is not looked into: {what}")),
                Standing::Met(_) | Standing::Unmet(_) => None,
            })
            .collect();
        let used = self.detectors();
        let only_hooks = used
            .iter()
            .all(|detector| matches!(detector.watch, Watch::Hook));
        if only_hooks && self.container.is_some() {
            all.push(
                "no job in this container can be seen but those that hooks report: an agent \
                 whose jobs nobody sees is idle"
                    .to_owned(),
            );
        }
        all
    }

    /// What must be done before this agent can be started, in a line.
    pub fn refusal(&self) -> Option<String> {
        let name = &self.preset.name;
        if let Some(fault) = self.container.as_ref().and_then(|run| run.fault) {
            return Some(fault.to_owned());
        }
        let unmet = self
            .requirements()
            .into_iter()
            .find_map(|standing| match standing {
                Standing::Unmet(what) => Some(format!("preset {name}: {what}")),
                _ => None,
            });
        unmet.or_else(|| {
            self.impossible_step()
                .map(|what| format!("preset {name}: {what}"))
        })
    }
}

impl Preset {
    /// The agent's own arguments in a container: the program named after the image, else the image.
    fn argv_in(&self, run: &ContainerRun, argv: &[OsString]) -> Vec<OsString> {
        let after = &argv[run.image + 1..];
        let is_program = |word: &OsString| self.names(super::choose::base_name(word));
        let from = if after.first().is_some_and(is_program) {
            run.image + 1
        } else {
            run.image
        };
        argv[from..].to_vec()
    }

    /// What is assumed when nothing says; at least 1.
    fn default_slots(&self) -> u32 {
        self.slots.default.map_or(1, |slots| slots.0)
    }
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
