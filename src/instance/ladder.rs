//! The retirement ladder: carries out what [`Position`] decides.
//!
//! [`climb`] may be dropped at any await and called again, by this process or the next, with the
//! position that was recorded last: it goes on from there and never decrements a group twice.

use std::future::Future;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::api::{Call, Cloud, Reply, Verdict, classify};
use super::backoff::Backoff;
use super::deadman::uptime;
use super::identity::{Membership, Placement};
use super::mode::Mode;
use super::policy::{self, Leave};
use super::position::{Answer, Position, Rung, Step};
use super::poweroff::{Runner, power_off};
use super::record::{self, Work};
use crate::lifecycle::{Exit, Reason};

/// How this machine is to be ended.
#[derive(Debug, Clone)]
pub struct Plan {
    pub mode: Mode,
    /// Commands, each with its arguments, that run before anything else.
    pub before_retire: Vec<Vec<String>>,
    /// For each of them.
    pub hook_timeout: Duration,
    /// `None`: systemd, else `reboot(2)`.
    pub poweroff_command: Option<Vec<String>>,
    /// Say what would be called, call nothing.
    pub dry_run: bool,
    pub timing: Timing,
}

/// The ladder's patience.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For all tries of one rung together.
    pub rung_budget: Duration,
    pub backoff: Duration,
    pub backoff_cap: Duration,
    /// How long a termination in a group may take until it shows.
    pub look_delay: Duration,
    /// How long a machine whose end was accepted may stay.
    pub end_patience: Duration,
    /// The age at which a broken machine may be replaced: a group that makes nothing but broken
    /// ones makes one in this time.
    pub replace_age: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            rung_budget: Duration::from_secs(120),
            backoff: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(10),
            look_delay: Duration::from_secs(3),
            end_patience: Duration::from_secs(300),
            replace_age: Duration::from_secs(3600),
        }
    }
}

/// What the ladder needs of the process that climbs it.
pub trait Host: Runner {
    /// Stores the position before this returns, so that a killed process goes on from it.
    fn record(&mut self, position: &Position);

    /// The position is of no use any more: the machine stays.
    fn forget(&mut self);

    /// The dead-man must not act before `after` from now; one that is armed for later may stay.
    /// Called when the climb begins and whenever it will take longer.
    fn rearm_dead_man(&mut self, after: Duration) -> impl Future<Output = ()> + Send;
}

/// One retirement.
#[derive(Debug)]
pub struct Retirement<'a, C> {
    pub plan: &'a Plan,
    pub placement: &'a Placement,
    /// `None` in builds without the feature `aws`, and where the region is not known.
    pub cloud: Option<&'a C>,
    pub reason: Reason,
    pub work: Work,
}

/// Where the climb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LadderOutcome {
    /// The machine is shutting down.
    PoweredOff,
    /// It is idle in a group at its minimum, which would only replace it.
    ReturnToService,
    /// There is nothing to end here, or this was a rehearsal: the caller exits.
    Exit,
    /// Everything failed. Only the dead-man is left.
    Stuck,
}

/// The longest that a climb takes without having called [`Host::rearm_dead_man`] anew.
pub fn longest_climb(plan: &Plan) -> Duration {
    let hooks = plan
        .hook_timeout
        .saturating_mul(plan.before_retire.len() as u32);
    // Detach, terminate in the group, terminate; each with its last try over the budget.
    let rungs = (plan.timing.rung_budget + Duration::from_secs(30)) * 3;
    let slack = Duration::from_secs(60);
    hooks.saturating_add(rungs + plan.timing.end_patience * 2 + slack)
}

/// Climbs until the machine is going, returns to service, or is not ours to end. `found` is what
/// an earlier climb of this retirement, or [`detach_early`], recorded last.
///
/// After an accepted end it waits for this very process to be ended with the machine; see
/// [`Position::is_going`].
pub async fn climb<C: Cloud, H: Host>(
    retirement: &Retirement<'_, C>,
    found: Option<Position>,
    host: &mut H,
) -> LadderOutcome {
    let mut climber = Climber::new(retirement, found, host);
    if climber.position.rung() == Rung::Nothing {
        if matches!(retirement.plan.mode, Mode::Detach | Mode::Terminate) {
            warn!(mode = %retirement.plan.mode, "retire.not_on_ec2: there is no instance to end");
        }
        climber.write_record();
        return LadderOutcome::Exit;
    }
    if !retirement.plan.dry_run {
        climber
            .host
            .rearm_dead_man(longest_climb(retirement.plan))
            .await;
    }
    climber.run_hooks().await;
    climber.climb().await
}

