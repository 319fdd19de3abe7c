//! Why did it die: the last thing this machine writes, to its log and its console.
//!
//! EC2 keeps the console's output after the instance is gone (`GetConsoleOutput`).

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

use nix::unistd::geteuid;
use serde::Serialize;
use tracing::info;

use super::identity::GroupName;
use super::mode::Mode;
use super::notices::Notice;
use super::position::{CallCount, Position};
use super::retirement::Retirement;
use crate::lifecycle::{Reason, Tally};

/// What the machine has done in its life.
#[derive(Debug, Clone, Copy, Default)]
pub struct Work {
    /// Jobs that began.
    pub started: u32,
    pub tally: Tally,
}

#[derive(Serialize)]
struct Record<'a> {
    reason: Reason,
    mode: Mode,
    rung: &'static str,
    instance: Option<&'a str>,
    region: Option<&'a str>,
    group: Option<&'a str>,
    jobs: Jobs,
    seconds_busy: u64,
    seconds_idle: u64,
    calls: &'a [CallCount],
    /// What the machine was told of its end.
    notices: &'a [Notice],
    /// Until the machine would have been taken away; `null` where nobody said when.
    seconds_left: Option<u64>,
    /// When the ladder was first climbed, and now (RFC 3339).
    retiring_since: String,
    time: String,
}

#[derive(Serialize)]
struct Jobs {
    started: u32,
    passed: u32,
    failed: u32,
    canceled: u32,
    lost: u32,
    unknown: u32,
}

/// Writes the record. `position` stands at the rung that is about to end the machine.
pub(super) fn write<C>(retirement: &Retirement<'_, C>, position: &Position) {
    let record = json(retirement, position);
    info!(%record, "retire.done");
    if retirement.placement.identity().is_some() && geteuid().is_root() {
        write_to_console(&record);
    }
}

fn json<C>(retirement: &Retirement<'_, C>, position: &Position) -> String {
    let Work { started, tally } = retirement.work;
    let identity = retirement.placement.identity();
    let time = |time| humantime::format_rfc3339_seconds(time).to_string();
    let record = Record {
        reason: retirement.reason,
        mode: retirement.plan.mode,
        rung: position.rung().as_str(),
        instance: identity.map(|id| id.instance_id.as_str()),
        region: identity.map(|id| id.region.as_str()),
        group: identity.and_then(|id| id.group()).map(GroupName::as_str),
        jobs: Jobs {
            started,
            passed: tally.passed,
            failed: tally.failed,
            canceled: tally.canceled,
            lost: tally.lost,
            unknown: tally.unknown,
        },
        seconds_busy: tally.busy.as_secs(),
        seconds_idle: tally.idle.as_secs(),
        calls: &position.calls,
        notices: &retirement.told.notices,
        seconds_left: retirement.left().seconds(),
        retiring_since: time(position.since),
        time: time(SystemTime::now()),
    };
    serde_json::to_string(&record).expect("strings and numbers only")
}

/// Best effort: a console that nobody reads must not hold the machine up.
fn write_to_console(record: &str) {
    let mut options = OpenOptions::new();
    let options = options
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    if let Ok(mut console) = options.open("/dev/console") {
        let _ = console.write_all(format!("clockout: retire.done {record}\r\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::instance::api::Call;
    use crate::instance::identity::Placement;
    use crate::instance::ladder_testing::{Script, plan, retirement};
    use crate::instance::policy;
    use crate::instance::position_tests::on;
    use crate::lifecycle::Instant;

    #[test]
    fn the_record_says_why_and_what_was_done() {
        let (plan, cloud) = (plan(), Script::default());
        let placement = Placement::Unknown;
        let notices = vec![Notice {
            reason: Reason::Spot,
            what: "terminate".to_owned(),
            id: None,
            at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_505_722_920)),
            acted_on: true,
        }];
        let mut retirement = Retirement {
            work: Work {
                started: 3,
                tally: Tally {
                    passed: 2,
                    failed: 1,
                    busy: Duration::from_secs(90),
                    idle: Duration::from_secs(7),
                    ..Tally::default()
                },
            },
            ..retirement(&plan, &placement, &cloud, Reason::MaxJobs)
        };
        let ground = on(plan.mode, &placement);
        let mut position = Position::start(ground, policy::leave(retirement.reason));
        position.count(Call::Terminate, Some("UnauthorizedOperation"));
        let read = |retirement: &Retirement<'_, Script>| -> serde_json::Value {
            serde_json::from_str(&json(retirement, &position)).expect("JSON")
        };
        let record = read(&retirement);
        assert_eq!(record["reason"], "max-jobs");
        assert_eq!(record["rung"], "power-off");
        assert_eq!(record["instance"], serde_json::Value::Null);
        assert_eq!(record["jobs"]["started"], 3);
        assert_eq!(record["jobs"]["failed"], 1);
        assert_eq!(record["seconds_busy"], 90);
        assert_eq!(record["calls"][0]["name"], "TerminateInstances");
        assert_eq!(record["calls"][0]["last_error"], "UnauthorizedOperation");
        assert_eq!(record["notices"], serde_json::json!([]));
        assert_eq!(record["seconds_left"], serde_json::Value::Null);

        retirement.told.notices = notices;
        retirement.told.ends = Some(Instant(Duration::ZERO));
        let record = read(&retirement);
        assert_eq!(record["notices"][0]["kind"], "spot");
        assert_eq!(record["notices"][0]["what"], "terminate");
        assert_eq!(record["notices"][0]["at"], "2017-09-18T08:22:00Z");
        assert_eq!(record["seconds_left"], 0);
    }
}
