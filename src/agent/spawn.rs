//! Starting an agent.
//!
//! It gets a process group of its own, a clean signal mask and default dispositions (see
//! [`crate::sys::reset_signals`]), no descriptor of ours, and an environment without our secrets.
//! `PR_SET_PDEATHSIG` is not set, and fork clears an inherited one: agents outlive the supervisor.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::unistd::Pid;
use tracing::debug;

use super::cgroup::Cgroup;
use super::environment;
use super::output::Pipe;
use super::process::Process;
use super::terminal;
use super::user::User;
use crate::lifecycle::AgentIndex;
use crate::sys::{ChildSetup, ChildTerminal};

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// A path, or a name to be found in PATH.
    pub program: OsString,
    pub args: Vec<OsString>,
    /// `None`: the user that we are.
    pub user: Option<User>,
    /// Set beside, and over, what the agent inherits.
    pub env: Vec<(OsString, OsString)>,
    pub stdout: Output,
    pub stderr: Output,
    /// The control socket that agents may talk to. With the index it also marks their processes.
    pub socket: PathBuf,
    /// Whether it may read our terminal, if we have one; Ctrl-C then goes to it and not to us.
    pub interactive: bool,
    /// Where each agent gets a cgroup of its own, if that is ours to give.
    pub cgroup: Option<Cgroup>,
}

/// Where one of the agent's output streams goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To our own, directly.
    Inherit,
    /// Through a pipe to us, for [`super::Tap`].
    Tap,
}

/// A running agent.
#[derive(Debug)]
pub struct Started {
    pub process: Process,
    /// Our end of the pipe, for a tapped stream.
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("agent '{program}' is not in PATH: install it, or give its full path after '--'")]
    NotInPath { program: String },
    #[error("agent '{program}' does not exist: install it, or correct the path after '--'")]
    NoSuchFile { program: String },
    #[error(
        "agent '{program}' cannot run, the interpreter or loader that it names is missing: \
         see its first line (`head -1`), or `ldd` for a binary"
    )]
    NoInterpreter { program: String },
    #[error(
        "agent '{program}' cannot run: {source}; it must be an executable file (chmod +x) for \
         this machine's architecture, and a script needs a '#!' line"
    )]
    CannotExecute { program: String, source: io::Error },
    #[error(
        "cannot become user '{user}' to start the agent: {source}; run clockout as root, or \
         without --user"
    )]
    CannotBecome { user: String, source: io::Error },
    #[error("cannot start agent '{program}': {source}")]
    Other { program: String, source: io::Error },
}

impl SpawnError {
    /// As a shell reports it.
    pub fn exit_status(&self) -> u8 {
        match self {
            SpawnError::NotInPath { .. }
            | SpawnError::NoSuchFile { .. }
            | SpawnError::NoInterpreter { .. } => 127,
            SpawnError::CannotExecute { .. } => 126,
            SpawnError::CannotBecome { .. } | SpawnError::Other { .. } => 1,
        }
    }

    fn new(spec: &Spec, source: io::Error) -> SpawnError {
        let program = spec.program.display().to_string();
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT) if !spec.program.as_bytes().contains(&b'/') => {
                if is_in_path(&spec.program) {
                    SpawnError::NoInterpreter { program }
                } else {
                    SpawnError::NotInPath { program }
                }
            }
            Some(Errno::ENOENT) if Path::new(&spec.program).exists() => {
                SpawnError::NoInterpreter { program }
            }
            Some(Errno::ENOENT) => SpawnError::NoSuchFile { program },
            // A full process table and the like say nothing about the program.
            None | Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => {
                SpawnError::Other { program, source }
            }
            // exec answers EACCES; EPERM comes from setgroups, setgid or setuid.
            Some(errno) => match &spec.user {
                Some(user) if errno == Errno::EPERM => SpawnError::CannotBecome {
                    user: user.name.clone(),
                    source,
                },
                _ => SpawnError::CannotExecute { program, source },
            },
        }
    }
}

