//! The pure core as a whole, in a simulated world: [`Watch`](crate::instance::notices::Watch),
//! [`Keeper`](crate::instance::notices::Keeper),
//! [`Protector`](crate::instance::notices::Protector) and
//! [`Lifecycle`](crate::lifecycle::Lifecycle), wired as the supervisor wires them, while
//! agents, the group, EC2 and the metadata service do what they do to real machines.
//!
//! - `matrix.txt` is what each notice does to a machine in each state, alone and with another.
//! - [`hours`] lives through thousands of hours of notices, faults and jobs; each life is
//!   the number of its seed, and is told aloud when it breaks a rule of the [`judge`].

mod agents;
pub(crate) mod chance;
mod deeds;
mod fate;
mod group;
mod happenings;
mod hours;
mod judge;
mod kept;
mod matrix;
mod metadata;
mod protection;
mod story;
mod supervisor;
mod world;
