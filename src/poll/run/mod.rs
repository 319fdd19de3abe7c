//! The loop that performs what the [`Planner`] decides: one thread, one `select!`, one timer.
//!
//! Nothing in it waits: each read and each launch is a task of its own with a time limit, so that
//! a server that is silent holds up nobody else's groups.

mod discover;
mod explain;
mod groups;
mod leave;
mod perform;
mod publish;
mod say;

use std::sync::Arc;

use futures_util::StreamExt;
use signal_hook_tokio::Signals;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tracing::{info, warn};

use super::config::{self, Poll};
use super::http::Http;
use super::lease::Lease;
use super::plan::{Event, Planner, Settings};
use super::server;
use super::snapshot::Snapshot;
use crate::cli::PollOptions;
use crate::clock::{self, Alarm};
use crate::exit::{Status, Usage};
use crate::lifecycle::Instant;
use discover::Discovery;
use groups::Groups;
use perform::Done;
use say::Voice;

pub use explain::explain;

/// Polls until it is told to stop, or for one round.
pub fn run(given: PollOptions, poll: Poll, once: bool) -> anyhow::Result<Status> {
    one_thread(async {
        let listen = poll.listen.filter(|_| !once);
        let mut poller = Poller::new(given, poll, once)?;
        if let Some(address) = listen {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                Usage(format!(
                    "--listen {address}: {error}; use another address, or end what listens there"
                ))
            })?;
            info!(address = %listener.local_addr()?, "poll.listening");
            let news = poller.news.subscribe();
            tokio::task::spawn_local(server::serve(listener, news));
        }
        poller.run().await
    })
}

/// Runs it to its end, with tasks that need not be `Send`.
fn one_thread<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = LocalSet::new().block_on(&runtime, work);
    // A name lookup that hangs in the resolver must not hold up the end.
    runtime.shutdown_background();
    result
}

struct Poller {
    /// As given on the command line, to read the rest again on SIGHUP.
    given: PollOptions,
    poll: Poll,
    once: bool,
    groups: Groups,
    planner: Planner,
    discovery: Discovery,
    /// `None`: nobody asked for one, or it is sought.
    lease: Option<Lease>,
    seeking: bool,
    tasks: JoinSet<Done>,
    voice: Voice,
    news: watch::Sender<Arc<Snapshot>>,
    /// When the last snapshot was made, and whether there is news since.
    published: Instant,
    changed: bool,
    started: f64,
}

impl Poller {
    fn new(given: PollOptions, poll: Poll, once: bool) -> anyhow::Result<Poller> {
        let http = if poll.dry_run {
            Http::harmless()
        } else {
            Http::new()
        };
        let groups = Groups::new(&poll, http);
        let now = clock::now();
        let planner = Planner::new(groups.settings(&poll), now, publish::since_1970());
        Ok(Poller {
            discovery: Discovery::new(&poll),
            lease: None,
            seeking: false,
            tasks: JoinSet::new(),
            voice: Voice::new(once),
            news: watch::Sender::new(Arc::default()),
            published: Instant::default(),
            changed: true,
            started: publish::since_1970().as_secs_f64(),
            given,
            poll,
            once,
            groups,
            planner,
        })
    }

    async fn run(&mut self) -> anyhow::Result<Status> {
        let mut signals = Signals::new([libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?;
        let mut alarm = Alarm::new()?;
        self.voice.begin(&self.poll, &self.groups);
        if let Some(path) = self.poll.lease_file.clone() {
            self.feed(Event::Leader(false));
            self.seek_lease(Lease::file(path));
        }
        self.feed(Event::Tick);
        loop {
            self.look_for_groups(clock::now());
            self.publish();
            if self.once && self.finished() {
                return Ok(self.voice.verdict());
            }
            let next = [
                self.planner.next_deadline(),
                self.discovery.next(),
                self.publish_at(),
            ];
            alarm.set(next.into_iter().flatten().min())?;
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Some(libc::SIGHUP) => self.reload(),
                    _ => break,
                },
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(error) => warn!(%error, "poll.task"),
                },
                rang = alarm.ring() => {
                    rang?;
                    self.feed(Event::Tick);
                }
            }
        }
        self.leave().await;
        Ok(Status::Success)
    }

    /// Every queue and group was looked at, and everything decided is done.
    fn finished(&self) -> bool {
        let sought = usize::from(self.seeking);
        self.tasks.len() == sought && self.discovery.complete() && self.planner.settled()
    }

    /// Tells the planner, and begins what it asks for.
    fn feed(&mut self, event: Event) {
        for action in self.planner.handle(clock::now(), event) {
            self.perform(action);
        }
        self.changed = true;
    }

    /// Reads the configuration anew. A bad one changes nothing.
    fn reload(&mut self) {
        match config::load(&self.given) {
            Ok((_, poll)) => {
                let fixed = |poll: &Poll| (poll.listen, poll.lease_file.clone(), poll.dry_run);
                if fixed(&poll) != fixed(&self.poll) {
                    warn!(
                        "config.partly: listen, lease_file and dry_run change with a restart only"
                    );
                }
                // What is open already was told whether it may change anything.
                let dry_run = self.poll.dry_run;
                self.poll = Poll { dry_run, ..poll };
                self.discovery.reload(&self.poll);
                self.regroup();
                info!(groups = self.groups.len(), "config.reloaded");
            }
            Err(error) => warn!(%error, "config.kept: the new one is bad"),
        }
    }

    /// Settings follow from the configuration and from what was discovered.
    fn regroup(&mut self) {
        self.groups.arrange(&self.poll, self.discovery.found());
        let settings: Settings = self.groups.settings(&self.poll);
        self.feed(Event::Settings(settings));
    }
}