/// Starts agent `index`. Its end is learned from [`super::reap`].
pub fn spawn(spec: &Spec, index: AgentIndex) -> Result<Started, SpawnError> {
    let failed = |source| SpawnError::new(spec, source);
    let pipe = |output| match output {
        Output::Inherit => Ok(None),
        Output::Tap => Pipe::new(spec.user.as_ref()).map(Some),
    };
    let stdout = pipe(spec.stdout).map_err(|error| failed(error.into()))?;
    let stderr = pipe(spec.stderr).map_err(|error| failed(error.into()))?;

    let mut command = command(&spec.program, &spec.args, spec, index);
    let (stdout, agents_stdout) = ends(stdout);
    let (stderr, agents_stderr) = ends(stderr);
    command.stdout(agents_stdout).stderr(agents_stderr);
    let terminal = if spec.interactive {
        terminal::for_next_agent()
    } else {
        // In a group of its own it would be stopped at its first read.
        if std::io::stdin().is_terminal() {
            command.stdin(Stdio::null());
        }
        ChildTerminal::None
    };
    ChildSetup {
        credentials: spec.user.as_ref().and_then(User::credentials),
        terminal,
        cgroup: spec.cgroup.as_ref().and_then(|cgroup| {
            // Without it its tree can still be walked.
            cgroup
                .entrance(index)
                .inspect_err(|error| debug!(agent = %index, %error, "agent.no-cgroup"))
                .ok()
        }),
    }
    .apply(&mut command);

    let child = command.spawn().map_err(|source| {
        if terminal == ChildTerminal::Foreground {
            // It had it already when exec failed.
            terminal::take_back();
        }
        failed(source)
    })?;
    // The handle is dropped: only the reaper waits.
    let pid = Pid::from_raw(child.id().cast_signed());
    Ok(Started {
        process: Process::of_child(pid),
        stdout,
        stderr,
    })
}

/// A command for [`spawn_beside`].
#[derive(Debug)]
pub struct Beside<'a> {
    /// Program and arguments.
    pub argv: &'a [OsString],
    pub stdin: Stdio,
    /// What it says is thrown away; else it is ours.
    pub is_silent: bool,
}

/// Starts a command as agent `index` would: as its user, with its environment, in its directory.
/// A program that the agent's user can replace must not get more rights than that user has.
///
/// It leads a process group of its own. Its end is learned from [`super::reap`].
pub fn spawn_beside(spec: &Spec, index: AgentIndex, beside: Beside<'_>) -> io::Result<Pid> {
    let Some((program, args)) = beside.argv.split_first() else {
        return Err(io::Error::other("it has no words"));
    };
    let mut command = command(program, args, spec, index);
    command.stdin(beside.stdin);
    if beside.is_silent {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    ChildSetup {
        credentials: spec.user.as_ref().and_then(User::credentials),
        terminal: ChildTerminal::None,
        cgroup: None,
    }
    .apply(&mut command);
    let child = command.spawn()?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

fn command(program: &OsStr, args: &[OsString], spec: &Spec, index: AgentIndex) -> Command {
    let mut command = Command::new(program);
    command.args(args).process_group(0);
    // One by one: std leaves its vfork path when the environment is cleared as a whole.
    for (name, _) in env::vars_os() {
        if environment::is_private(&name) {
            command.env_remove(name);
        }
    }
    if let Some(user) = &spec.user {
        command
            .env("HOME", &user.home)
            .env("USER", &user.name)
            .env("LOGNAME", &user.name)
            .env("SHELL", &user.shell);
    }
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    command
        .env("CLOCKOUT_SOCKET", &spec.socket)
        .env("CLOCKOUT_INDEX", index.to_string());
    command
}

/// Our end, and what the agent gets.
fn ends(pipe: Option<Pipe>) -> (Option<OwnedFd>, Stdio) {
    match pipe {
        Some(pipe) => (Some(pipe.ours), pipe.agents.into()),
        None => (None, Stdio::inherit()),
    }
}

fn is_in_path(program: &OsStr) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
#[path = "spawn_tests.rs"]
mod tests;
