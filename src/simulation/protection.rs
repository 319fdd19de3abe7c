//! Whether scale-in protection is what it should be, wherever there was time to make it so.

use std::time::Duration;

use super::group::State;
use super::world::World;
use crate::instance::notices::Protect;
use crate::lifecycle::{Instant, Phase};

/// More than an idle machine waits before it gives its protection up, and than it takes to try
/// again.
const PATIENCE: Duration = Duration::from_secs(100);

/// Since when nothing that matters has changed.
#[derive(Debug, Default)]
pub struct Steadiness {
    busy: bool,
    in_service: bool,
    number: u32,
    since: Instant,
}

impl World {
    /// After each event.
    pub(super) fn note_steadiness(&mut self) {
        let supervisor = self.supervisor.as_ref();
        let works = supervisor.is_some_and(|it| {
            let phase = it.life.phase();
            it.is_in_service() && matches!(phase, Phase::Working | Phase::Draining { .. })
        });
        let accepts = matches!(self.group.state, State::InService | State::Standby);
        let is = Steadiness {
            busy: supervisor.is_some_and(|it| it.life.running() > 0),
            in_service: works && accepts,
            number: self.number,
            since: self.now,
        };
        let was = &self.steadiness;
        if (is.busy, is.in_service, is.number) != (was.busy, was.in_service, was.number) {
            self.steadiness = is;
        }
    }

    /// Before the next event.
    pub(super) fn judge_protection(&self) {
        let Steadiness {
            busy, in_service, ..
        } = self.steadiness;
        let wish = match self.nature.protect {
            Protect::Off => false,
            Protect::Busy => busy,
            Protect::Always => true,
        };
        let since = self.judge.answers_since(self.steadiness.since);
        let could = in_service && since.after(PATIENCE) <= self.now;
        assert!(
            !could || self.judge.was_denied() || self.group.is_protected == wish,
            "at {} protection has not been {wish} since {since}",
            self.now
        );
    }
}