/// Leaves the group now, while jobs still run, so that the group can grow at once. Where that is
/// not possible nothing else is done. The climb goes on from the position that this records.
pub async fn detach_early<C: Cloud, H: Host>(
    retirement: &Retirement<'_, C>,
    found: Option<Position>,
    host: &mut H,
) {
    let mut climber = Climber::new(retirement, found, host);
    while climber.position.rung() == Rung::Detach {
        let step = climber.position.next(climber.leave);
        let Step::Call(call) = step else {
            return;
        };
        let answer = climber.call(call).await;
        if answer == Answer::Failed(Verdict::AtMinimum) {
            // Whether it stays, and for how long, is for the climb.
            climber.record();
            return;
        }
        climber.advance(step, answer);
    }
}

struct Climber<'a, C, H> {
    retirement: &'a Retirement<'a, C>,
    host: &'a mut H,
    leave: Leave,
    position: Position,
    /// Of the rung it stands on.
    backoff: Backoff,
    rung_began: Instant,
    /// The rung for which the final record was written.
    recorded: Option<Rung>,
}

impl<'a, C: Cloud, H: Host> Climber<'a, C, H> {
    fn new(retirement: &'a Retirement<'a, C>, found: Option<Position>, host: &'a mut H) -> Self {
        let Retirement {
            plan, placement, ..
        } = *retirement;
        let leave = policy::leave(retirement.reason);
        let found = found.filter(|found| !plan.dry_run && found.is_of(placement));
        if let Some(found) = &found {
            info!(rung = found.rung().as_str(), "retire.resumed");
        }
        let api = retirement.cloud.is_some();
        let position = found.unwrap_or_else(|| Position::start(plan.mode, placement, leave, api));
        Climber {
            retirement,
            host,
            leave,
            position,
            backoff: Backoff::new(plan.timing.backoff, plan.timing.backoff_cap),
            rung_began: Instant::now(),
            recorded: None,
        }
    }

    async fn run_hooks(&mut self) {
        let plan = self.retirement.plan;
        for command in plan.before_retire.iter().skip(self.position.hooks_run) {
            if plan.dry_run {
                info!(dry_run = true, ?command, "retire.hook");
                continue;
            }
            let exit = self.host.run(command.clone(), plan.hook_timeout).await;
            let status = exit.map_or_else(|| "not started".to_owned(), |exit| exit.to_string());
            if exit == Some(Exit::Code(0)) {
                info!(?command, "retire.hook");
            } else {
                warn!(?command, status, "retire.hook_failed");
            }
            self.position.hooks_run += 1;
            self.record();
        }
    }

    async fn climb(&mut self) -> LadderOutcome {
        let plan = self.retirement.plan;
        loop {
            let step = self.position.next(self.leave);
            let answer = match step {
                Step::Call(call) => self.call(call).await,
                Step::Hold => self.hold().await,
                Step::AwaitEnd if plan.dry_run => return LadderOutcome::Exit,
                Step::AwaitEnd => {
                    let (rung, patience) =
                        (self.position.rung().as_str(), plan.timing.end_patience);
                    info!(rung, seconds = patience.as_secs(), "retire.rung");
                    tokio::time::sleep(patience).await;
                    warn!(rung, "retire.still_here");
                    Answer::Done
                }
                Step::PowerOff => return self.power_off().await,
                Step::Stay => {
                    self.host.forget();
                    return LadderOutcome::ReturnToService;
                }
                Step::Over => return LadderOutcome::Exit,
            };
            self.advance(step, answer);
        }
    }

    fn advance(&mut self, step: Step, answer: Answer) {
        let rung = self.position.rung();
        self.position.answered(step, answer, self.leave);
        if self.position.rung() != rung || step == Step::Hold {
            let timing = self.retirement.plan.timing;
            self.backoff = Backoff::new(timing.backoff, timing.backoff_cap);
            self.rung_began = Instant::now();
        }
        self.record();
    }

