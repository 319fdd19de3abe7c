//! The names of this machine.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(name: impl Into<String>) -> Self {
                $name(name.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// `i-0123456789abcdef0`
    InstanceId
);
name!(
    /// An Auto Scaling group's name.
    GroupName
);

/// Whether the instance belongs to an Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    In(GroupName),
    /// In none: the machine ends, and nobody replaces it.
    None,
    /// Nobody could tell. Calls that need no group name still find out.
    Unknown,
}

/// An EC2 instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub instance_id: InstanceId,
    pub region: String,
    pub availability_zone: Option<String>,
    pub membership: Membership,
}

impl Identity {
    pub fn group(&self) -> Option<&GroupName> {
        match &self.membership {
            Membership::In(group) => Some(group),
            Membership::None | Membership::Unknown => None,
        }
    }
}

/// Where this process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    NotOnEc2,
    Ec2(Identity),
    /// A machine of Amazon's whose metadata service did not answer.
    Unknown,
}

impl Placement {
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Placement::Ec2(identity) => Some(identity),
            Placement::NotOnEc2 | Placement::Unknown => None,
        }
    }
}
