//! What `clockout status` says: state, why, jobs done, what happens next and when.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::{Limit, Limits, Reason};

/// Everything a person asks of a supervisor. Times are whole seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    pub state: State,
    /// How long it has been in this state.
    pub since_seconds: u64,
    /// Why the machine ends, once it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// One sentence.
    pub why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
    pub agents: Vec<AgentStatus>,
    pub jobs: JobStatus,
    pub limits: LimitStatus,
    /// This machine, where it is one of a cloud's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceStatus>,
    /// What the machine was told of its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<NoticeStatus>,
    /// How the machine will end: `detach`, `terminate`, `poweroff`, `exit`.
    pub retire: String,
    pub uptime_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// In a warm pool, or about to learn that it is not.
    Parked,
    Starting,
    Idle,
    Busy,
    Draining,
    Retiring,
    Gone,
}

/// What happens if nothing else does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// Such as `retire for idle`.
    pub what: String,
    pub in_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    pub index: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Such as `ready` or `backoff`.
    pub state: String,
    pub jobs_running: u32,
}

/// Jobs of this machine so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobStatus {
    pub started: u32,
    pub running: u32,
    pub passed: u32,
    pub failed: u32,
    pub canceled: u32,
    pub lost: u32,
    pub unknown: u32,
}

/// The limits as a person writes them: `10m`, `never`, `unlimited`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitStatus {
    pub max_jobs: String,
    pub idle_timeout: String,
    pub max_lifetime: String,
    pub boot_timeout: String,
    pub drain_timeout: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeStatus {
    /// What a machine that acts on it retires for.
    pub kind: Reason,
    /// The metadata service's own word, such as `terminate`.
    pub what: String,
    /// Until the machine is taken away; 0 when that has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_seconds: Option<u64>,
    /// Otherwise the machine works on in spite of it.
    pub acted_on: bool,
}

impl From<&Limits> for LimitStatus {
    fn from(limits: &Limits) -> Self {
        let time = |limit: Limit<Duration>| {
            let written = |time| {
                humantime::format_duration(time)
                    .to_string()
                    .replace(' ', "")
            };
            limit.get().map_or("never".to_owned(), written)
        };
        let jobs = limits.max_jobs.get();
        LimitStatus {
            max_jobs: jobs.map_or("unlimited".to_owned(), |jobs| jobs.to_string()),
            idle_timeout: time(limits.idle_timeout),
            max_lifetime: time(limits.max_lifetime),
            boot_timeout: time(limits.boot_timeout),
            drain_timeout: time(limits.drain_timeout),
        }
    }
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Parked => "parked",
            State::Starting => "starting",
            State::Idle => "idle",
            State::Busy => "busy",
            State::Draining => "draining",
            State::Retiring => "retiring",
            State::Gone => "gone",
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} started, {} running", self.started, self.running)?;
        let ends = [
            (self.passed, "passed"),
            (self.failed, "failed"),
            (self.canceled, "canceled"),
            (self.lost, "lost"),
            (self.unknown, "ended without an outcome"),
        ];
        for (count, what) in ends.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}

/// For people: what they ask first comes first.
impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} for {}",
            self.state.as_str(),
            seconds(self.since_seconds)
        )?;
        if let Some(reason) = self.reason {
            write!(f, ", reason {reason}")?;
        }
        writeln!(f, ": {}", self.why)?;
        writeln!(f, "jobs      {}", self.jobs)?;
        match &self.next {
            Some(Next { what, in_seconds }) => {
                writeln!(f, "next      {what} in {}", seconds(*in_seconds))?;
            }
            None => writeln!(f, "next      nothing is due")?,
        }
        for notice in &self.notices {
            write!(f, "notice    {}: {}", notice.kind, notice.what)?;
            if let Some(left) = notice.in_seconds {
                write!(f, ", in {}", seconds(left))?;
            }
            writeln!(
                f,
                "{}",
                if notice.acted_on {
                    ""
                } else {
                    ", not acted on"
                }
            )?;
        }
        for agent in &self.agents {
            write!(f, "agent {:<3} {}", agent.index, agent.state)?;
            if let Some(pid) = agent.pid {
                write!(f, ", pid {pid}")?;
            }
            writeln!(f, ", {} running", agent.jobs_running)?;
        }
        let limits = &self.limits;
        writeln!(
            f,
            "limits    max-jobs {}, idle-timeout {}, max-lifetime {}, boot-timeout {}, \
             drain-timeout {}",
            limits.max_jobs,
            limits.idle_timeout,
            limits.max_lifetime,
            limits.boot_timeout,
            limits.drain_timeout
        )?;
        write!(f, "machine   ")?;
        match &self.instance {
            Some(InstanceStatus {
                id,
                group: Some(group),
            }) => write!(f, "{id} of group {group}")?,
            Some(InstanceStatus { id, group: None }) => write!(f, "{id}, in no group")?,
            None => write!(f, "in no cloud")?,
        }
        writeln!(f, ", ends by {}", self.retire)?;
        writeln!(f, "uptime    {}", seconds(self.uptime_seconds))
    }
}

/// `1h 2m 3s`, exact to the second below an hour, to the minute above.
fn seconds(seconds: u64) -> String {
    let exact = if seconds >= 3600 {
        seconds - seconds % 60
    } else {
        seconds
    };
    humantime::format_duration(Duration::from_secs(exact)).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn example() -> StatusReport {
        StatusReport {
            state: State::Idle,
            since_seconds: 130,
            reason: None,
            why: "no agent has a job".to_owned(),
            next: Some(Next {
                what: "retire for idle".to_owned(),
                in_seconds: 470,
            }),
            agents: vec![AgentStatus {
                index: 1,
                pid: Some(4242),
                state: "ready".to_owned(),
                jobs_running: 0,
            }],
            jobs: JobStatus {
                started: 3,
                passed: 2,
                failed: 1,
                ..JobStatus::default()
            },
            limits: LimitStatus::from(&Limits {
                max_jobs: Limit::At(10),
                idle_timeout: Limit::At(Duration::from_secs(600)),
                max_lifetime: Limit::Never,
                boot_timeout: Limit::At(Duration::from_secs(300)),
                drain_timeout: Limit::At(Duration::from_secs(5400)),
            }),
            instance: Some(InstanceStatus {
                id: "i-0abc".to_owned(),
                group: Some("ci-linux".to_owned()),
            }),
            notices: vec![NoticeStatus {
                kind: Reason::Maintenance,
                what: "instance-reboot".to_owned(),
                in_seconds: Some(86400),
                acted_on: true,
            }],
            retire: "detach".to_owned(),
            uptime_seconds: 3723,
        }
    }

    #[test]
    fn the_text_answers_what_a_person_asks_first() {
        assert_eq!(
            example().to_string(),
            "idle for 2m 10s: no agent has a job\n\
             jobs      3 started, 0 running, 2 passed, 1 failed\n\
             next      retire for idle in 7m 50s\n\
             notice    maintenance: instance-reboot, in 1day\n\
             agent 1   ready, pid 4242, 0 running\n\
             limits    max-jobs 10, idle-timeout 10m, max-lifetime never, boot-timeout 5m, \
             drain-timeout 1h30m\n\
             machine   i-0abc of group ci-linux, ends by detach\n\
             uptime    1h 2m\n"
        );
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let text = serde_json::to_string(&example()).expect("JSON");
        assert_eq!(
            serde_json::from_str::<StatusReport>(&text).expect("good"),
            example()
        );
    }
}
