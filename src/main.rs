#![deny(unsafe_code)]

mod agent;
mod control;
mod instance;
mod jobs;
mod lifecycle;
mod presets;
mod supervisor;

fn main() {}
