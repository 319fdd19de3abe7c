//! What goes into the lifecycle, and what comes out of it.

use super::limits::{Instant, Limits};
use super::words::{AgentIndex, DetectorIndex, Exit, Observation, Outcome, Reason};

/// Something happened. The supervisor tells it in the order it learned of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The process asked for by [`Action::Spawn`] runs.
    Spawned(AgentIndex),
    /// It could not be started; the status is 126 or 127 as a shell reports it.
    SpawnFailed(AgentIndex, Exit),
    /// The process ended.
    Exited(AgentIndex, Exit),
    /// A detector saw something.
    Observed(AgentIndex, DetectorIndex, Observation),
    /// Every level detector has been asked once more, as [`Action::Sample`] wished.
    Sampled,
    /// [`Action::Cordon`] was done: the CI server gives this agent no more jobs, or (`false`) it
    /// could not be told so.
    Cordoned(AgentIndex, bool),
    /// Somebody or something wants this machine to end its work, at the latest at the deadline.
    Drain {
        reason: Reason,
        deadline: Option<Instant>,
    },
    /// The same, but a machine with several slots goes on until one of its jobs has ended.
    DrainAfterJob {
        reason: Reason,
        deadline: Option<Instant>,
    },
    /// The group wants this machine in service, so a parked one begins to work.
    Wake,
    /// A warm pool owns this machine: it neither works nor ends.
    Pooled,
    /// SIGTERM or SIGINT to the supervisor: drain, then cancel, then kill.
    Interrupt,
    /// SIGQUIT to the supervisor: kill.
    Quit,
    /// New limits (SIGHUP).
    Limits(Limits),
    /// There is no machine to end here: an agent that ends by itself ends the supervisor.
    PassThrough,
    /// No process of any agent is left.
    TreeGone,
    /// Retirement is refused because the group is at its minimum (only ever for `idle`).
    AtMinimum,
    /// The machine is going, or there is nothing to end.
    Retired,
    /// A deadline of [`super::Lifecycle::next_deadline`] has come.
    Tick,
}

/// Something the supervisor must do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start this agent, after killing whatever its former process left behind.
    Spawn(AgentIndex),
    /// Make this agent's process stop, this hard.
    Stop(AgentIndex, Stop),
    /// Ask every level detector now, then send [`Event::Sampled`].
    Sample,
    /// Tell the CI server to give this agent no more jobs, then send [`Event::Cordoned`].
    Cordon(AgentIndex),
    /// No agent is left: end the processes they left behind, then send [`Event::TreeGone`].
    Sweep(Sweep),
    /// The drain has begun; what retirement needs can be made ready.
    PrepareRetire(Reason),
    /// Leave the group and end the machine.
    Retire(Reason),
    /// Retirement never answered: power off by the shortest way.
    PowerOff,
    /// End the supervisor.
    Exit,
    /// Say it in the log, the metrics and the status.
    Report(Report),
}

/// How hard a process is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The preset's drain step.
    Drain,
    /// The preset's other drain step, for a process that was not seen armed for the first.
    Otherwise,
    /// The preset's cancel step: running jobs end, the CI server hears of it.
    Cancel,
    /// SIGTERM to an agent that was never ready: its own signals are not safe yet.
    Terminate,
    /// SIGKILL to its whole tree.
    Kill,
}

/// How hard what is left of the agents' trees is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    Terminate,
    Kill,
}

/// A line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    AgentReady(AgentIndex),
    AgentExited {
        agent: AgentIndex,
        exit: Exit,
        /// It ended in a way that nobody asked for.
        crashed: bool,
    },
    JobStarted {
        agent: AgentIndex,
        id: Option<String>,
    },
    JobFinished {
        agent: AgentIndex,
        id: Option<String>,
        outcome: Outcome,
    },
    /// A job began though no further one was allowed, or as its agent was told to end.
    RaceLost {
        agent: AgentIndex,
    },
    /// The CI server may still give this agent a job while it is being drained.
    CordonFailed(AgentIndex),
    /// The group would keep the machine, but its CI server gives this agent no more jobs.
    CordonIsFinal(AgentIndex),
    /// Told to run one job a process, it stayed after its job.
    NotSingle(AgentIndex),
    LimitReached(Reason),
    DrainBegan {
        reason: Reason,
        deadline: Option<Instant>,
    },
    /// A later notice changed why or until when.
    DrainTightened {
        reason: Reason,
        deadline: Option<Instant>,
    },
    /// A drain begins when one of the running jobs ends, at the latest at the deadline.
    LeavesAfterJob {
        reason: Reason,
        deadline: Option<Instant>,
    },
    CancelledJobs {
        running: u32,
    },
    KilledAgents,
    /// This process could not be ended; the machine goes all the same.
    Unkillable(AgentIndex),
    ReturnedToService {
        idle_deadline: Option<Instant>,
    },
    /// A parked machine begins to work.
    Woken,
    /// The same, without having been told what its group wants.
    WokeUnasked,
    /// The machine waits in a warm pool.
    Pooled,
}
