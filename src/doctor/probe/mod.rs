//! Gathers the facts. Each look has a time limit, all of them together take less than ten
//! seconds, and what came too late is unknown.

mod command;
mod host;
mod metadata;

use std::time::Duration;

use tokio::time::Instant;

use super::facts::{Aws, Facts, Metadata};
use super::{Subject, aws};
use crate::instance::Mode;

/// For the metadata service, whose answers come within milliseconds or not at all.
const METADATA: Duration = Duration::from_secs(4);
/// For AWS, beginning when the metadata service is done.
const CLOUD: Duration = Duration::from_secs(5);
/// For what is asked of the machine itself, at the same time.
const HOST: Duration = Duration::from_secs(3);

pub(super) async fn gather(subject: &Subject<'_>) -> Facts {
    let now = Instant::now();
    let cloud = async {
        let metadata = metadata::ask(now + METADATA).await;
        let aws = match &metadata {
            // Who ends without AWS and leaves the machine as it is has nothing to ask.
            Metadata::Answers(_) if subject.config.retire.mode == Mode::Exit => Aws::NotAsked,
            Metadata::Answers(answers) => aws::ask(subject, answers, Instant::now() + CLOUD).await,
            _ => Aws::NotAsked,
        };
        (metadata, aws)
    };
    let ((metadata, aws), host) = tokio::join!(cloud, host::look(subject, now + HOST));
    Facts {
        metadata,
        aws,
        host,
    }
}
