//! What `/proc` says about processes: who they are, whose children, what they were started with.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use nix::unistd::{Pid, getpid};

use crate::lifecycle::AgentIndex;

/// Reads of one `children` file until two are equal.
const CHILDREN_READS: u32 = 4;
const PF_KTHREAD: u64 = 0x0020_0000;

/// A process that runs (zombies are not listed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcInfo {
    pub pid: Pid,
    pub ppid: Pid,
    /// In clock ticks since boot. With the pid it names one process for as long as the machine
    /// is up.
    pub start_time: u64,
    /// The kernel's name of it, at most 15 bytes.
    pub comm: String,
    pub state: State,
}

/// What matters here of a process's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Running, sleeping or stopped: signals reach it.
    Responsive,
    /// In an uninterruptible wait. Reading its memory may wait with it.
    Uninterruptible,
    /// Ended and not yet reaped.
    Zombie,
    KernelThread,
}

/// Whether `/proc` is there and shows the pids that this process knows. In an empty root
/// directory it is missing; after `unshare --pid` without a new mount it shows the parent's.
pub fn is_usable() -> bool {
    fs::read_link("/proc/self").is_ok_and(|own| own.to_str() == Some(getpid().to_string().as_str()))
}

/// The process in any state, or `None` when there is none.
pub fn stat(pid: Pid) -> Option<ProcInfo> {
    parse_stat(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Signals that were sent to the process, and that none of its threads has taken: bit 0 is signal
/// 1. `None` when it is gone.
pub fn pending_signals(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// All processes that run, kernel threads left out.
pub fn all() -> Vec<ProcInfo> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| stat(Pid::from_raw(pid)))
        .filter(ProcInfo::runs)
        .collect()
}

/// Everything that runs below `root`, without `root`. Orphans are below whoever adopted them.
///
/// Costs a few small reads for each process below `root` where the kernel lists children
/// (CONFIG_PROC_CHILDREN), else one read for each process of the machine.
pub fn descendants(root: Pid) -> Vec<ProcInfo> {
    if !lists_children() {
        return descendants_among(&all(), root);
    }
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for child in children(parent) {
            if seen.insert(child) {
                parents.push(child);
                found.extend(stat(child).filter(ProcInfo::runs));
            }
        }
    }
    found
}

/// Those of `all` that are below `root`.
pub fn descendants_among(all: &[ProcInfo], root: Pid) -> Vec<ProcInfo> {
    let mut family = HashSet::from([root]);
    // A child may be listed before its parent, so go on until nothing is added.
    loop {
        let before = family.len();
        for process in all {
            if family.contains(&process.ppid) {
                family.insert(process.pid);
            }
        }
        if family.len() == before {
            break;
        }
    }
    family.remove(&root);
    let is_member = |process: &&ProcInfo| family.contains(&process.pid);
    all.iter().filter(is_member).cloned().collect()
}

/// Whether the process was started with this supervisor's mark: its socket and, if given, this
/// agent's index. It tells whose an orphan is.
pub fn is_marked(process: &ProcInfo, socket: &Path, index: Option<AgentIndex>) -> bool {
    let Ok(environment) = environment(process) else {
        return false;
    };
    value_of(&environment, b"CLOCKOUT_SOCKET") == Some(socket.as_os_str().as_encoded_bytes())
        && value_of(&environment, b"CLOCKOUT_INDEX").is_some_and(|value| match index {
            Some(index) => value == index.to_string().as_bytes(),
            None => true,
        })
}

/// What the process was started with in this variable.
///
/// An error says that it is gone ([`io::ErrorKind::NotFound`]), or cannot be read: it is another
/// user's, or waits in the kernel.
pub fn variable(process: &ProcInfo, name: &str) -> io::Result<Option<Vec<u8>>> {
    let environment = environment(process)?;
    Ok(value_of(&environment, name.as_bytes()).map(<[u8]>::to_vec))
}

