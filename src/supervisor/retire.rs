//! The machine's end, from the supervisor's side: what is made ready while agents drain, and the
//! ladder as a task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info};

use super::Supervisor;
use super::input::Input;
use super::machine::Hands;
use super::notices::{group_wants, wants_back};
use crate::clock;
use crate::instance::{
    self, Clients, HookNames, Host, Identity, Imds, LadderOutcome, Mode, Placement, Retirement,
    Told, Transition, Work, climb, identify, longest_climb,
};
use crate::lifecycle::{Event, Phase, Reason};

/// How long retirement waits to learn what machine this is.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts to learn it, on a machine of Amazon's.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// After everything failed.
const CLIMB_AGAIN: Duration = Duration::from_secs(60);

impl Supervisor {
    /// Learns in the background what machine this is.
    pub(super) fn find_placement(&self) {
        let inbox = self.inbox.clone();
        let mode = self.config.retire.mode;
        let metadata = self.notices.metadata.clone();
        tokio::spawn(async move {
            loop {
                let placement = find_placement(mode, &metadata).await;
                let known = placement != Placement::Unknown || mode == Mode::PowerOff;
                if inbox.send(Input::Placement(placement)).await.is_err() || known {
                    return;
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        });
    }

    pub(super) fn placed(&mut self, placement: Placement) {
        if placement == Placement::NotOnEc2 && self.config.retire.mode != Mode::PowerOff {
            self.feed(Event::PassThrough);
        }
        if let Some(identity) = placement.identity() {
            self.machine.clients = clients_for(&placement, &self.config.hooks);
            let here = identity.instance_id.as_str().to_owned();
            let unfinished = self.unfinished.take();
            if let Some((_, reason)) = unfinished.filter(|(instance, _)| *instance == here) {
                info!(%reason, "retire.taken_up: the machine was restarted while it was leaving");
                let deadline = None;
                self.feed(Event::Drain { reason, deadline });
            }
        }
        self.placement.send_replace(Some(placement));
        self.keep_hook(Transition::Launching);
        if self.life.reason() == Some(Reason::ScaleIn) {
            self.keep_hook(Transition::Terminating);
        }
        self.protect();
        if self.preparing {
            self.prepare_clients();
        }
    }

    /// The drain has begun: what retirement needs is made ready while jobs end.
    pub(super) fn prepare_retire(&mut self, reason: Reason) {
        if self.config.retire.mode == Mode::Exit || self.config.retire.dry_run {
            return;
        }
        self.preparing = true;
        self.prepare_clients();
        if let Phase::Draining {
            deadline: Some(deadline),
            ..
        } = self.life.phase()
        {
            self.arm_dead_man(deadline.since(clock::now()));
        }
        // Who is taken away by EC2 is replaced in any case, and sooner is better.
        if self.machine.detach_early || reason == Reason::Spot {
            self.leave_early(reason);
        }
    }

    /// The first call of the ladder must not wait for credentials and TLS.
    pub(super) fn prepare_clients(&self) {
        if let Some((identity, clients)) = self.reach() {
            tokio::spawn(async move { clients.warm(&identity).await });
        }
    }

    /// This instance, and what calls AWS for it; `None` before it is known, and where there is none.
    pub(super) fn reach(&self) -> Option<(Identity, Arc<Clients>)> {
        let placement = self.placement.borrow();
        let identity = placement.as_ref()?.identity()?.clone();
        Some((identity, self.machine.clients.clone()?))
    }

    /// In good time after everything that is to happen before.
    fn arm_dead_man(&self, drain: Duration) {
        let after = drain.saturating_add(longest_climb(&self.machine.plan));
        let mut hands = self.hands();
        let mut placement = self.placement.subscribe();
        tokio::spawn(async move {
            if hands.plan.mode == Mode::PowerOff || is_machine(&mut placement).await {
                hands.rearm_dead_man(after).await;
            }
        });
    }

    fn leave_early(&mut self, reason: Reason) {
        let mut hands = self.hands();
        let mut placement = self.placement.subscribe();
        let clients = self.machine.clients.clone();
        let hooks = self.config.hooks.clone();
        let told = self.told();
        let work = self.work();
        self.machine.early = Some(tokio::spawn(async move {
            let placement = known(&mut placement).await;
            let plan = hands.plan.clone();
            let found = hands.shared.position();
            let clients = clients.or_else(|| clients_for(&placement, &hooks));
            let retirement = Retirement {
                plan: &plan,
                placement: &placement,
                cloud: clients.as_deref(),
                reason,
                work,
                told,
            };
            instance::detach_early(&retirement, found, &mut hands).await;
        }));
    }

    /// Climbs the ladder, and tells how far.
    pub(super) fn retire(&mut self, reason: Reason) {
        self.protection.stop();
        let mut hands = self.hands();
        let mut placement = self.placement.subscribe();
        let clients = self.machine.clients.clone();
        let early = self.machine.early.take();
        let hooks = self.config.hooks.clone();
        let mut told = self.told();
        let unanswered = self.notices.unanswered();
        let work = self.work();
        tokio::spawn(async move {
            if let Some(imds) = unanswered {
                let target = group_wants(&imds).await;
                told.pooled |= target.is_some_and(|target| wants_back(&target));
            }
            if let Some(early) = early {
                // Two climbers at once could decrement twice.
                let _ = early.await;
            }
            let plan = hands.plan.clone();
            let placement = match plan.mode {
                Mode::PowerOff | Mode::Exit => Placement::Unknown,
                _ => known(&mut placement).await,
            };
            let clients = clients.or_else(|| clients_for(&placement, &hooks));
            let retirement = Retirement {
                plan: &plan,
                placement: &placement,
                cloud: clients.as_deref(),
                reason,
                work,
                told,
            };
            loop {
                let found = hands.shared.position();
                let outcome = climb(&retirement, found, &mut hands).await;
                let stuck = outcome == LadderOutcome::Stuck;
                if hands.inbox.send(Input::Ladder(outcome)).await.is_err() || !stuck {
                    return;
                }
                tokio::time::sleep(CLIMB_AGAIN).await;
            }
        });
    }

    pub(super) fn climbed(&mut self, outcome: LadderOutcome) {
        match outcome {
            LadderOutcome::PoweredOff => self.feed(Event::Retired),
            LadderOutcome::ReturnToService => self.feed(Event::AtMinimum),
            LadderOutcome::Pooled => self.pooled(),
            LadderOutcome::Exit => {
                self.stays = true;
                self.feed(Event::Retired);
            }
            LadderOutcome::Stuck => error!(
                again_in = CLIMB_AGAIN.as_secs(),
                "retire.stuck: no rung could end this machine"
            ),
        }
    }

    /// The group would only replace it: the machine stays.
    pub(super) fn returned_to_service(&mut self) {
        self.preparing = false;
        self.disarm_dead_man();
        self.protect();
    }

    pub(super) fn disarm_dead_man(&self) {
        let mut hands = self.hands();
        tokio::spawn(async move { hands.shared.clone().disarm(&mut hands).await });
    }

    /// The ladder never answered.
    pub(super) fn power_off(&mut self) {
        error!("retire.overdue");
        let mut hands = self.hands();
        tokio::spawn(async move {
            let plan = hands.plan.clone();
            let command = plan.poweroff_command.as_deref();
            if !plan.dry_run && instance::power_off(&mut hands, command).await {
                let _ = hands
                    .inbox
                    .send(Input::Ladder(LadderOutcome::PoweredOff))
                    .await;
            }
        });
    }

    fn told(&self) -> Told {
        Told {
            launch_pending: self.hooks.is_launching(),
            pooled: self.notices.is_pooled(),
            ends: self.notices.ends,
            notices: self.notices.heard.clone(),
        }
    }

    fn work(&self) -> Work {
        Work {
            started: self.life.started(),
            tally: self.life.tally(),
        }
    }

    fn hands(&self) -> Hands {
        Hands {
            shared: self.machine.shared.clone(),
            plan: self.machine.plan.clone(),
            inbox: self.inbox.clone(),
        }
    }
}

/// What machine is to be ended.
pub(super) async fn find_placement(
    mode: Mode,
    metadata: &Result<Arc<Imds>, Placement>,
) -> Placement {
    match mode {
        // Nothing depends on it.
        Mode::PowerOff | Mode::Exit => Placement::Unknown,
        Mode::Auto if instance::is_container() => {
            // Its host may be everybody's; who means it says so with --retire.
            info!("instance.container: there is no machine to end, only this container");
            Placement::NotOnEc2
        }
        Mode::Auto | Mode::Detach | Mode::Terminate => match metadata {
            Ok(imds) => identify(imds, PATIENCE).await,
            Err(placement) => placement.clone(),
        },
    }
}

pub(super) fn clients_for(placement: &Placement, hooks: &HookNames) -> Option<Arc<Clients>> {
    let region = &placement.identity()?.region;
    Clients::new(region, hooks.clone()).map(Arc::new)
}

/// What machine this is, as soon as that is known.
async fn known(placement: &mut watch::Receiver<Option<Placement>>) -> Placement {
    let told = tokio::time::timeout(PATIENCE, placement.wait_for(Option::is_some)).await;
    match told {
        Ok(Ok(placement)) => placement.clone().unwrap_or(Placement::Unknown),
        _ => Placement::Unknown,
    }
}

/// There is a machine to end.
async fn is_machine(placement: &mut watch::Receiver<Option<Placement>>) -> bool {
    known(placement).await != Placement::NotOnEc2
}
