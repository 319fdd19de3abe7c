//! Agent processes: starting them, passing on their output, learning of their end, ending what
//! they leave behind. What to do when is decided elsewhere; everything here is one quick call.

mod cgroup;
mod environment;
mod output;
mod port;
mod proc;
mod process;
mod reap;
mod spawn;
mod terminal;
#[cfg(test)]
mod testing;
mod tree;
mod user;

pub use cgroup::Cgroup;
pub use environment::is_private;
pub use output::{Chunk, Stream, Tap, reopen};
pub use port::free_port;
pub use proc::{ProcInfo, arguments, descendants, variable};
pub use process::{Process, wait_in_time};
pub use reap::{become_subreaper, has_children, reap};
pub use spawn::{Beside, Output, Spec, spawn, spawn_beside};
pub use terminal::take_back as take_back_terminal;
pub use tree::{Owner, Tree};
pub use user::User;
