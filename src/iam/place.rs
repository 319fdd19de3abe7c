//! Where a policy is to hold: what narrows its resources.

use std::str::FromStr;

use super::action::Scope;
use super::needs::Need;

/// What is known of it; what is not becomes a placeholder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    pub region: Option<String>,
    /// Twelve digits.
    pub account: Option<String>,
    pub group: Option<String>,
}

impl Place {
    /// What stands in the policy for what is not known, and the option that tells it.
    pub fn placeholders(&self, needs: &[Need]) -> Vec<(&'static str, &'static str)> {
        let stands = |scope| needs.iter().any(|need| need.action.scope() == scope);
        let arns = stands(Scope::Itself) || stands(Scope::Group);
        let all = [
            ("REGION", "--region", arns && self.region.is_none()),
            ("ACCOUNT", "--account", arns && self.account.is_none()),
            (
                "GROUP",
                "--group",
                stands(Scope::Group) && self.group.is_none(),
            ),
        ];
        let missing = all.into_iter().filter(|(_, _, stands)| *stands);
        missing.map(|(name, option, _)| (name, option)).collect()
    }

    pub(super) fn instances(&self) -> String {
        format!("{}:instance/*", self.arn("ec2"))
    }

    /// A group's ARN has a part that nobody can know before the group exists.
    pub(super) fn own_group(&self) -> String {
        let group = self.group.as_deref().unwrap_or("GROUP");
        format!(
            "{}:autoScalingGroup:*:autoScalingGroupName/{group}",
            self.arn("autoscaling")
        )
    }

    pub(super) fn arn(&self, service: &str) -> String {
        let region = self.region.as_deref().unwrap_or("REGION");
        let account = self.account.as_deref().unwrap_or("ACCOUNT");
        format!("arn:{}:{service}:{region}:{account}", self.partition())
    }

    /// "Amazon Resource Names (ARNs)" in the IAM user guide; by prefix, as regions are added.
    pub(super) fn partition(&self) -> &'static str {
        const OTHERS: [(&str, &str); 7] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-isob-", "aws-iso-b"),
            ("us-isof-", "aws-iso-f"),
            ("eu-isoe-", "aws-iso-e"),
            ("us-iso-", "aws-iso"),
            ("eusc-", "aws-eusc"),
        ];
        let region = self.region.as_deref().unwrap_or_default();
        let other = OTHERS.iter().find(|(prefix, _)| region.starts_with(prefix));
        other.map_or("aws", |(_, partition)| partition)
    }
}

/// Twelve digits, so that a typing error is found before AWS finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account(pub String);

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match digits && text.len() == 12 {
            true => Ok(Account(text.to_owned())),
            false => Err("an account has twelve digits".to_owned()),
        }
    }
}
