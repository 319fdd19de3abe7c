//! The machine: which one it is, which group it is in, and how it ends.
//!
//! [`identify`] asks the instance metadata service; [`notices`] is what that one says of the
//! machine's future; [`climb`] is the retirement ladder. What the ladder does next is decided by
//! pure code ([`Position`], the reason table in `policy.rs`), so that every refusal of the API can
//! be tested without it. Without the feature `aws` everything but the API calls is there.

mod api;
#[cfg(feature = "aws")]
mod aws;
mod backoff;
mod deadman;
mod dmi;
mod identify;
mod identity;
mod imds;
#[cfg(test)]
mod imds_testing;
#[cfg(test)]
mod imds_tests;
mod ladder;
#[cfg(test)]
mod ladder_notices_tests;
#[cfg(test)]
mod ladder_testing;
#[cfg(test)]
mod ladder_tests;
mod left;
mod mode;
#[cfg(not(feature = "aws"))]
mod no_aws;
pub mod notices;
mod policy;
mod position;
#[cfg(test)]
mod position_properties;
#[cfg(test)]
mod position_tests;
mod poweroff;
mod record;
mod retirement;
mod rung;
mod verdict;
mod watcher;
#[cfg(test)]
mod watcher_tests;

pub use api::{ActionResult, Call, Cloud, Reply};
#[cfg(feature = "aws")]
pub use aws::Clients;
pub use deadman::{Armed, arm, watchdog_main};
pub use identify::{GROUP_TAG, INSTANCE_TAGS, identify, is_container, metadata};
#[cfg(feature = "aws")]
pub use identity::{GroupName, InstanceId};
pub use identity::{Identity, Membership, Placement};
pub use imds::Imds;
pub use ladder::{climb, detach_early};
pub use mode::Mode;
#[cfg(not(feature = "aws"))]
pub use no_aws::Clients;
#[cfg(feature = "poll")]
pub use notices::parse_date;
pub use notices::{
    Answer, Ask, HookFailure, HookNames, Keeper, News, Notice, NoticePolicy, OnRebalance, Protect,
    ProtectFailure, ProtectTurn, Protector, Reading, Target, Transition, Turn, Warm, Watch, ours,
};
#[cfg(test)]
pub use policy::{AtMinimum, Leave, leave};
pub use position::Position;
pub use poweroff::{Runner, has_systemd, no_input, power_off};
pub use record::Work;
pub use retirement::{Host, LadderOutcome, Plan, Retirement, Timing, Told, longest_climb};
pub use verdict::{Verdict, classify};
pub use watcher::{look, watch};
