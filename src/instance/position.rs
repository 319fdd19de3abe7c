//! Where on the ladder a machine stands: a pure state machine that can be stored.
//!
//! [`Position::next`] says what to do, [`Position::answered`] takes what came of it. Its promises
//! are property tests in `position_tests.rs`:
//! - a call that decrements is never sent while an earlier one may have been carried out, unless
//!   AWS itself would refuse the second;
//! - whatever AWS answers, the ladder ends, with the machine's end unless the group wants it;
//! - a machine that goes back into its warm pool is not ended.
//!
//! To go on after a crash, [`Position::sending`] must be stored before such a call is sent.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::api::{ActionResult, Call, Seen};
use super::identity::{InstanceId, Membership, Placement};
use super::mode::Mode;
use super::notices::Transition;
use super::policy::{AtMinimum, Leave};
use super::rung::{Answer, Rung, Step};
use super::verdict::Verdict;

/// Whether a call may have been carried out, or have become needless, without our knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Doubt {
    None,
    /// Look before anything else.
    Look,
    /// Refused for not being in service: too early, or leaving. Looking tells.
    TooEarly,
    /// Looking is not allowed. Only what AWS itself refuses where it is needless may follow:
    /// DetachInstances, CompleteLifecycleAction.
    Blind,
}

/// What happened at the group's minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Minimum {
    NotMet,
    /// Waiting until the machine is old enough to be replaced.
    Holding,
    /// It waited; the group may have grown meanwhile.
    Held,
    /// It leaves without a decrement.
    Replace,
}

/// How far retirement has come. Belongs to one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    instance: Option<InstanceId>,
    rung: Rung,
    doubt: Doubt,
    minimum: Minimum,
    /// `before_retire` hooks that have been run.
    pub(super) hooks_run: usize,
    /// For the final record: what was called, and since when.
    pub(super) calls: Vec<CallCount>,
    pub(super) since: SystemTime,
}

/// How often a call was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCount {
    pub name: String,
    pub count: u32,
    pub errors: u32,
    /// The code of the last error.
    pub last_error: Option<String>,
}

/// What a ladder stands on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub mode: Mode,
    pub placement: &'a Placement,
    /// There is something to call AWS with.
    pub api: bool,
    /// A launch hook of ours still keeps the instance from going into service.
    pub launch_pending: bool,
}

impl Position {
    /// The bottom of the ladder for this machine.
    pub(super) fn start(ground: Ground<'_>, leave: Leave) -> Position {
        let identity = ground.placement.identity();
        Position {
            instance: identity.map(|identity| identity.instance_id.clone()),
            rung: first_rung(ground, leave),
            doubt: Doubt::None,
            minimum: Minimum::NotMet,
            hooks_run: 0,
            calls: Vec::new(),
            since: SystemTime::now(),
        }
    }

    /// Whether it is this machine's, and not that of the machine whose disk was copied.
    pub(super) fn is_of(&self, placement: &Placement) -> bool {
        match (placement, &self.instance) {
            // Who knew its instance once is still on it while the metadata service is away.
            (Placement::Unknown, _) => true,
            (Placement::Ec2(identity), Some(id)) => *id == identity.instance_id,
            (Placement::Ec2(_), None) | (Placement::NotOnEc2, _) => false,
        }
    }

    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// AWS has agreed to end the instance: nothing is left to do but wait. A signal that comes
    /// now is the machine's shutdown.
    pub fn is_going(&self) -> bool {
        matches!(self.rung, Rung::AwaitGroup | Rung::AwaitEnd)
    }

    pub(super) fn next(&self, leave: Leave) -> Step {
        let decrement = match leave {
            Leave::Shrink(_) => self.minimum != Minimum::Replace,
            Leave::Replace | Leave::Chosen | Leave::Pool => false,
        };
        match self.rung {
            // However far an earlier retirement of another kind had come.
            rung if leave == Leave::Pool && !matches!(rung, Rung::Complete | Rung::Nothing) => {
                Step::Pool
            }
            Rung::Detach | Rung::TerminateInGroup | Rung::Complete
                if matches!(self.doubt, Doubt::Look | Doubt::TooEarly) =>
            {
                Step::Call(Call::Look)
            }
            Rung::Abandon => Step::Call(ABANDON),
            Rung::Complete => Step::Call(CONTINUE),
            Rung::Detach | Rung::TerminateInGroup if self.minimum == Minimum::Holding => Step::Hold,
            Rung::Detach => Step::Call(Call::Detach { decrement }),
            Rung::TerminateInGroup => Step::Call(Call::TerminateInGroup { decrement }),
            Rung::Terminate => Step::Call(Call::Terminate),
            Rung::AwaitGroup | Rung::AwaitEnd => Step::AwaitEnd,
            Rung::PowerOff => Step::PowerOff,
            Rung::Stay => Step::Stay,
            Rung::Pool => Step::Pool,
            Rung::Nothing => Step::Over,
        }
    }

