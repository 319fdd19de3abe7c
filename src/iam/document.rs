//! The policy itself, in IAM's language. Pure.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Value, json};

#[cfg(test)]
use super::action::Action;
use super::action::Scope;
use super::needs::Need;
use super::place::Place;

/// An IAM policy document, as `aws iam put-role-policy` takes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    version: &'static str,
    statement: Vec<Statement>,
}

impl Document {
    /// `None`: without statements, which IAM has no document for.
    pub(super) fn new(statement: Vec<Statement>) -> Option<Document> {
        (!statement.is_empty()).then_some(Document {
            version: "2012-10-17",
            statement,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Statement {
    pub(super) sid: String,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: Resource,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Resource {
    One(String),
    #[cfg_attr(not(feature = "poll"), allow(dead_code))]
    Any(Vec<String>),
}

impl Statement {
    pub(super) fn allow(
        sid: &str,
        action: Vec<&'static str>,
        resource: Resource,
        condition: Option<Value>,
    ) -> Statement {
        Statement {
            sid: sid.to_owned(),
            effect: "Allow",
            action,
            resource,
            condition,
        }
    }
}

/// How the policy says "this very instance". Neither form is proven but by a dry run on the
/// instance: IAM's simulator does not resolve these variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SelfTerminate {
    /// `ec2:SourceInstanceARN` against an ARN made of `ec2:InstanceID`: both keys are documented.
    #[default]
    Documented,
    /// `aws:ARN` against `ec2:SourceInstanceARN`, widely copied. `aws:ARN` is in no document of
    /// AWS', and consoles mark it as an error.
    AwsArn,
}

impl SelfTerminate {
    const ALL: [SelfTerminate; 2] = [SelfTerminate::Documented, SelfTerminate::AwsArn];

    pub fn as_str(self) -> &'static str {
        match self {
            SelfTerminate::Documented => "documented",
            SelfTerminate::AwsArn => "aws-arn",
        }
    }

    fn condition(self, place: &Place) -> Value {
        match self {
            // A policy variable cannot stand for a whole ARN in `Resource`, and only the instance
            // itself is its own source.
            SelfTerminate::Documented => {
                let arn = format!(
                    "arn:{}:ec2:*:*:instance/${{ec2:InstanceID}}",
                    place.partition()
                );
                json!({"ArnEquals": {"ec2:SourceInstanceARN": arn}})
            }
            SelfTerminate::AwsArn => {
                json!({"StringEquals": {"aws:ARN": "${ec2:SourceInstanceARN}"}})
            }
        }
    }
}

impl fmt::Display for SelfTerminate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SelfTerminate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = SelfTerminate::ALL.into_iter();
        let known = all.find(|form| form.as_str() == text);
        known.ok_or_else(|| "use documented or aws-arn".to_owned())
    }
}

/// A policy that allows these and nothing else; `None` when nothing is needed.
pub fn document(needs: &[Need], place: &Place, form: SelfTerminate) -> Option<Document> {
    let statement = |scope: Scope| {
        let own = needs.iter().filter(|need| need.action.scope() == scope);
        let action: Vec<_> = own.map(|need| need.action.name()).collect();
        let (sid, resource, condition) = match scope {
            Scope::Itself => (
                "ClockoutItself",
                place.instances(),
                Some(form.condition(place)),
            ),
            Scope::Group => ("ClockoutGroup", place.own_group(), None),
            Scope::Everything => ("ClockoutRead", "*".to_owned(), None),
        };
        let any = !action.is_empty();
        any.then(|| Statement::allow(sid, action, Resource::One(resource), condition))
    };
    let scopes = [Scope::Itself, Scope::Group, Scope::Everything];
    Document::new(scopes.into_iter().filter_map(statement).collect())
}

impl Document {
    /// It allows this somewhere.
    #[cfg(test)]
    pub fn allows(&self, action: Action) -> bool {
        let mut all = self.statement.iter().flat_map(|one| &one.action);
        all.any(|name| *name == action.name())
    }
}
