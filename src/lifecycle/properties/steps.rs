//! Steps that come and go, against what makes them jobs.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::lives;
use super::script::{self, Step};
use super::world::{Nature, World};
use crate::lifecycle::*;

proptest! {
    #![proptest_config(lives())]

    /// Steps one after the other, some closer together than others: each longer pause ends a job.
    #[test]
    fn only_a_long_pause_parts_jobs(
        settings in script::jobs(),
        linger in 1..20_u64,
        steps in vec((1..40_u64, 1..40_u64, any::<bool>()), 1..12),
    ) {
        let settings = Settings {
            agents: 1,
            slots: 1,
            drain: DrainMethod::Signal,
            limits: Limits::none(),
            linger: Some(Duration::from_secs(linger)),
            detectors: vec![DetectorKind::Edges],
            sampling: None,
            ..settings
        };
        let mut world = World::new(settings, Nature::kind());
        let (mut begun, mut ended) = (0, 0);
        let mut pause = u64::MAX;
        for (lasts, then, restart) in steps {
            begun += u32::from(pause >= linger);
            let observed = |seen| Event::Observed(AgentIndex(1), DetectorIndex(0), seen);
            world.tell(observed(Observation::Started { id: None }));
            prop_assert_eq!(world.watch.told, (begun, ended));
            world.wait(Duration::from_secs(lasts));
            let outcome = Outcome::Passed;
            world.tell(observed(Observation::Finished { id: None, outcome }));
            if restart {
                world.plays(&[Step::Restart]);
            }
            world.wait(Duration::from_secs(then));
            pause = then;
            ended += u32::from(pause >= linger);
            prop_assert_eq!(world.watch.told, (begun, ended));
        }
        prop_assert_eq!(world.life.started(), begun);
    }
}
