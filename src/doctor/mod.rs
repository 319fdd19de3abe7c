//! `clockout doctor`: will this machine end as it is configured to, and may it?
//!
//! `probe` gathers facts, quickly and without changing anything; `check` is pure and says what
//! they mean for this configuration. A fact that could not be had is a warning, never an ok.

#[cfg(feature = "aws")]
mod aws;
mod check;
mod facts;
mod finding;
#[cfg(not(feature = "aws"))]
mod no_aws;
#[cfg(feature = "poll")]
mod poll;
mod probe;

use std::ffi::OsString;
use std::io::{Write, stdout};

use anyhow::Context;
use serde_json::json;

use crate::cli::RunOptions;
use crate::config::Config;
use crate::exit::{Status, Usage};
use crate::iam::Features;

#[cfg(feature = "poll")]
pub use poll::doctor_poll;

use check::examine;
use finding::{Finding, Level, write_lines};
#[cfg(not(feature = "aws"))]
use no_aws as aws;

/// What is examined.
struct Subject<'a> {
    config: &'a Config,
    #[cfg_attr(not(feature = "aws"), allow(dead_code))]
    features: Features,
    /// `--user`, which need not exist.
    user: Option<&'a str>,
    /// Why the agent on the command line cannot be started.
    refused: Option<&'a str>,
}

/// `clockout doctor run`: the findings on standard output. Fails when there is an error among
/// them; `agent` is empty when nobody gave one.
pub fn doctor(options: RunOptions, agent: Vec<OsString>, json: bool) -> anyhow::Result<Status> {
    report(&findings(options, agent)?, json)
}

fn report(findings: &[Finding], json: bool) -> anyhow::Result<Status> {
    if json {
        writeln!(stdout(), "{}", json!({ "findings": findings }))?;
    } else {
        write_lines(findings, &mut stdout())?;
    }
    let is_bad = findings.iter().any(|finding| finding.level == Level::Error);
    Ok(if is_bad {
        Status::Failure
    } else {
        Status::Success
    })
}

fn findings(mut options: RunOptions, agent: Vec<OsString>) -> anyhow::Result<Vec<Finding>> {
    let features = Features::of(&options);
    // What would keep `run` from starting is a finding here.
    let user = options.user.take();
    let (config, refused) = match Config::new(options.clone(), agent.clone()) {
        Ok(config) => (config, None),
        Err(Usage(what)) if !agent.is_empty() => (Config::new(options, Vec::new())?, Some(what)),
        Err(usage) => return Err(usage.into()),
    };
    let subject = Subject {
        config: &config,
        features,
        user: user.as_deref(),
        refused: refused.as_deref(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let facts = runtime.block_on(probe::gather(&subject));
    // A look that hangs must not be waited for.
    runtime.shutdown_background();
    Ok(examine(&facts, &config))
}
