//! The small language of the table: `time | event -> actions ; state, next deadline`.

use std::time::Duration;

use crate::lifecycle::*;

pub struct Script {
    settings: Settings,
    life: Option<Lifecycle>,
}

pub fn script() -> Script {
    let minutes = |n: u64| Limit::At(Duration::from_secs(60 * n));
    Script {
        settings: Settings {
            agents: 1,
            slots: 1,
            slots_known: true,
            limits: Limits {
                max_jobs: Limit::Never,
                idle_timeout: minutes(10),
                max_lifetime: Limit::Never,
                boot_timeout: minutes(5),
                drain_timeout: minutes(60),
            },
            detectors: vec![DetectorKind::Edges],
            sees_ready: true,
            drain: DrainMethod::Signal,
            needs_line: None,
            window: None,
            cordon: false,
            linger: None,
            cancel: Some(Duration::from_secs(30)),
            exit_ok: Vec::new(),
            pass_through: false,
            sampling: None,
        },
        life: None,
    }
}

impl Script {
    /// Other settings, as `key=value` separated by blanks.
    pub fn with(mut self, settings: &str) -> Self {
        for pair in settings.split_whitespace() {
            set(&mut self.settings, pair);
        }
        self
    }

    /// Plays the rows and compares each.
    pub fn plays(&mut self, rows: &str) {
        for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let (head, then) = row.split_once("->").expect("row has an arrow");
            let (at, event) = head.split_once('|').expect("row has a time");
            let (actions, state) = then.split_once(';').expect("row has a state");
            let at = seconds(at.trim());
            let done = self.step(at, event.trim());
            let said: Vec<_> = done.iter().filter_map(action).collect();
            let life = self.life.as_ref().expect("the first row is `new`");
            assert_eq!(
                (said.join(", "), describe(life)),
                (actions.trim().to_owned(), state.trim().to_owned()),
                "\nin row: {row}\nall actions: {done:?}\n"
            );
        }
    }

    pub fn tally(&self) -> Tally {
        self.life.as_ref().expect("it was played").tally()
    }

    pub fn started(&self) -> u32 {
        self.life.as_ref().expect("it was played").started()
    }

    fn step(&mut self, now: Instant, event: &str) -> Vec<Action> {
        let (life, actions) = match (event, self.life.take()) {
            ("parked", _) => (Lifecycle::parked(self.settings.clone(), now), Vec::new()),
            ("new", _) => Lifecycle::new(self.settings.clone(), now),
            ("restart", Some(life)) => {
                let stored = serde_json::to_string(&life).expect("a life can be stored");
                let life: Lifecycle = serde_json::from_str(&stored).expect("and read again");
                life.resume(self.settings.clone(), now)
                    .expect("it fits its own settings")
            }
            (_, Some(mut life)) => {
                let event = self.event(event);
                let actions = life.handle(now, event);
                (life, actions)
            }
            (_, None) => panic!("the first row is `new`"),
        };
        self.life = Some(life);
        actions
    }

    fn event(&mut self, text: &str) -> Event {
        let words: Vec<_> = text.split_whitespace().collect();
        let agent = |n: &str| AgentIndex(n.parse().expect("an agent's number"));
        let seen = |n, seen| Event::Observed(agent(n), DetectorIndex(0), seen);
        match words[..] {
            ["spawned", n] => Event::Spawned(agent(n)),
            ["spawn-failed", n, code] => Event::SpawnFailed(agent(n), exit(&[code])),
            ["exit", n, ref how @ ..] => Event::Exited(agent(n), exit(how)),
            ["ready", n] => seen(n, Observation::Ready),
            ["armed", n] => seen(n, Observation::DrainArmed),
            ["cordoned", n] => Event::Cordoned(agent(n), true),
            ["uncordoned", n] => Event::Cordoned(agent(n), false),
            ["safe", n] => seen(n, Observation::SafeWindow),
            ["start", n, id] => seen(
                n,
                Observation::Started {
                    id: Some(id.into()),
                },
            ),
            ["finish", n, id, outcome] => seen(
                n,
                Observation::Finished {
                    id: Some(id.into()),
                    outcome: match outcome {
                        "passed" => Outcome::Passed,
                        "failed" => Outcome::Failed,
                        _ => panic!("unknown outcome {outcome}"),
                    },
                },
            ),
            ["start", n] => seen(n, Observation::Started { id: None }),
            ["finish", n] => seen(
                n,
                Observation::Finished {
                    id: None,
                    outcome: Outcome::Passed,
                },
            ),
            ["level", n, "none"] => {
                Event::Observed(agent(n), DetectorIndex(1), Observation::Absent)
            }
            ["level", n, jobs] => {
                let jobs = jobs.parse().ok();
                Event::Observed(agent(n), DetectorIndex(1), Observation::Running { jobs })
            }
            ["sampled"] => Event::Sampled,
            ["drain", reason] => Event::Drain {
                reason: reason.parse().expect("a reason"),
                deadline: None,
            },
            ["drain", reason, "by", at] => Event::Drain {
                reason: reason.parse().expect("a reason"),
                deadline: Some(seconds(at)),
            },
            ["after-job", reason] => Event::DrainAfterJob {
                reason: reason.parse().expect("a reason"),
                deadline: None,
            },
            ["after-job", reason, "by", at] => Event::DrainAfterJob {
                reason: reason.parse().expect("a reason"),
                deadline: Some(seconds(at)),
            },
            ["wake"] => Event::Wake,
            ["pooled"] => Event::Pooled,
            ["interrupt"] => Event::Interrupt,
            ["quit"] => Event::Quit,
            ["limits", ref pairs @ ..] => {
                for pair in pairs {
                    set(&mut self.settings, pair);
                }
                Event::Limits(self.settings.limits)
            }
            ["pass-through"] => Event::PassThrough,
            ["tree-gone"] => Event::TreeGone,
            ["at-minimum"] => Event::AtMinimum,
            ["retired"] => Event::Retired,
            ["tick"] => Event::Tick,
            _ => panic!("unknown event {text:?}"),
        }
    }
}

