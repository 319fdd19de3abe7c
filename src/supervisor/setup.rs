//! The configuration, as the agents' processes and the lifecycle want it.

use std::time::Duration;

use crate::agent::{Cgroup, Output, Spec, Stream};
use crate::config::Config;
use crate::instance::Mode;
use crate::lifecycle::{DetectorKind, DrainMethod, Sampling, Settings};
use crate::presets::Window;

/// Level detectors are asked this often while no job runs: a twentieth of the idle timeout, so that
/// the end of a job is known that well, within these bounds.
const SAMPLE_SOONEST: Duration = Duration::from_secs(1);
const SAMPLE_LATEST: Duration = Duration::from_secs(30);
/// While one runs: a job's end is known within 2 s, also where it takes two answers.
const SAMPLE_BUSY: Duration = Duration::from_millis(750);

/// How agents are started.
pub fn spec(config: &Config) -> Spec {
    let output = |stream| {
        if config.preset.reads(stream) {
            Output::Tap
        } else {
            Output::Inherit
        }
    };
    Spec {
        program: config.agent[0].clone(),
        args: config.agent[1..].to_vec(),
        user: config.user.clone(),
        env: config.launch.env.clone(),
        stdout: output(Stream::Stdout),
        stderr: output(Stream::Stderr),
        socket: config.socket.clone(),
        // With a machine to end, Ctrl-C must drain: it is for us.
        interactive: config.retire.mode == Mode::Exit,
        cgroup: Cgroup::delegated(),
    }
}

/// What the lifecycle must know of the configuration.
pub fn settings(config: &Config) -> Settings {
    let preset = &config.preset;
    let launch = &config.launch;
    let detectors = launch.detectors();
    let kinds: Vec<_> = detectors.iter().map(|detector| detector.kind).collect();
    let idle = config.limits.idle_timeout.get();
    let counts = kinds.contains(&DetectorKind::Level);
    let otherwise = preset.drain.otherwise.as_ref().map(|other| other.method);
    let mut drains = otherwise.into_iter().chain([launch.drain_method()]);
    let asked = counts
        || kinds.contains(&DetectorKind::Census)
        || drains.any(|method| method != DrainMethod::Signal);
    let has_levels = kinds.iter().any(|kind| kind.is_level());
    Settings {
        agents: config.agents,
        slots: config.slots,
        slots_known: config.slots_known,
        limits: config.limits,
        detectors: kinds,
        sees_ready: launch.sees_ready(),
        drain: launch.drain_method(),
        needs_line: otherwise,
        window: preset.drain.window.as_ref().map(Window::times),
        cordon: launch.has_cordon(),
        linger: launch.linger(),
        cancel: launch.cancel_allow(),
        exit_ok: preset.exit_ok.clone(),
        pass_through: config.retire.mode == Mode::Exit,
        // Where nobody has to know, nobody wakes up.
        sampling: (has_levels && (asked || idle.is_some())).then(|| Sampling {
            // A job that is only ever seen so must not come and go unseen.
            while_idle: match idle {
                _ if counts => SAMPLE_SOONEST,
                Some(idle) => (idle / 20).clamp(SAMPLE_SOONEST, SAMPLE_LATEST),
                None => SAMPLE_LATEST,
            },
            while_busy: SAMPLE_BUSY,
        }),
    }
}
