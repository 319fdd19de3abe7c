//! Where supply is read and created. One file of `targets/` a kind.

use std::collections::BTreeMap;

use super::plan::{BackendId, Launched, Order, Place, Supply, Trouble};
use super::source::Later;

/// The keys of a `target = { kind = "...", ... }` table.
pub trait Spec {
    /// As [`super::source::Spec::check`].
    fn check(&self) -> Result<(), String>;

    /// Groups of the same backend share a [`Target`], and are described together.
    fn backend(&self) -> BackendId;

    /// What the group is called there.
    fn place(&self) -> Place;

    /// For a discovered group: what it is called.
    fn fill(&mut self, place: &Place);

    /// Does nothing yet.
    fn open(&self) -> Box<dyn Target>;
}

/// A backend: lists its groups, and makes them larger. Never smaller.
pub trait Target {
    /// Tells the target of a group before it is first described: a kind whose groups have
    /// settings of their own (a command, a directory) keeps them. Replaces what it had.
    fn adopt(&self, spec: &super::targets::Spec);

    /// The supply of these, read now, in as few calls as there can be. One that is not there is
    /// an error of its own; what failed as a whole is the outer one.
    fn describe<'a>(&'a self, places: &'a [Place]) -> Later<'a, Result<Described, Trouble>>;

    /// Every group that has the tag, all pages.
    fn discover<'a>(&'a self, tag: &'a str) -> Later<'a, Result<Vec<Found>, Trouble>>;

    /// Makes the group larger. One try, with a time limit; only ever adds.
    fn launch<'a>(&'a self, place: &'a Place, order: &'a Order) -> Later<'a, Launched>;

    /// Why the group does not get what it asks for; empty when nothing is known.
    fn troubles<'a>(&'a self, place: &'a Place) -> Later<'a, Result<Vec<Trouble>, Trouble>>;

    /// How many calls of each operation were made so far, for the metrics.
    fn calls(&self) -> BTreeMap<&'static str, u64>;
}

/// The supply of each group that was asked for, or why that one is unknown.
pub type Described = BTreeMap<Place, Result<Supply, String>>;

/// A group that discovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub place: Place,
    /// The tag's value.
    pub value: String,
    /// What was read of it on the way, so that it need not be asked for again.
    pub supply: Supply,
}
