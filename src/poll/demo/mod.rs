//! `clockout demo`: the whole loop on this machine, in about a minute. A queue of jobs, the real
//! `clockout poll`, and machines that are processes, each a real `clockout run` around a small CI
//! agent. Nothing is pretended but the jobs, which sleep, and the machines' time to boot.
//!
//! It needs no cloud and no configuration, talks to the loopback interface only, and leaves nothing
//! running: when it ends it looks, and when it is killed, the poller ends with it and the machines
//! by their own limits.

mod agent;
mod picture;
mod queue;
mod stage;
mod work;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stdout};
use std::os::fd::AsFd;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use signal_hook_tokio::Signals;
use tokio::time::{MissedTickBehavior, interval};

use crate::control::{State, StatusReport};
use crate::exit::Status;
use crate::poll::targets;
pub use agent::{agent, job};
use picture::{Doing, Moment, Now, WIDTH, clock, draw};
use queue::Queue;
use stage::{MACHINES, Stage};
use work::{Work, percentile};

/// Between two looks at everything.
const LOOK: Duration = Duration::from_millis(500);
/// Then something is wrong.
const LONGEST: Duration = Duration::from_secs(115);
/// Between two lines where nobody watches a picture.
const LINES: Duration = Duration::from_secs(5);

/// Plays it. Success: all jobs ran, and nothing is left running.
pub fn demo(fast: bool) -> anyhow::Result<Status> {
    crate::sys::reset_signals().context("cannot reset signals")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(play(fast))
}

/// How it ended.
enum End {
    Done,
    Interrupted(i32),
    /// Why.
    Failed(String),
}

async fn play(fast: bool) -> anyhow::Result<Status> {
    let mut signals = Signals::new([libc::SIGINT, libc::SIGTERM, libc::SIGHUP])
        .context("cannot handle signals")?;
    let queue = Queue::new(Work::new(fast));
    let (address, serving) = queue::open(queue.clone()).await?;
    let mut show = Show::new(queue, Stage::set(address)?);
    let mut serving = pin!(serving);
    let end = tokio::select! {
        () = &mut serving => End::Failed("its queue has closed".to_owned()),
        signal = signals.next() => End::Interrupted(signal.unwrap_or(libc::SIGINT)),
        end = show.run() => end?,
    };
    let mut out = stdout();
    let told = match &end {
        End::Done => Ok(()),
        End::Interrupted(_) => writeln!(out, "\nEnding the machines and their jobs..."),
        End::Failed(why) => writeln!(out, "\nIt failed: {why}\n{}", show.stage.last_words()),
    };
    let Show {
        stage, life, queue, ..
    } = show;
    let left = tokio::select! {
        () = serving => Vec::new(),
        left = stage.clear() => left,
    };
    told?;
    if matches!(end, End::Done) {
        write!(out, "{}", summary(&queue.work(), &life))?;
    }
    for player in &left {
        writeln!(out, "Still running: {} {}", player.pid, player.line)?;
    }
    if left.is_empty() {
        writeln!(
            out,
            "Nothing is left running: no process of it was found in /proc."
        )?;
    }
    Ok(match end {
        End::Done if left.is_empty() && queue.work().counts(queue.now()).failed == 0 => {
            Status::Success
        }
        End::Interrupted(signal) => Status::PassedThrough(128 + signal as u8),
        End::Done | End::Failed(_) => Status::Failure,
    })
}

/// What is seen of the machines, all together.
#[derive(Default)]
struct Life {
    /// By slot: the instances that it has had.
    started: BTreeMap<u32, u64>,
    /// How long all of them ran.
    ran: Duration,
}

struct Show {
    queue: Queue,
    stage: Stage,
    moments: Vec<Moment>,
    now: Now,
    life: Life,
    screen: Screen,
}

impl Show {
    fn new(queue: Queue, stage: Stage) -> Show {
        let now = Now {
            notes: vec![String::new(); MACHINES],
            page: format!("http://{}/", stage.page),
            ..Now::default()
        };
        Show {
            queue,
            stage,
            moments: Vec::new(),
            now,
            life: Life::default(),
            screen: Screen::new(),
        }
    }

    /// Until all jobs have run and all machines have ended.
    async fn run(&mut self) -> anyhow::Result<End> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Some(why) = self.stage.poller_failed() {
                return Ok(End::Failed(why));
            }
            let running = match self.look().await {
                Ok(running) => running,
                Err(error) => return Ok(End::Failed(error)),
            };
            self.screen.show(&self.moments, &self.now)?;
            if self.queue.work().is_done() && !running {
                self.screen.finish(&self.moments, &self.now)?;
                return Ok(End::Done);
            }
            if self.queue.now() > LONGEST {
                return Ok(End::Failed(format!("not done in {} s", LONGEST.as_secs())));
            }
        }
    }

    /// Whether any machine runs.
    async fn look(&mut self) -> Result<bool, String> {
        let mut machines = vec![Doing::Nothing; MACHINES];
        self.now.notes = vec![String::new(); MACHINES];
        let occupied = self.stage.occupied().await?;
        let count = occupied.len() as u32;
        for one in occupied {
            let report = targets::report(&one.socket).await;
            let (doing, note) = describe(report.as_ref());
            let lane = one.number as usize - 1;
            if let (Some(cell), Some(place)) =
                (machines.get_mut(lane), self.now.notes.get_mut(lane))
            {
                (*cell, *place) = (doing, note);
            }
            // `demo-SLOT-GENERATION`
            let generation = one.member.as_str().rsplit('-').next();
            let generation = generation.and_then(|text| text.parse().ok()).unwrap_or(1);
            self.life.started.insert(one.number, generation);
        }
        let at = self.queue.now();
        let since = at
            - self
                .moments
                .last()
                .map_or(Duration::ZERO, |moment| moment.at);
        self.life.ran += since * count;
        self.now.counts = self.queue.work().counts(at);
        self.moments.push(Moment {
            at,
            waiting: self.now.counts.waiting,
            machines,
        });
        let page = self.stage.page;
        let asked = tokio::task::spawn_blocking(move || decision(page)).await;
        // That there are enough is no news, and was last read a while ago in quiet times.
        let news = asked
            .ok()
            .flatten()
            .filter(|text| !text.ends_with(": enough") || launches(text));
        if let Some(decision) = news.filter(|news| !self.now.decision.ends_with(news.as_str())) {
            self.now.decision = format!("{}: {decision}", clock(at));
        }
        Ok(count > 0)
    }
}

