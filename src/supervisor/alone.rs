//! `clockout retire`: the ladder without a supervisor, for ExecStopPost and scripts.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use tracing::{info, warn};

use super::machine::Machine;
use super::notices::{group_wants, wants_back};
use super::retire::{clients_for, find_placement};
use crate::agent::wait_in_time;
use crate::config::Config;
use crate::exit::Status;
use crate::instance::{
    self, Host, LadderOutcome, Position, Retirement, Runner, Target, Told, Work, climb,
};
use crate::lifecycle::{Exit, Reason};

/// `clockout retire`: the ladder alone.
pub fn retire_now(config: Config, reason: Reason) -> anyhow::Result<Status> {
    if let Ok(status) = crate::control::status(&config.socket) {
        let state = status.state.as_str();
        anyhow::bail!("a supervisor runs here ({state}): use 'clockout drain'");
    }
    let machine = Machine::new(&config);
    machine.make_dir();
    machine.recall();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let outcome = runtime.block_on(async {
        let metadata = instance::metadata();
        let target = match &metadata {
            Ok(imds) => group_wants(imds).await,
            Err(_) => None,
        };
        // What runs when the system is shut down must not end a machine that is only being put
        // into the warm pool.
        let reason = match target {
            Some(target) if wants_back(&target) => {
                info!("retire.pooled: the group has this machine in its warm pool, where it stays");
                return LadderOutcome::Exit;
            }
            Some(Target::Terminated | Target::Warmed(_)) => Reason::ScaleIn,
            _ => reason,
        };
        let placement = find_placement(machine.plan.mode, &metadata).await;
        let clients = clients_for(&placement, &config.hooks);
        let retirement = Retirement {
            plan: &machine.plan,
            placement: &placement,
            cloud: clients.as_deref(),
            reason,
            work: Work::default(),
            told: Told::default(),
        };
        let found = machine.shared.position();
        let outcome = climb(&retirement, found, &mut Alone(&machine)).await;
        if matches!(
            outcome,
            LadderOutcome::ReturnToService | LadderOutcome::Pooled
        ) {
            machine.shared.disarm(&mut Alone(&machine)).await;
        }
        outcome
    });
    info!(?outcome, "retire.over");
    Ok(match outcome {
        LadderOutcome::PoweredOff | LadderOutcome::Exit | LadderOutcome::Pooled => Status::Success,
        LadderOutcome::ReturnToService | LadderOutcome::Stuck => Status::Failure,
    })
}

/// The hands of a ladder that has no supervisor: it waits for its own commands.
struct Alone<'a>(&'a Machine);

impl Runner for Alone<'_> {
    async fn run(&mut self, argv: Vec<String>, timeout: Duration) -> Option<Exit> {
        let (program, args) = argv.split_first()?;
        let mut command = Command::new(program);
        let spawned = command.args(args).stdin(instance::no_input()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                warn!(%program, %error, "command.failed");
                return None;
            }
        };
        let (in_time, status) = wait_in_time(&mut child, timeout).await.ok()?;
        if !in_time {
            warn!(%program, "command.overdue: killed");
        }
        Some(match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
        })
    }
}

impl Host for Alone<'_> {
    fn record(&mut self, position: &Position) {
        self.0.shared.record(position);
    }

    fn forget(&mut self) {
        self.0.shared.forget();
    }

    async fn rearm_dead_man(&mut self, after: Duration) {
        let machine = self.0;
        machine.shared.rearm(after, &machine.plan, self).await;
    }
}
