//! Who may read the terminal, when there is one.
//!
//! An interactive agent is in a process group of its own too. Were that group in the background, the kernel would
//! stop the agent at its first read, so it gets the foreground, as tini does it.

use std::io::{IsTerminal, stdin};

use nix::errno::Errno;
use nix::sys::signal::killpg;
use nix::unistd::{getpgrp, tcgetpgrp, tcsetpgrp};

use crate::sys::{self, ChildTerminal};

/// What the next agent is to do about the terminal. It gets the foreground if this process has
/// it: not when it was started in the background, nor when another agent has it.
pub(super) fn for_next_agent() -> ChildTerminal {
    if !stdin().is_terminal() {
        return ChildTerminal::None;
    }
    // Once in the background, logging must not stop us either (`stty tostop`).
    sys::ignore_terminal_stops();
    take_back();
    if tcgetpgrp(stdin()) == Ok(getpgrp()) {
        ChildTerminal::Foreground
    } else {
        ChildTerminal::Background
    }
}

/// Takes the foreground back from an agent whose group has ended, so that Ctrl-C reaches
/// somebody again.
pub fn take_back() {
    if stdin().is_terminal()
        && tcgetpgrp(stdin()).is_ok_and(|group| killpg(group, None) == Err(Errno::ESRCH))
    {
        // Fails when the terminal has hung up: then there is nothing to take.
        let _ = tcsetpgrp(stdin(), getpgrp());
    }
}