/// What it does, and what there is to be said of it in 17 columns.
fn describe(report: Option<&StatusReport>) -> (Doing, String) {
    let Some(report) = report else {
        return (Doing::Booting, "starting".to_owned());
    };
    match report.state {
        State::Parked | State::Starting => (Doing::Booting, "booting".to_owned()),
        State::Busy => (Doing::Busy, format!("busy, job {}", report.jobs.started)),
        State::Idle => {
            let ends = report.next.as_ref().map(|next| next.in_seconds);
            let ends = ends.map_or_else(String::new, |seconds| format!(", ends in {seconds} s"));
            (Doing::Idle, format!("idle{ends}"))
        }
        State::Draining | State::Retiring | State::Gone => (Doing::Ending, "ending".to_owned()),
    }
}

/// The poller's own account of its last decision. Its page may not be open yet.
fn decision(page: std::net::SocketAddr) -> Option<String> {
    let (_, body) = agent::call(page, "GET", "/status.json").ok()?;
    let status: serde_json::Value = serde_json::from_slice(&body).ok()?;
    let group = &status["groups"][0];
    let text = group["unknown"].as_str().or(group["decision"].as_str())?;
    Some(text.to_owned())
}

/// Whether that decision started something.
fn launches(decision: &str) -> bool {
    decision.starts_with("launch ") && !decision.starts_with("launch nothing")
}

fn summary(work: &Work, life: &Life) -> String {
    let counts = work.counts(LONGEST);
    let (waits, busy) = (work.waits(), work.busy());
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f32());
    let idle = life.ran.saturating_sub(busy);
    format!(
        "\n{} jobs ran, {} failed. They waited {} (p50), {} (p95), {} at most.\n\
         {} machines ran {} in all: {} busy, {} booting, idle or ending.\n",
        counts.passed + counts.failed,
        counts.failed,
        seconds(percentile(&waits, 50)),
        seconds(percentile(&waits, 95)),
        seconds(percentile(&waits, 100)),
        life.started.values().sum::<u64>(),
        seconds(life.ran),
        seconds(busy),
        seconds(idle),
    )
}

/// Where the picture goes: over itself on a terminal, else some lines now and then.
struct Screen {
    terminal: bool,
    colours: bool,
    /// Lines of the picture that is there.
    drawn: usize,
    /// When a line was printed, and the decision that it told.
    told: (Duration, String),
}

impl Screen {
    fn new() -> Screen {
        let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|it| it == value);
        // A picture that is broken into lines cannot be drawn over.
        let fits = || crate::sys::columns(stdout().as_fd()).is_some_and(|it| it >= WIDTH);
        let terminal = stdout().is_terminal() && !is("TERM", "dumb") && fits();
        Screen {
            terminal,
            colours: terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()),
            drawn: 0,
            told: (Duration::ZERO, String::new()),
        }
    }

    fn show(&mut self, moments: &[Moment], now: &Now) -> std::io::Result<()> {
        if self.terminal {
            return self.picture(moments, now);
        }
        let at = moments.last().map_or(Duration::ZERO, |moment| moment.at);
        // After its time. That the maximum is reached would be told each second.
        let decision = now.decision.split_once(": ").map_or("", |(_, text)| text);
        let decided = launches(decision) && now.decision != self.told.1;
        let mut out = stdout().lock();
        if self.told.0 == Duration::ZERO {
            writeln!(out, "The poller's status page: {}", now.page)?;
        } else if at < self.told.0 + LINES && !decided {
            return Ok(());
        }
        let counts = now.counts;
        let machines = moments.last().map_or(0, |moment| {
            let runs = |doing: &&Doing| **doing != Doing::Nothing;
            moment.machines.iter().filter(runs).count()
        });
        if decided {
            writeln!(out, "{}", now.decision)?;
        }
        writeln!(
            out,
            "{}: {} waiting, {} running, {} done; {machines} machines",
            clock(at),
            counts.waiting,
            counts.running,
            counts.passed + counts.failed
        )?;
        self.told = (at.max(Duration::from_nanos(1)), now.decision.clone());
        Ok(())
    }

    /// The picture stays.
    fn finish(&mut self, moments: &[Moment], now: &Now) -> std::io::Result<()> {
        if !self.terminal {
            writeln!(stdout())?;
        }
        self.picture(moments, now)
    }

    fn picture(&mut self, moments: &[Moment], now: &Now) -> std::io::Result<()> {
        let lines = draw(moments, now, self.colours);
        let mut text = String::new();
        if self.drawn > 0 {
            text += &format!("\x1b[{}A", self.drawn);
        }
        for line in &lines {
            // What was longer before is wiped out.
            text += line;
            text += if self.terminal { "\x1b[K\n" } else { "\n" };
        }
        self.drawn = lines.len();
        let mut out = stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