    fn record(&mut self) {
        if !self.retirement.plan.dry_run {
            self.host.record(&self.position);
        }
    }

    /// Sends one call. A failure that is worth another try is waited for here.
    async fn call(&mut self, call: Call) -> Answer {
        let rung = self.position.rung();
        let timing = self.retirement.plan.timing;
        if call == Call::Look && rung == Rung::TerminateInGroup {
            tokio::time::sleep(timing.look_delay).await;
        }
        let ends = matches!(call, Call::TerminateInGroup { .. } | Call::Terminate);
        if ends {
            self.write_record();
        }
        let (name, decrement) = (call.name(), call.decrements());
        let dry_run = self.retirement.plan.dry_run;
        info!(
            rung = rung.as_str(),
            call = name,
            decrement,
            dry_run,
            "retire.rung"
        );
        if dry_run {
            return Answer::Done;
        }
        let verdict = match self.send(call).await {
            Ok(answer) => return answer,
            Err(verdict) => verdict,
        };
        if verdict.is_final() {
            return Answer::Failed(verdict);
        }
        let wait = self.backoff.next();
        if self.rung_began.elapsed() + wait > timing.rung_budget {
            return Answer::TooLate(verdict);
        }
        tokio::time::sleep(wait).await;
        Answer::Failed(verdict)
    }

    async fn send(&mut self, call: Call) -> Result<Answer, Verdict> {
        let retirement = self.retirement;
        let (Some(identity), Some(cloud)) = (retirement.placement.identity(), retirement.cloud)
        else {
            // It knew its instance once, and does not now.
            return Err(Verdict::Refused);
        };
        if matches!(call, Call::Detach { .. }) {
            match identity.membership {
                Membership::In(_) => {}
                Membership::None => return Err(Verdict::AlreadyLeaving),
                Membership::Unknown => return Err(Verdict::Refused),
            }
        }
        if call.decrements() {
            let sending = self.position.sending(call);
            self.host.record(&sending);
        }
        let answer = cloud.send(identity, call).await;
        let error = answer.as_ref().err();
        self.position.count(call, error.map(|error| error.code()));
        match answer {
            Ok(Reply::Done | Reply::Nothing | Reply::Hooks(_) | Reply::State(_)) => {
                Ok(Answer::Done)
            }
            Ok(Reply::Seen(seen)) => Ok(Answer::Seen(seen)),
            Err(error) => {
                let verdict = classify(&error);
                let call = call.name();
                warn!(call, %error, ?verdict, "retire.rung failed");
                Err(verdict)
            }
        }
    }

    /// A broken machine in a group that may not get smaller waits until it may be replaced.
    async fn hold(&mut self) -> Answer {
        let plan = self.retirement.plan;
        let wait = plan.timing.replace_age.saturating_sub(uptime());
        if !wait.is_zero() && !plan.dry_run {
            let seconds = wait.as_secs();
            warn!(
                seconds,
                "retire.hold: at the group's minimum, a broken machine is replaced once an hour"
            );
            self.host
                .rearm_dead_man(longest_climb(plan).saturating_add(wait))
                .await;
            tokio::time::sleep(wait).await;
        }
        Answer::Done
    }

    async fn power_off(&mut self) -> LadderOutcome {
        self.write_record();
        let plan = self.retirement.plan;
        let dry_run = plan.dry_run;
        info!(rung = Rung::PowerOff.as_str(), dry_run, "retire.rung");
        if dry_run {
            return LadderOutcome::Exit;
        }
        if power_off(self.host, plan.poweroff_command.as_deref()).await {
            LadderOutcome::PoweredOff
        } else {
            LadderOutcome::Stuck
        }
    }

    /// Before the first call that may end this process.
    fn write_record(&mut self) {
        let rung = self.position.rung();
        if self.recorded == Some(rung) || self.retirement.plan.dry_run {
            return;
        }
        self.recorded = Some(rung);
        let Retirement {
            plan,
            placement,
            reason,
            work,
            ..
        } = *self.retirement;
        record::write(reason, plan.mode, placement, &self.position, work);
    }
}
