//! Lifecycle hooks, in the background: a launch is completed when the agent is ready, a
//! termination is kept until the work is over. How, is decided by the [`Keeper`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::Supervisor;
use super::input::Input;
use crate::aws::ApiError;
use crate::clock;
use crate::instance::{
    ActionResult, Answer, Ask, Call, Clients, Cloud, HookFailure, HookNames, Identity, Keeper,
    Reply, Transition, Turn, Verdict, classify, ours,
};
use crate::lifecycle::{Event, Instant, Reason};

/// The actions that are being kept.
#[derive(Default)]
pub struct Hooks {
    launch: Option<Kept>,
    termination: Option<Kept>,
    /// The agent has been ready, so the group may count on this machine.
    has_launched: bool,
}

/// One lifecycle action. Dropped, it is kept no longer.
struct Kept {
    over: watch::Sender<bool>,
    /// A hook of ours waits.
    pending: Arc<AtomicBool>,
}

impl Kept {
    fn is_over(&self) -> bool {
        self.over.is_closed()
    }
}

impl Hooks {
    /// The launch has come to its good end.
    pub fn launched(&mut self) {
        self.has_launched = true;
        if let Some(kept) = &self.launch {
            kept.over.send_replace(true);
        }
    }

    /// The machine leaves the warm pool: it is launched once more.
    pub fn launches_again(&mut self) {
        self.has_launched = false;
        self.launch = None;
    }

    /// The group has the machine back: the next termination is another one.
    pub fn returned(&mut self) {
        self.termination = None;
    }

    /// The group waits to hear whether this machine has become good for anything.
    pub fn is_launching(&self) -> bool {
        let pending = |kept: &Kept| kept.pending.load(Ordering::Relaxed);
        !self.has_launched && self.launch.as_ref().is_some_and(pending)
    }
}

impl Supervisor {
    /// Keeps the group waiting for us, if it does wait. Before it is known which machine this is,
    /// nothing can be asked; [`Self::placed`] comes here again.
    pub(super) fn keep_hook(&mut self, transition: Transition) {
        let Some((identity, clients)) = self.reach() else {
            return;
        };
        let kept = match transition {
            Transition::Launching => &mut self.hooks.launch,
            Transition::Terminating => &mut self.hooks.termination,
        };
        let is_kept = kept.as_ref().is_some_and(|kept| !kept.is_over());
        if is_kept || self.config.retire.dry_run {
            return;
        }
        let has_ended = transition == Transition::Launching && self.hooks.has_launched;
        let (over, is_over) = watch::channel(has_ended);
        let pending = Arc::new(AtomicBool::new(false));
        let keeping = Keeping {
            transition,
            names: self.config.hooks.clone(),
            identity,
            clients,
            pending: pending.clone(),
            is_failing: false,
            inbox: self.inbox.clone(),
        };
        *kept = Some(Kept { over, pending });
        let margin = self.config.notices.cancel_before;
        let keeper = Keeper::new(transition, margin, clock::now());
        tokio::spawn(keeping.keep(keeper, is_over));
    }

    /// The group waits no longer than that.
    pub(super) fn hook_ends(&mut self, deadline: Instant) {
        if self.hooks.termination.is_none() {
            // Of the last one.
            return;
        }
        self.feed(Event::Drain {
            reason: Reason::ScaleIn,
            deadline: Some(deadline),
        });
    }
}

/// A [`Keeper`]'s hands.
struct Keeping {
    transition: Transition,
    names: HookNames,
    identity: Identity,
    clients: Arc<Clients>,
    pending: Arc<AtomicBool>,
    /// The last call failed, and was complained about.
    is_failing: bool,
    inbox: mpsc::Sender<Input>,
}

impl Keeping {
    async fn keep(mut self, mut keeper: Keeper, mut is_over: watch::Receiver<bool>) {
        let mut told = None;
        loop {
            if *is_over.borrow_and_update() {
                keeper.finish(clock::now());
            }
            match keeper.next(clock::now()) {
                Turn::Ask(ask) => {
                    let answer = self.ask(ask).await;
                    keeper.told(clock::now(), ask, answer);
                    let deadline = keeper.deadline();
                    if self.transition == Transition::Terminating && deadline != told {
                        told = deadline;
                        self.tell(deadline).await;
                    }
                }
                Turn::Wait(until) => tokio::select! {
                    () = tokio::time::sleep(until.since(clock::now())) => {}
                    // The supervisor has let go of it.
                    changed = is_over.changed() => if changed.is_err() { break },
                },
                Turn::Over => break,
            }
        }
        self.pending.store(false, Ordering::Relaxed);
    }

    async fn tell(&self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            let _ = self.inbox.send(Input::HookEnds(deadline)).await;
        }
    }

    async fn ask(&mut self, ask: Ask) -> Answer {
        let call = match ask {
            Ask::Hooks => Call::Hooks,
            Ask::State => Call::State,
            Ask::Heartbeat => Call::Heartbeat(self.transition),
            Ask::Complete => Call::Complete(self.transition, ActionResult::Continue),
        };
        let answer = match self.clients.send(&self.identity, call).await {
            Ok(reply) => self.answered(reply),
            Err(error) => return self.refused(call, &error),
        };
        if self.is_failing {
            self.is_failing = false;
            info!(
                transition = self.transition.as_str(),
                "hook.reachable_again"
            );
        }
        if ask == Ask::Complete {
            info!(transition = self.transition.as_str(), "hook.completed");
        }
        answer
    }

    fn answered(&self, reply: Reply) -> Answer {
        match reply {
            Reply::Hooks(all) => {
                let ours = ours(&all, self.transition, &self.names);
                let names: Vec<_> = ours.iter().map(|hook| hook.name.as_str()).collect();
                if !names.is_empty() {
                    info!(transition = self.transition.as_str(), ?names, "hook.found");
                    self.pending.store(true, Ordering::Relaxed);
                }
                Answer::Hooks(ours.into_iter().cloned().collect())
            }
            Reply::State(state) => Answer::State(state),
            Reply::Nothing | Reply::NotOurs => Answer::NoAction,
            Reply::Done | Reply::Seen(_) => Answer::Done,
        }
    }

    fn refused(&mut self, call: Call, error: &ApiError) -> Answer {
        let failure = match classify(error) {
            Verdict::NoAction => return Answer::NoAction,
            Verdict::Retry | Verdict::Ambiguous => HookFailure::Retry,
            _ => HookFailure::Denied,
        };
        if !self.is_failing {
            self.is_failing = true;
            let (transition, call) = (self.transition.as_str(), call.name());
            warn!(transition, call, %error, ?failure, "hook.failed");
        }
        Answer::Failed(failure)
    }
}