fn set(settings: &mut Settings, pair: &str) {
    let (key, value) = pair.split_once('=').expect("key=value");
    let number = || value.parse().expect("a number");
    let wait = || Duration::from_secs(value.parse().expect("seconds"));
    let limit = || match value {
        "never" => Limit::Never,
        _ => Limit::At(wait()),
    };
    match key {
        "agents" => settings.agents = number(),
        "slots" => settings.slots = number(),
        "max-jobs" => settings.limits.max_jobs = Limit::At(number()),
        "idle-timeout" => settings.limits.idle_timeout = limit(),
        "max-lifetime" => settings.limits.max_lifetime = limit(),
        "boot-timeout" => settings.limits.boot_timeout = limit(),
        "drain-timeout" => settings.limits.drain_timeout = limit(),
        "window" => {
            let (lasts, patience) = value.split_once(',').expect("two times");
            let wait = |text: &str| Duration::from_secs(text.parse().expect("seconds"));
            settings.window = Some(Window {
                lasts: wait(lasts),
                patience: wait(patience),
            });
        }
        "cordon" => settings.cordon = value == "yes",
        "linger" => settings.linger = Some(wait()),
        "cancel" => settings.cancel = (value != "none").then(wait),
        "sees-ready" => settings.sees_ready = value == "yes",
        "exit-ok" => settings.exit_ok = vec![value.parse().expect("a status")],
        "drain-by" => settings.drain = method(value),
        "unarmed" => settings.needs_line = Some(method(value)),
        "detectors" => {
            let kind = |name| match name {
                "log" => DetectorKind::Edges,
                "hint" => DetectorKind::AdvisoryEdges,
                "level" => DetectorKind::AdvisoryLevel,
                "census" => DetectorKind::Census,
                "count" => DetectorKind::Level,
                _ => panic!("unknown detector {name}"),
            };
            settings.detectors = value.split(',').map(kind).collect();
        }
        "sample" => {
            let (idle, busy) = value.split_once(',').unwrap_or((value, value));
            let wait = |text: &str| Duration::from_secs(text.parse().expect("seconds"));
            settings.sampling = Some(Sampling {
                while_idle: wait(idle),
                while_busy: wait(busy),
            })
        }
        _ => panic!("unknown setting {key}"),
    }
}

