//! Why a policy allows what it allows, for people and for programs. Pure.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::action::{Action, Scope};
use super::document::{Document, SelfTerminate, document};
use super::needs::Need;
use super::place::Place;

/// A policy with its reasons.
#[derive(Debug)]
pub struct Explained {
    /// `None`: nothing is needed.
    pub document: Option<Document>,
    pub reasons: Vec<Reason>,
    pub notes: Vec<&'static str>,
    /// What stands in the policy for what is not known, and the option that tells it.
    pub placeholders: Vec<(&'static str, &'static str)>,
}

/// Why a permission is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    pub action: &'static str,
    pub what_for: &'static str,
    pub without: &'static str,
}

impl Explained {
    /// The policy of a machine that runs agents.
    pub fn of_run(needs: &[Need], place: &Place, form: SelfTerminate) -> Explained {
        let document = document(needs, place, form);
        let reason = |need: &Need| Reason {
            action: need.action.name(),
            what_for: need.what_for,
            without: need.without,
        };
        Explained {
            reasons: needs.iter().map(reason).collect(),
            notes: notes(needs, form),
            placeholders: place.placeholders(needs),
            document,
        }
    }

    /// What a person reads beside the policy.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.document.is_none() {
            return writeln!(out, "{NOTHING}");
        }
        for reason in &self.reasons {
            writeln!(out, "{}: {}", reason.action, reason.what_for)?;
            writeln!(out, "    without it: {}", reason.without)?;
        }
        for note in &self.notes {
            writeln!(out, "{note}")?;
        }
        for (name, option) in &self.placeholders {
            writeln!(out, "Replace {name}, or say {option}.")?;
        }
        Ok(())
    }

    pub fn to_json(&self) -> Value {
        let needs = self.reasons.iter().map(|reason| {
            json!({
                "action": reason.action,
                "what_for": reason.what_for,
                "without": reason.without,
            })
        });
        let nothing = self.document.is_none().then_some(NOTHING);
        let notes = nothing.into_iter().chain(self.notes.iter().copied());
        let placeholders = self.placeholders.iter().map(|(name, _)| *name);
        json!({
            "policy": self.document,
            "needs": needs.collect::<Vec<_>>(),
            "notes": notes.collect::<Vec<_>>(),
            "placeholders": placeholders.collect::<Vec<_>>(),
        })
    }
}

fn notes(needs: &[Need], form: SelfTerminate) -> Vec<&'static str> {
    let stands = |scope| needs.iter().any(|need| need.action.scope() == scope);
    let mut notes = Vec::new();
    if stands(Scope::Itself) {
        notes.push(match form {
            SelfTerminate::Documented => DOCUMENTED,
            SelfTerminate::AwsArn => AWS_ARN,
        });
        notes.push(PROOF);
        notes.push(WARM);
    }
    let ends_others = [
        Action::DetachInstances,
        Action::TerminateInstanceInAutoScalingGroup,
    ];
    if needs.iter().any(|need| ends_others.contains(&need.action)) {
        notes.push(SIBLINGS);
    }
    notes
}

const NOTHING: &str = "No permission of AWS is needed: attach no policy.";
const DOCUMENTED: &str = "\"Itself\" is said with documented keys: the source of the call must be \
    the instance that is ended. The other form is --self-terminate aws-arn.";
const AWS_ARN: &str = "\"Itself\" is said with aws:ARN, which AWS does not document; some report \
    that it works, some that it never does. The other form is --self-terminate documented.";
const PROOF: &str = "Neither form can be proven elsewhere: IAM's simulator does not know these \
    variables. `clockout doctor run` on the instance does it, by a dry run.";
const WARM: &str = "ec2:DescribeInstanceStatus is called once before a machine ends, to have the \
    connection ready. It may be denied.";
const SIBLINGS: &str = "Auto Scaling knows no smaller resource than a group: a job that gets \
    these credentials can end its group's other machines. Keep the agent's user from the metadata \
    service, or use --retire poweroff, which needs no permission.";
