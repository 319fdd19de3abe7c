//! Why a policy allows what it allows, for people and for programs. Pure.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::action::{Action, Scope};
use super::document::{Document, SelfTerminate};
use super::needs::Need;
use super::place::Place;

/// A policy with its reasons.
#[derive(Debug)]
pub struct Explained {
    /// `None`: nothing is needed.
    pub document: Option<Document>,
    pub needs: Vec<Need>,
    pub place: Place,
    pub form: SelfTerminate,
}

impl Explained {
    /// What a person reads beside the policy.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.document.is_none() {
            return writeln!(out, "{NOTHING}");
        }
        for need in &self.needs {
            writeln!(out, "{}: {}", need.action.name(), need.what_for)?;
            writeln!(out, "    without it: {}", need.without)?;
        }
        for note in self.notes() {
            writeln!(out, "{note}")?;
        }
        for (name, option) in self.place.placeholders(&self.needs) {
            writeln!(out, "Replace {name}, or say {option}.")?;
        }
        Ok(())
    }

    pub fn to_json(&self) -> Value {
        let needs = self.needs.iter().map(|need| {
            json!({
                "action": need.action.name(),
                "what_for": need.what_for,
                "without": need.without,
            })
        });
        let placeholders = self.place.placeholders(&self.needs).into_iter();
        let placeholders: Vec<_> = placeholders.map(|(name, _)| name).collect();
        json!({
            "policy": self.document,
            "needs": needs.collect::<Vec<_>>(),
            "notes": self.notes(),
            "placeholders": placeholders,
        })
    }

    fn notes(&self) -> Vec<&'static str> {
        let stands = |scope| self.needs.iter().any(|need| need.action.scope() == scope);
        let mut notes = Vec::new();
        if self.document.is_none() {
            notes.push(NOTHING);
        }
        if stands(Scope::Itself) {
            notes.push(match self.form {
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
        if self
            .needs
            .iter()
            .any(|need| ends_others.contains(&need.action))
        {
            notes.push(SIBLINGS);
        }
        notes
    }
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