fn method(name: &str) -> DrainMethod {
    match name {
        "signal" => DrainMethod::Signal,
        "wait-idle" => DrainMethod::WaitIdle,
        "single-job" => DrainMethod::SingleJob,
        _ => panic!("unknown drain method {name}"),
    }
}

fn exit(how: &[&str]) -> Exit {
    match how {
        ["unknown"] => Exit::Unknown,
        ["signal", number] => Exit::Signal(number.parse().expect("a signal's number")),
        [code] => Exit::Code(code.parse().expect("a status")),
        _ => panic!("unknown exit {how:?}"),
    }
}

fn seconds(text: &str) -> Instant {
    Instant(Duration::from_secs_f64(text.parse().expect("seconds")))
}

/// An action as the table writes it; most reports are not in the table.
fn action(action: &Action) -> Option<String> {
    let agent = |verb: &str, index: &AgentIndex| format!("{verb} {}", index.0);
    Some(match action {
        Action::Spawn(index) => agent("spawn", index),
        Action::Stop(index, Stop::Drain) => agent("drain", index),
        Action::Stop(index, Stop::Otherwise) => agent("otherwise", index),
        Action::Stop(index, Stop::Cancel) => agent("cancel", index),
        Action::Stop(index, Stop::Terminate) => agent("terminate", index),
        Action::Stop(index, Stop::Kill) => agent("kill", index),
        Action::Cordon(index) => agent("cordon", index),
        Action::Sample => "sample".to_owned(),
        Action::Sweep(Sweep::Terminate) => "sweep terminate".to_owned(),
        Action::Sweep(Sweep::Kill) => "sweep kill".to_owned(),
        Action::PrepareRetire(reason) => format!("prepare {reason}"),
        Action::Retire(reason) => format!("retire {reason}"),
        Action::PowerOff => "power-off".to_owned(),
        Action::Exit => "leave".to_owned(),
        Action::Report(Report::RaceLost { agent: index }) => agent("lost", index),
        Action::Report(Report::NotSingle(index)) => agent("stays", index),
        Action::Report(Report::CordonFailed(index)) => agent("open", index),
        Action::Report(Report::CordonIsFinal(index)) => agent("cordoned", index),
        Action::Report(Report::Unkillable(index)) => agent("unkillable", index),
        Action::Report(Report::ReturnedToService { .. }) => "returned".to_owned(),
        Action::Report(Report::WokeUnasked) => "unasked".to_owned(),
        Action::Report(Report::LeavesAfterJob { reason, deadline }) => {
            format!("leaves {reason}{}", by(*deadline))
        }
        Action::Report(_) => return None,
    })
}

fn by(deadline: Option<Instant>) -> String {
    match deadline {
        Some(at) => format!(" by {}", at.0.as_secs_f64()),
        None => String::new(),
    }
}

fn describe(life: &Lifecycle) -> String {
    let state = match life.phase() {
        Phase::Parked { pooled: false } => "parked".to_owned(),
        Phase::Parked { pooled: true } => "pooled".to_owned(),
        Phase::Working if life.running() > 0 => format!("busy {}", life.running()),
        Phase::Working => match life.idle_since() {
            Some(since) if life.agents().any(|(_, stage, _)| stage == Stage::Ready) => {
                format!("idle since {}", since.0.as_secs_f64())
            }
            _ => "starting".to_owned(),
        },
        Phase::Draining {
            reason, deadline, ..
        } => format!("draining {reason}{}", by(deadline)),
        Phase::Sweeping { reason, .. } => format!("sweeping {reason}"),
        Phase::Retiring { reason, .. } => format!("retiring {reason}"),
        Phase::Gone { reason } => format!("gone {reason}"),
    };
    match life.next_deadline() {
        Some(at) => format!("{state}, {}", at.0.as_secs_f64()),
        None => state,
    }
}