    /// What must be on disk while this call is under way.
    pub(super) fn sending(&self, call: Call) -> Position {
        let mut position = self.clone();
        if call.decrements() {
            position.doubt = Doubt::Look;
        }
        position
    }

    /// Moves on. `step` is what [`Self::next`] said.
    pub(super) fn answered(&mut self, step: Step, answer: Answer, leave: Leave) {
        match step {
            Step::Call(Call::Look) if self.doubt == Doubt::TooEarly => {
                self.looked_for_service(answer, leave);
            }
            Step::Call(Call::Look) => self.looked(answer, leave),
            Step::Call(call @ (Call::Detach { .. } | Call::TerminateInGroup { .. })) => {
                self.group_answered(call, answer, leave);
            }
            Step::Call(Call::Terminate) => self.terminate_answered(answer),
            Step::Call(Call::Complete(Transition::Launching, _)) => self.abandon_answered(answer),
            Step::Call(Call::Complete(Transition::Terminating, _)) => {
                self.complete_answered(answer, leave);
            }
            // The ladder has no use for them.
            Step::Call(Call::Hooks | Call::State | Call::Heartbeat(_) | Call::Protect(_)) => {}
            Step::Hold => self.minimum = Minimum::Held,
            Step::AwaitEnd => {
                self.rung = match self.rung {
                    // A termination hook may hold it there, for up to two days.
                    Rung::AwaitGroup => Rung::Terminate,
                    _ => Rung::PowerOff,
                }
            }
            // Never done: who finds the machine alive afterwards powers it off again.
            Step::PowerOff | Step::Stay | Step::Pool | Step::Over => {}
        }
    }

    fn group_answered(&mut self, call: Call, answer: Answer, leave: Leave) {
        match answer {
            Answer::Done | Answer::Nothing | Answer::Seen(_) => self.step_to(self.accepted()),
            Answer::Failed(verdict) => match verdict {
                Verdict::NotInService if call == (Call::Detach { decrement: true }) => {
                    self.doubt = Doubt::TooEarly;
                }
                Verdict::AlreadyLeaving | Verdict::NotInService => self.leaves_already(leave),
                Verdict::AtMinimum if call.decrements() => self.at_minimum(leave),
                Verdict::Ambiguous if call.decrements() => self.doubt = Doubt::Look,
                Verdict::Ambiguous | Verdict::Retry => {}
                Verdict::AtMinimum | Verdict::Denied | Verdict::Refused | Verdict::NoAction => {
                    self.give_up()
                }
            },
            Answer::TooLate(verdict) => {
                if verdict == Verdict::Ambiguous && call.decrements() {
                    self.doubt = Doubt::Look;
                }
                self.give_up();
            }
        }
    }

    /// Where the instance is once the group has let it go.
    fn accepted(&self) -> Rung {
        match self.rung {
            Rung::Detach => Rung::Terminate,
            // A termination hook of ours would hold it.
            _ => Rung::Complete,
        }
    }

    fn leaves_already(&mut self, leave: Leave) {
        self.step_to(match leave {
            // On its way out because of a scale-in, it may wait for its completion.
            Leave::Chosen => Rung::Complete,
            _ => Rung::Terminate,
        });
    }

    /// The next rung. A doubt leaves only the one that cannot decrement.
    fn give_up(&mut self) {
        let next = match (self.rung, self.doubt) {
            (Rung::Detach, Doubt::None) => Rung::TerminateInGroup,
            _ => Rung::Terminate,
        };
        self.step_to(next);
    }

    fn step_to(&mut self, rung: Rung) {
        self.rung = rung;
        self.doubt = Doubt::None;
    }

    fn at_minimum(&mut self, leave: Leave) {
        // The answer is about a machine that is in the group: nothing was carried out before.
        self.doubt = Doubt::None;
        match (leave, self.minimum) {
            (Leave::Shrink(AtMinimum::Stay), _) => self.rung = Rung::Stay,
            (Leave::Shrink(AtMinimum::ReplaceSlowly), Minimum::NotMet) => {
                self.minimum = Minimum::Holding;
            }
            _ => self.minimum = Minimum::Replace,
        }
    }

    fn looked_for_service(&mut self, answer: Answer, leave: Leave) {
        match answer {
            // Unlike DetachInstances the next rung takes an instance that is not in service yet.
            // A state shown late may be that of before a Detach, but not that of before service.
            Answer::Seen(Seen::Pending) => self.step_to(Rung::TerminateInGroup),
            Answer::Failed(Verdict::Retry | Verdict::Ambiguous) => {}
            _ => self.leaves_already(leave),
        }
    }

