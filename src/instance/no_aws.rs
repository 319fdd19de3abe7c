//! Stands in for `aws.rs` in builds without the feature `aws`: there are no clients, so a machine
//! of EC2 ends by powering off.

use super::api::{Call, Cloud, Reply};
use super::identity::{GroupName, Identity, InstanceId};
use super::notices::HookNames;
use crate::aws::ApiError;

/// Never exists.
#[derive(Debug)]
pub enum Clients {}

impl Clients {
    pub fn new(_region: &str, _names: HookNames) -> Option<Clients> {
        None
    }

    pub async fn warm(&self, _instance: &Identity) {
        match *self {}
    }

    pub async fn group_of(&self, _instance: &InstanceId) -> Result<Option<GroupName>, ApiError> {
        match *self {}
    }
}

impl Cloud for Clients {
    async fn send(&self, _instance: &Identity, _call: Call) -> Result<Reply, ApiError> {
        match *self {}
    }
}
