//! The plan as a table of cases; reads as the specification.

mod arithmetic;
mod boots;
mod breakers;
mod budget;
mod chains;
mod orders;
mod pace;
mod reload;
