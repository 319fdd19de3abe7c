//! `--explain`: why a group was given what it was given.

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::time::Duration;

use super::{Poller, one_thread};
use crate::cli::PollOptions;
use crate::exit::{Status, Usage};
use crate::poll::config::Poll;
use crate::poll::plan::GroupId;
use crate::toml_error::hint;

/// A poller on this machine answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints the last decision of the poller that listens; where none does, reads the queue and the
/// group itself, and launches nothing.
pub fn explain(given: PollOptions, mut poll: Poll, group: &str) -> anyhow::Result<Status> {
    poll.dry_run = true;
    poll.lease_file = None;
    let line = one_thread(async {
        if let Some(line) = ask(poll.listen, group).await? {
            return Ok(line);
        }
        let mut poller = Poller::new(given, poll, true)?;
        poller.run().await?;
        poller.decision(group)
    })?;
    writeln!(stdout(), "{}", line.trim_end())?;
    Ok(Status::Success)
}

/// What the poller at `address` says; `None`: there is none, or it does not know the group.
async fn ask(address: Option<SocketAddr>, group: &str) -> anyhow::Result<Option<String>> {
    let Some(address) = address.filter(|address| address.port() != 0) else {
        return Ok(None);
    };
    let client = crate::tls::plain_client().timeout(PATIENCE).build()?;
    let mut url = reqwest::Url::parse(&format!("http://{address}/explain"))?;
    url.query_pairs_mut().append_pair("group", group);
    match client.get(url).send().await {
        Ok(answer) if answer.status().is_success() => Ok(Some(answer.text().await?)),
        Ok(_) | Err(_) => Ok(None),
    }
}

impl Poller {
    fn decision(&self, group: &str) -> anyhow::Result<String> {
        let Some(view) = self.planner.view(&GroupId::new(group)) else {
            let known: Vec<_> = self
                .groups
                .iter()
                .map(|group| group.settings.id.as_str())
                .collect();
            let hint = hint(group, &known);
            return Err(Usage(format!("--explain {group}: no such group{hint}")).into());
        };
        let why = || {
            view.unknown
                .clone()
                .unwrap_or_else(|| "not decided".to_owned())
        };
        let said = view.decision.as_ref().map(ToString::to_string);
        Ok(format!("{group}: {}", said.unwrap_or_else(why)))
    }
}
