//! `clockout doctor poll`: can every queue and group be read, may the groups be made larger, and
//! what ends busy machines in them?
//!
//! Changes nothing. What could not be asked is a warning, never an ok.

mod check;
#[cfg(feature = "aws")]
mod settings;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::{AccessFlags, access};

use super::facts::{Allowed, Fact, Group};
use super::finding::Finding;
use super::report;
use crate::cli::DoctorPoll;
use crate::exit::Status;
use crate::poll::{Looked, Poll, load, look};

/// What is known of a configuration's world.
struct Facts {
    groups: Vec<Seen>,
    /// Tags, and how many groups of ours have them.
    tags: Vec<(String, Result<usize, String>)>,
    lease: Option<(PathBuf, Result<(), String>)>,
    listen: Option<(SocketAddr, Result<(), String>)>,
}

struct Seen {
    looked: Looked,
    /// `None`: it is no Auto Scaling group.
    settings: Option<Fact<Settings>>,
}

/// An Auto Scaling group, as far as the poller is concerned.
#[cfg_attr(not(feature = "aws"), allow(dead_code))]
#[derive(Clone)]
struct Settings {
    group: Group,
    has_launch_template: bool,
    /// Its mixed instances policy has both on-demand and spot instances.
    is_mixed: bool,
    /// Scheduled actions that can make it smaller, by name.
    lowering: Fact<Vec<String>>,
    /// Whether it may be made larger; `None`: it was not tried, others of its kind were.
    may_raise: Option<Allowed>,
}

/// The findings on standard output; fails when there is an error among them.
pub fn doctor_poll(wanted: DoctorPoll) -> anyhow::Result<Status> {
    let (_, poll) = load(&wanted.options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let facts = runtime.block_on(gather(&poll));
    // A look that hangs must not be waited for.
    runtime.shutdown_background();
    let findings: Vec<Finding> = check::examine(&facts);
    report(&findings, wanted.json)
}

async fn gather(poll: &Poll) -> Facts {
    let (looked, tags) = look(poll).await;
    #[cfg(feature = "aws")]
    let groups = settings::ask(looked).await;
    #[cfg(not(feature = "aws"))]
    let groups = looked.into_iter().map(|looked| Seen {
        looked,
        settings: None,
    });
    let lease = poll.lease_file.as_ref();
    Facts {
        groups: groups.into_iter().collect(),
        tags,
        lease: lease.map(|path| (path.clone(), may_lock(path))),
        listen: poll.listen.map(|address| (address, may_listen(address))),
    }
}

/// Without making the file: what a poller of another user makes cannot be opened by this one.
fn may_lock(path: &Path) -> Result<(), String> {
    if path.exists() {
        let file = std::fs::OpenOptions::new().write(true).open(path);
        return file.map(drop).map_err(|error| error.to_string());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let writable = access(parent, AccessFlags::W_OK | AccessFlags::X_OK);
    writable.map_err(|error| format!("{}: {error}", parent.display()))
}

fn may_listen(address: SocketAddr) -> Result<(), String> {
    let listener = TcpListener::bind(address);
    listener.map(drop).map_err(|error| error.to_string())
}
