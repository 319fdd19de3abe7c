//! `--protect`, in the background: the group is told whether it may choose this machine when it
//! shrinks. No job ever waits for it. What is called when, is decided by the [`Protector`].

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{debug, warn};

use super::Supervisor;
use crate::clock;
use crate::instance::{
    Call, Clients, Cloud, Identity, Protect, ProtectFailure, ProtectTurn, Protector, Verdict,
    classify,
};

/// What the protector must know. Dropped, nothing is called any more.
#[derive(Default)]
pub struct Protection(Option<watch::Sender<Facts>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    busy: bool,
    in_service: bool,
}

impl Protection {
    pub fn work(&self, busy: bool) {
        self.tell(|facts| facts.busy = busy);
    }

    pub fn in_service(&self, yes: bool) {
        self.tell(|facts| facts.in_service = yes);
    }

    fn tell(&self, change: impl FnOnce(&mut Facts)) {
        if let Protection(Some(facts)) = self {
            facts.send_if_modified(|facts| {
                let before = *facts;
                change(facts);
                *facts != before
            });
        }
    }

    /// The machine leaves its group now.
    pub fn stop(&mut self) {
        self.0 = None;
    }
}

impl Supervisor {
    /// From now on, if that is wanted. It must be known which machine this is.
    pub(super) fn protect(&mut self) {
        let mode = self.config.protect;
        let Some((identity, clients)) = self.reach() else {
            return;
        };
        if mode == Protect::Off || self.protection.0.is_some() || self.config.retire.dry_run {
            return;
        }
        let facts = Facts {
            busy: self.life.running() > 0,
            in_service: self.notices.is_in_service(),
        };
        let (sender, facts) = watch::channel(facts);
        self.protection = Protection(Some(sender));
        tokio::spawn(follow(Protector::new(mode), facts, identity, clients));
    }
}

async fn follow(
    mut protector: Protector,
    mut facts: watch::Receiver<Facts>,
    identity: Identity,
    clients: Arc<Clients>,
) {
    let mut is_failing = false;
    loop {
        let now = clock::now();
        let Facts { busy, in_service } = *facts.borrow_and_update();
        protector.in_service(in_service);
        protector.work(now, busy);
        let changed = match protector.next(now) {
            ProtectTurn::Call(protect) => {
                let answer = clients.send(&identity, Call::Protect(protect)).await;
                let answer = match answer {
                    Ok(_) => {
                        is_failing = false;
                        debug!(protect, "group.protection");
                        Ok(())
                    }
                    Err(error) => {
                        let failure = failure(classify(&error));
                        if !is_failing && failure != ProtectFailure::NotInService {
                            is_failing = true;
                            warn!(protect, %error, ?failure, "group.protection_failed");
                        }
                        Err(failure)
                    }
                };
                protector.told(clock::now(), protect, answer);
                continue;
            }
            ProtectTurn::Wait(until) => tokio::select! {
                () = tokio::time::sleep(until.since(now)) => Ok(()),
                changed = facts.changed() => changed,
            },
            ProtectTurn::Rest => facts.changed().await,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn failure(verdict: Verdict) -> ProtectFailure {
    match verdict {
        Verdict::NotInService => ProtectFailure::NotInService,
        Verdict::Retry | Verdict::Ambiguous => ProtectFailure::Retry,
        _ => ProtectFailure::Denied,
    }
}
