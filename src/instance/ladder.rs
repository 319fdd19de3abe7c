//! The retirement ladder: carries out what [`Position`] decides.
//!
//! [`climb`] may be dropped at any await and called again, by this process or the next, with the
//! position that was recorded last: it goes on from there and never decrements a group twice.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::api::{Call, Cloud, Reply};
use super::backoff::Backoff;
use super::deadman::uptime;
use super::identity::Membership;
use super::mode::Mode;
use super::policy::Leave;
use super::position::{Ground, Position};
use super::poweroff::power_off;
use super::record;
use super::retirement::{Host, LadderOutcome, Retirement, longest_climb};
use super::rung::{Answer, Rung, Step};
use super::verdict::{Verdict, classify};
use crate::aws::ApiError;
use crate::lifecycle::Exit;

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
    if retirement.told.pooled {
        // It is not ended: nothing is done that is done once in a life.
        return climber.climb().await;
    }
    let longest = longest_climb(retirement.plan);
    if !retirement.plan.dry_run {
        climber.host.rearm_dead_man(longest).await;
    }
    if retirement.left().is_shorter_than(longest) {
        // What matters goes before what may take all the time.
        climber.detach().await;
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
    Climber::new(retirement, found, host).detach().await;
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
        let leave = retirement.leave();
        let found = found.filter(|found| !plan.dry_run && found.is_of(placement));
        // Who went into the pool and came back retires anew.
        let found = found.filter(|found| found.rung() != Rung::Pool || leave == Leave::Pool);
        if let Some(found) = &found {
            info!(rung = found.rung().as_str(), "retire.resumed");
        }
        let ground = Ground {
            mode: plan.mode,
            placement,
            api: retirement.cloud.is_some(),
            launch_pending: retirement.told.launch_pending,
        };
        let position = found.unwrap_or_else(|| Position::start(ground, leave));
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

    /// The rung that need not be the last thing done: the machine works on without its group.
    async fn detach(&mut self) {
        while self.position.rung() == Rung::Detach {
            let step = self.position.next(self.leave);
            let Step::Call(call) = step else {
                return;
            };
            let answer = self.call(call).await;
            if answer == Answer::Failed(Verdict::AtMinimum) {
                // Whether it stays, and for how long, is for the climb.
                self.record();
                return;
            }
            self.advance(step, answer);
        }
    }

    async fn run_hooks(&mut self) {
        let plan = self.retirement.plan;
        for command in plan.before_retire.iter().skip(self.position.hooks_run) {
            if plan.dry_run {
                info!(dry_run = true, ?command, "retire.hook");
                continue;
            }
            let left = self.retirement.left();
            let Some(timeout) = left.for_hook(plan.hook_timeout) else {
                let seconds_left = left.seconds();
                warn!(
                    ?command,
                    seconds_left, "retire.hook_skipped: no time is left"
                );
                continue;
            };
            let exit = self.host.run(command.clone(), timeout).await;
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
                Step::Pool | Step::Over if plan.dry_run => return LadderOutcome::Exit,
                Step::Pool => {
                    info!("retire.pooled: the machine goes back into its warm pool");
                    self.host.forget();
                    return LadderOutcome::Pooled;
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
        let ends = matches!(
            call,
            Call::TerminateInGroup { .. } | Call::Complete(..) | Call::Terminate
        );
        if ends && self.leave != Leave::Pool {
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
        let budget = self.retirement.left().share(timing.rung_budget);
        if self.rung_began.elapsed() + wait > budget {
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
        let patience = retirement.left().share(Duration::MAX);
        let answer = tokio::time::timeout(patience, cloud.send(identity, call)).await;
        let answer = answer.unwrap_or_else(|_| {
            let why = "the machine is taken away too soon to wait longer";
            Err(ApiError::Unanswered(why.to_owned()))
        });
        // What was not sent is not counted.
        match answer {
            Ok(Reply::Nothing) => {
                info!(call = call.name(), "retire.no_hook: the group has none");
                return Ok(Answer::Nothing);
            }
            Ok(Reply::NotOurs) => {
                info!(
                    call = call.name(),
                    "retire.not_our_hook: others complete it"
                );
                return Ok(Answer::Done);
            }
            _ => {}
        }
        let error = answer.as_ref().err();
        self.position.count(call, error.map(|error| error.code()));
        match answer {
            Ok(Reply::Seen(seen)) => Ok(Answer::Seen(seen)),
            Ok(_) => Ok(Answer::Done),
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
        record::write(self.retirement, &self.position);
    }
}