/// What it was started as: program and arguments, joined by blanks. Fails as [`variable`] does.
pub fn arguments(process: &ProcInfo) -> io::Result<Vec<u8>> {
    let mut arguments = read_memory(process, "cmdline")?;
    let end = arguments.iter().rposition(|byte| *byte != 0);
    arguments.truncate(end.map_or(0, |last| last + 1));
    for byte in &mut arguments {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    Ok(arguments)
}

fn environment(process: &ProcInfo) -> io::Result<Vec<u8>> {
    read_memory(process, "environ")
}

/// A file of `/proc/PID` that shows its memory.
fn read_memory(process: &ProcInfo, file: &str) -> io::Result<Vec<u8>> {
    // Its memory may be locked for as long as the wait lasts.
    if process.state == State::Uninterruptible {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    fs::read(format!("/proc/{}/{file}", process.pid)).map_err(|error| {
        match error.raw_os_error() {
            // It ended between the opening and the reading.
            Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
            _ => error,
        }
    })
}

fn value_of<'a>(environment: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut variables = environment.split(|byte| *byte == 0);
    variables.find_map(|variable| variable.strip_prefix(name)?.strip_prefix(b"="))
}

impl ProcInfo {
    pub fn runs(&self) -> bool {
        matches!(self.state, State::Responsive | State::Uninterruptible)
    }
}

fn lists_children() -> bool {
    static LISTS: OnceLock<bool> = OnceLock::new();
    *LISTS.get_or_init(|| Path::new("/proc/thread-self/children").exists())
}

/// The children of all threads of `parent`.
fn children(parent: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(Result::ok)
        .flat_map(|thread| children_of_thread(&thread.path().join("children")))
        .collect()
}

/// proc(5): the list may miss a child when an earlier one ends during the read. A list that reads
/// the same twice has not been cut.
fn children_of_thread(path: &Path) -> Vec<Pid> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    let mut list = read();
    for _ in 1..CHILDREN_READS {
        let again = read();
        if again == list {
            break;
        }
        list = again;
    }
    list.split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

/// proc_pid_stat(5). The name is in parentheses and may itself contain any byte, `)` included.
fn parse_stat(pid: Pid, line: &[u8]) -> Option<ProcInfo> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let comm = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    // The first of these is field 3 of the manual's count.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let flags: u64 = field(9)?.parse().ok()?;
    let threads: u64 = field(20)?.parse().ok()?;
    let state = match field(3)? {
        _ if flags & PF_KTHREAD != 0 => State::KernelThread,
        // A process whose first thread has ended shows as a zombie while the others run.
        "Z" | "X" | "x" if threads <= 1 => State::Zombie,
        "D" => State::Uninterruptible,
        _ => State::Responsive,
    };
    Some(ProcInfo {
        pid,
        ppid: Pid::from_raw(field(4)?.parse().ok()?),
        start_time: field(22)?.parse().ok()?,
        comm,
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, ppid: i32) -> ProcInfo {
        ProcInfo {
            pid: Pid::from_raw(pid),
            ppid: Pid::from_raw(ppid),
            start_time: 1,
            comm: String::new(),
            state: State::Responsive,
        }
    }

    #[test]
    fn names_with_parentheses_and_blanks_are_read_whole() {
        let line = b"42 (a) S (b) S 7 42 42 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 3 0 12345 0 0";
        let info = parse_stat(Pid::from_raw(42), line).unwrap();
        assert_eq!(info.comm, "a) S (b");
        assert_eq!(info.ppid, Pid::from_raw(7));
        assert_eq!(info.start_time, 12345);
        assert_eq!(info.state, State::Responsive);
    }

    #[test]
    fn only_the_last_thread_makes_a_zombie() {
        let line = |threads| format!("9 (x) Z 7 9 9 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 1 0");
        let state = |threads| {
            parse_stat(Pid::from_raw(9), line(threads).as_bytes())
                .unwrap()
                .state
        };
        assert_eq!(state(1), State::Zombie);
        assert_eq!(state(2), State::Responsive);
    }

    #[test]
    fn a_cut_line_is_no_process() {
        for line in [&b""[..], b"42", b"42 (", b"42 (x)", b")(", b"42 (x) S 1"] {
            assert_eq!(parse_stat(Pid::from_raw(42), line), None);
        }
    }

    #[test]
    fn descendants_are_found_in_any_order() {
        let all = [
            process(5, 4),
            process(4, 3),
            process(3, 2),
            process(9, 1),
            process(2, 1),
        ];
        let found = descendants_among(&all, Pid::from_raw(2));
        let pids: Vec<i32> = found.iter().map(|p| p.pid.as_raw()).collect();
        assert_eq!(pids, [5, 4, 3]);
    }

    #[test]
    fn a_variable_is_read_by_its_whole_name() {
        let own = stat(getpid()).unwrap();
        let path = std::env::var("PATH").unwrap();
        assert_eq!(variable(&own, "PATH").unwrap(), Some(path.into_bytes()));
        assert_eq!(variable(&own, "PAT").unwrap(), None);
        let mut gone = own.clone();
        gone.pid = Pid::from_raw(i32::MAX);
        let error = variable(&gone, "PATH").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let arguments = arguments(&own).unwrap();
        let program = std::env::args().next().unwrap();
        assert!(arguments.starts_with(program.as_bytes()) && !arguments.contains(&0));
        gone.state = State::Uninterruptible;
        assert!(variable(&gone, "PATH").is_err());
    }

    #[test]
    fn this_process_is_below_its_parent_by_both_ways() {
        let own = getpid();
        let parent = stat(own).unwrap().ppid;
        assert!(is_usable());
        assert!(descendants(parent).iter().any(|p| p.pid == own));
        assert!(
            descendants_among(&all(), parent)
                .iter()
                .any(|p| p.pid == own)
        );
    }
}