    fn looked(&mut self, answer: Answer, leave: Leave) {
        let rung = self.rung;
        match answer {
            Answer::Seen(Seen::Retained) => self.step_to(Rung::Terminate),
            Answer::Seen(Seen::Leaving | Seen::Pooled) if rung == Rung::Complete => {
                self.completed(leave);
            }
            // On the rung Complete: too early, or another hook holds it, so it is tried again.
            Answer::Seen(Seen::Ending | Seen::Leaving) => self.step_to(self.accepted()),
            Answer::Seen(Seen::Pending | Seen::StillIn | Seen::Pooled)
            | Answer::Done
            | Answer::Nothing => self.doubt = Doubt::None,
            Answer::Failed(Verdict::Retry | Verdict::Ambiguous) => {}
            Answer::Failed(_) if matches!(rung, Rung::Detach | Rung::Complete) => {
                self.doubt = Doubt::Blind;
            }
            Answer::TooLate(_) if rung == Rung::Complete => self.not_completed(leave),
            Answer::Failed(_) | Answer::TooLate(_) => self.step_to(Rung::Terminate),
        }
    }

    /// Of the launch: the group ends what fails to boot, and launches another.
    fn abandon_answered(&mut self, answer: Answer) {
        match answer {
            Answer::Done | Answer::Seen(_) => self.step_to(Rung::Complete),
            // Abandoned twice it is abandoned once.
            Answer::Failed(Verdict::Retry | Verdict::Ambiguous) => {}
            // DetachInstances is refused to an instance that is not in service yet.
            Answer::Nothing | Answer::Failed(_) | Answer::TooLate(_) => {
                self.step_to(Rung::TerminateInGroup);
            }
        }
    }

    /// Of the termination.
    fn complete_answered(&mut self, answer: Answer, leave: Leave) {
        match answer {
            Answer::Done | Answer::Seen(_) => self.completed(leave),
            // Too early, or over: looking tells, where that is allowed.
            Answer::Failed(Verdict::NoAction) if self.doubt == Doubt::None => {
                self.doubt = Doubt::Look;
            }
            Answer::Failed(Verdict::NoAction | Verdict::Retry | Verdict::Ambiguous) => {}
            // No hook at all: the group gives the machine no time, and takes it no time to end.
            Answer::Nothing | Answer::Failed(_) | Answer::TooLate(_) => self.not_completed(leave),
        }
    }

    /// The group goes on with its own plans for the instance.
    fn completed(&mut self, leave: Leave) {
        self.step_to(match leave {
            Leave::Pool => Rung::Pool,
            _ => Rung::AwaitGroup,
        });
    }

    /// The hook's own timeout is up to two days, and what waits for it is paid for.
    fn not_completed(&mut self, leave: Leave) {
        self.step_to(match leave {
            Leave::Pool => Rung::Pool,
            Leave::Chosen => Rung::Terminate,
            // This program asked for the end, and others may be called for it.
            Leave::Shrink(_) | Leave::Replace => Rung::AwaitGroup,
        });
    }

    fn terminate_answered(&mut self, answer: Answer) {
        self.rung = match answer {
            Answer::Done
            | Answer::Nothing
            | Answer::Seen(_)
            | Answer::Failed(Verdict::AlreadyLeaving) => Rung::AwaitEnd,
            // Terminating twice does no harm.
            Answer::Failed(Verdict::Retry | Verdict::Ambiguous) => Rung::Terminate,
            Answer::Failed(_) | Answer::TooLate(_) => Rung::PowerOff,
        };
    }

    /// Counts a call for the final record.
    pub(super) fn count(&mut self, call: Call, error: Option<&str>) {
        let name = call.name();
        let at = self.calls.iter().position(|count| count.name == name);
        let at = at.unwrap_or_else(|| {
            self.calls.push(CallCount {
                name: name.to_owned(),
                count: 0,
                errors: 0,
                last_error: None,
            });
            self.calls.len() - 1
        });
        let count = &mut self.calls[at];
        count.count += 1;
        if let Some(code) = error {
            count.errors += 1;
            count.last_error = Some(code.to_owned());
        }
    }
}

const ABANDON: Call = Call::Complete(Transition::Launching, ActionResult::Abandon);
/// Never `ABANDON`: see [`ActionResult`].
const CONTINUE: Call = Call::Complete(Transition::Terminating, ActionResult::Continue);

fn first_rung(ground: Ground<'_>, leave: Leave) -> Rung {
    let mode = ground.mode;
    let identity = match (mode, ground.placement) {
        (Mode::Exit, _) => return Rung::Nothing,
        // Asked for in so many words, it powers off any machine.
        (Mode::PowerOff, _) => return Rung::PowerOff,
        (_, Placement::NotOnEc2) => return Rung::Nothing,
        (_, Placement::Unknown) => return Rung::PowerOff,
        (_, Placement::Ec2(_)) if !ground.api => return Rung::PowerOff,
        (_, Placement::Ec2(identity)) => identity,
    };
    match (&identity.membership, leave) {
        (Membership::None, _) => Rung::Terminate,
        (_, Leave::Chosen | Leave::Pool) => Rung::Complete,
        (_, _) if ground.launch_pending && leave.is_failed_boot() => Rung::Abandon,
        (Membership::In(_), _) if mode != Mode::Terminate && !ground.launch_pending => Rung::Detach,
        // It needs no group name, "No managed instance found" is an answer too, and unlike
        // DetachInstances it takes an instance that is not in service yet.
        (Membership::In(_) | Membership::Unknown, _) => Rung::TerminateInGroup,
    }
}
