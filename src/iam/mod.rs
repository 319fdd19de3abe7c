//! `clockout policy`: the least that AWS must allow for one configuration, and why.
//!
//! [`Features`] is what of a configuration matters, [`Features::needs`] maps it to permissions
//! with their reasons, `document.rs` writes them in IAM's language. `clockout doctor` tries the
//! same list on the instance.

mod action;
mod document;
mod explain;
mod needs;
mod place;
#[cfg(feature = "poll")]
mod poll;
#[cfg(test)]
mod tests;

use std::io::{Write, stderr, stdout};
use std::time::Duration;

use serde::Deserialize;

#[cfg(feature = "poll")]
use crate::cli::PolicyPoll;
use crate::cli::{PolicyOptions, RunOptions};
use crate::exit::Status;
use crate::instance::{GROUP_TAG, metadata};

pub use action::Action;
pub use document::SelfTerminate;
pub use needs::{Features, Need};
pub use place::Account;

use explain::Explained;
use place::Place;

/// Where the policy holds is only looked up for convenience.
const PATIENCE: Duration = Duration::from_secs(3);

/// `clockout policy run`: the policy on standard output, the reasons on standard error; with
/// `json` both on standard output.
pub fn policy(options: &RunOptions, wanted: PolicyOptions, json: bool) -> anyhow::Result<Status> {
    say(&explain(options, wanted)?, json)
}

/// `clockout policy poll`: as [`policy`], of the poller.
#[cfg(feature = "poll")]
pub fn policy_poll(wanted: PolicyPoll) -> anyhow::Result<Status> {
    let (_, configured) = crate::poll::load(&wanted.options)?;
    let uses = crate::poll::Uses::of(&configured);
    let mut place = Place {
        region: wanted.region,
        account: wanted.account.map(|account| account.0),
        group: None,
    };
    if !poll::explain(&uses, &place, false).placeholders.is_empty() {
        place = look_up(place)?;
    }
    say(
        &poll::explain(&uses, &place, wanted.for_doctor),
        wanted.json,
    )
}

fn say(explained: &Explained, json: bool) -> anyhow::Result<Status> {
    if json {
        let text = serde_json::to_string_pretty(&explained.to_json())?;
        writeln!(stdout(), "{text}")?;
        return Ok(Status::Success);
    }
    if let Some(document) = &explained.document {
        writeln!(stdout(), "{}", serde_json::to_string_pretty(document)?)?;
    }
    explained.write(&mut stderr())?;
    Ok(Status::Success)
}

fn explain(options: &RunOptions, wanted: PolicyOptions) -> anyhow::Result<Explained> {
    let features = Features {
        grouped: !wanted.no_group,
        hooks: !wanted.no_hooks,
        doctor: wanted.for_doctor,
        ..Features::of(options)
    };
    let needs = features.needs();
    let mut place = Place {
        region: wanted.region,
        account: wanted.account.map(|account| account.0),
        group: wanted.group,
    };
    if !place.placeholders(&needs).is_empty() {
        place = look_up(place)?;
    }
    let form = wanted.self_terminate.unwrap_or_default();
    Ok(Explained::of_run(&needs, &place, form))
}

/// What this instance's metadata says, where nobody said it.
fn look_up(mut place: Place) -> anyhow::Result<Place> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        account_id: String,
        region: String,
    }
    let Ok(imds) = metadata() else {
        return Ok(place);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let asked = async {
            let document = imds
                .get("dynamic/instance-identity/document")
                .await
                .ok()??;
            let document: Document = serde_json::from_str(&document).ok()?;
            place.region.get_or_insert(document.region);
            place.account.get_or_insert(document.account_id);
            if place.group.is_none() {
                place.group = imds.get(GROUP_TAG).await.ok()?;
            }
            Some(())
        };
        // Without an answer the placeholders stay.
        let _ = tokio::time::timeout(PATIENCE, asked).await;
    });
    Ok(place)
}
