//! Where on the ladder a machine stands: a pure state machine that can be stored.
//!
//! [`Position::next`] says what to do, [`Position::answered`] takes what came of it. Two promises,
//! both property tests in `position_tests.rs`:
//! - a call that decrements is never sent while an earlier one may have been carried out, unless
//!   AWS itself would refuse the second;
//! - whatever AWS answers, the ladder ends, with the machine's end unless the group wants it.
//!
//! To go on after a crash, [`Position::sending`] must be stored before such a call is sent.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::api::{Call, Seen, Verdict};
use super::identity::{InstanceId, Membership, Placement};
use super::mode::Mode;
use super::policy::{AtMinimum, Leave};

/// A rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    Detach,
    TerminateInGroup,
    /// The group ends the instance; it should be gone soon.
    AwaitGroup,
    Terminate,
    /// EC2 ends the instance; it should be gone soon.
    AwaitEnd,
    PowerOff,
    /// The group is at its minimum and the machine is to stay in it.
    Stay,
    /// There is no machine to end here.
    Nothing,
}

impl Rung {
    pub fn as_str(self) -> &'static str {
        match self {
            Rung::Detach => "detach",
            Rung::TerminateInGroup => "terminate-in-group",
            Rung::AwaitGroup => "await-group",
            Rung::Terminate => "terminate",
            Rung::AwaitEnd => "await-end",
            Rung::PowerOff => "power-off",
            Rung::Stay => "stay",
            Rung::Nothing => "nothing",
        }
    }
}

/// Whether a decrementing call may have been carried out without our knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Doubt {
    None,
    /// Look before anything else.
    Look,
    /// Looking is not allowed. Only DetachInstances may follow: AWS refuses it for an instance
    /// that has left.
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

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Call(Call),
    /// Wait until the machine is old enough to be replaced.
    Hold,
    /// Wait for the machine to go.
    AwaitEnd,
    /// The end of the ladder.
    PowerOff,
    /// The end of this retirement.
    Stay,
    /// There is nothing to end.
    Over,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Accepted, or waited for.
    Done,
    Seen(Seen),
    Failed(Verdict),
    /// It failed with this verdict, and the rung's time is used up.
    TooLate(Verdict),
}

impl Position {
    /// The bottom of the ladder for this machine.
    pub(super) fn start(mode: Mode, placement: &Placement, leave: Leave, api: bool) -> Position {
        Position {
            instance: placement
                .identity()
                .map(|identity| identity.instance_id.clone()),
            rung: first_rung(mode, placement, leave, api),
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
            Leave::Replace | Leave::Chosen => false,
        };
        match self.rung {
            Rung::Detach | Rung::TerminateInGroup if self.doubt == Doubt::Look => {
                Step::Call(Call::Look)
            }
            Rung::Detach | Rung::TerminateInGroup if self.minimum == Minimum::Holding => Step::Hold,
            Rung::Detach => Step::Call(Call::Detach { decrement }),
            Rung::TerminateInGroup => Step::Call(Call::TerminateInGroup { decrement }),
            Rung::Terminate => Step::Call(Call::Terminate),
            Rung::AwaitGroup | Rung::AwaitEnd => Step::AwaitEnd,
            Rung::PowerOff => Step::PowerOff,
            Rung::Stay => Step::Stay,
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
            Step::Call(Call::Look) => self.looked(answer),
            Step::Call(call @ (Call::Detach { .. } | Call::TerminateInGroup { .. })) => {
                self.group_answered(call, answer, leave);
            }
            Step::Call(Call::Terminate) => self.terminate_answered(answer),
            // The ladder has no use for them.
            Step::Call(
                Call::Hooks
                | Call::State
                | Call::Heartbeat(_)
                | Call::Complete(..)
                | Call::Protect(_),
            ) => {}
            Step::Hold => self.minimum = Minimum::Held,
            Step::AwaitEnd => {
                self.rung = match self.rung {
                    // A termination hook may hold it there, for up to two days.
                    Rung::AwaitGroup => Rung::Terminate,
                    _ => Rung::PowerOff,
                }
            }
            // Never done: who finds the machine alive afterwards powers it off again.
            Step::PowerOff | Step::Stay | Step::Over => {}
        }
    }

    fn group_answered(&mut self, call: Call, answer: Answer, leave: Leave) {
        let accepted = match self.rung {
            Rung::Detach => Rung::Terminate,
            _ => Rung::AwaitGroup,
        };
        match answer {
            Answer::Done | Answer::Seen(_) => self.step_to(accepted),
            Answer::Failed(verdict) => match verdict {
                Verdict::AlreadyLeaving => self.step_to(Rung::Terminate),
                Verdict::AtMinimum if call.decrements() => self.at_minimum(leave),
                Verdict::Ambiguous if call.decrements() => self.doubt = Doubt::Look,
                Verdict::Ambiguous | Verdict::Retry => {}
                _ => self.give_up(),
            },
            Answer::TooLate(verdict) => {
                if verdict == Verdict::Ambiguous && call.decrements() {
                    self.doubt = Doubt::Look;
                }
                self.give_up();
            }
        }
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

    fn looked(&mut self, answer: Answer) {
        let confirmed = match self.rung {
            Rung::Detach => Rung::Terminate,
            _ => Rung::AwaitGroup,
        };
        match answer {
            Answer::Seen(Seen::Ending | Seen::Leaving | Seen::Retained) => self.step_to(confirmed),
            Answer::Seen(Seen::StillIn | Seen::Pooled) | Answer::Done => self.doubt = Doubt::None,
            Answer::Failed(Verdict::Retry | Verdict::Ambiguous) => {}
            Answer::Failed(_) if self.rung == Rung::Detach => self.doubt = Doubt::Blind,
            Answer::Failed(_) | Answer::TooLate(_) => self.step_to(Rung::Terminate),
        }
    }

    fn terminate_answered(&mut self, answer: Answer) {
        self.rung = match answer {
            Answer::Done | Answer::Seen(_) | Answer::Failed(Verdict::AlreadyLeaving) => {
                Rung::AwaitEnd
            }
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

fn first_rung(mode: Mode, placement: &Placement, leave: Leave, api: bool) -> Rung {
    let identity = match (mode, placement) {
        (Mode::Exit, _) => return Rung::Nothing,
        // Asked for in so many words, it powers off any machine.
        (Mode::PowerOff, _) => return Rung::PowerOff,
        (_, Placement::NotOnEc2) => return Rung::Nothing,
        (_, Placement::Unknown) => return Rung::PowerOff,
        (_, Placement::Ec2(_)) if !api => return Rung::PowerOff,
        (_, Placement::Ec2(identity)) => identity,
    };
    match (&identity.membership, leave) {
        (_, Leave::Chosen) | (Membership::None, _) => Rung::Terminate,
        (Membership::In(_), _) if mode != Mode::Terminate => Rung::Detach,
        // It needs no group name, and "No managed instance found" is an answer too.
        (Membership::In(_) | Membership::Unknown, _) => Rung::TerminateInGroup,
    }
}
