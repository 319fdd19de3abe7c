//! What the machine is told about its end, and what follows from it. Pure: fed with what was read
//! and the time, as `lifecycle` is.
//!
//! - [`Watch`] turns what the metadata service says ([`Round`], read by [`parse`]) into [`News`].
//! - [`ours`] picks the lifecycle hooks that are this program's to keep and complete.
//! - [`Keeper`] keeps a pending lifecycle action alive, [`Protector`] lets scale-in protection
//!   follow the work.
//!
//! *Unknown* ([`Reading::Unknown`]) is never *nothing*, and neither takes back what was told.

mod date;
mod episode;
mod hooks;
mod keeper;
#[cfg(test)]
mod keeper_properties;
#[cfg(test)]
mod keeper_tests;
#[cfg(test)]
mod keeper_world;
pub mod parse;
mod policy;
mod protect;
#[cfg(test)]
mod protect_tests;
mod retry;
mod standing;
mod watch;
#[cfg(test)]
mod watch_properties;
#[cfg(test)]
mod watch_tests;
mod words;

pub use date::parse as parse_date;
pub use episode::Episode;
pub use hooks::{Hook, HookNames, Transition, ours};
pub use keeper::{Answer, Ask, HookFailure, Keeper, Turn};
pub use policy::{NoticePolicy, OnRebalance};
pub use protect::{Protect, ProtectFailure, ProtectTurn, Protector};
pub use watch::{News, Notice, Watch};
pub use words::{Clock, Reading, Round, Target, Warm};
#[cfg(test)]
pub use words::{EventState, Maintenance, MaintenanceCode, SpotAction, SpotKind};
