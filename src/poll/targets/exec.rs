//! `exec`: two commands of the user's, one that tells what is there and one that adds to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;

use crate::config::Time;
use crate::poll::command::{self, CommandError, Ran};
use crate::poll::plan::{
    BackendId, Launched, Listed, Member, Order, Place, Stage, Supply, Trouble, TroubleKind,
};
use crate::poll::source::Later;
use crate::poll::target::{self, Described, Found, Target};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Commands of one describe that run at once.
const AT_ONCE: usize = 8;
/// `EX_TEMPFAIL` of sysexits.h.
const NO_CAPACITY: i32 = 75;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Prints what is there as one JSON object: `{"alive": 3, "booting": 1, "desired": 4, "max": 9}`
    /// (`alive` counts the booting too, `desired` is `alive` where it is missing), or
    /// `{"members": [{"id": "a", "stage": "booting|up|away"}], ...}`, which tells how long each one
    /// boots. `"held": "why"` forbids to launch.
    supply: Vec<String>,
    /// Adds `CLOCKOUT_COUNT` instances for `CLOCKOUT_GROUP`, which makes `CLOCKOUT_DESIRED`. A
    /// repeated `CLOCKOUT_TOKEN` must not add again. Exit status 0: it did; 75: there is no
    /// capacity now; any other: it did nothing. It may print `{"count": 2, "members": ["a", "b"]}`.
    launch: Vec<String>,
    /// How long each of them may take [default: 30s].
    timeout: Option<Time>,
}

impl target::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        for (key, argv) in [("supply", &self.supply), ("launch", &self.launch)] {
            if argv.first().is_none_or(String::is_empty) {
                return Err(format!(
                    "{key}: give a command and its arguments, as a list"
                ));
            }
        }
        Ok(())
    }

    /// Each is its own: one that is slow makes no other late.
    fn backend(&self) -> BackendId {
        BackendId::new(format!("exec {}", self.place()))
    }

    fn place(&self) -> Place {
        Place::new(self.supply.join(" "))
    }

    /// None is ever discovered.
    fn fill(&mut self, _place: &Place) {}

    fn open(&self) -> Box<dyn Target> {
        Box::new(Commands::default())
    }
}

#[derive(Default)]
struct Commands {
    specs: RefCell<BTreeMap<Place, Rc<Spec>>>,
    calls: RefCell<BTreeMap<&'static str, u64>>,
}

impl Commands {
    fn spec(&self, place: &Place) -> Result<Rc<Spec>, String> {
        let specs = self.specs.borrow();
        let unknown = || format!("no exec group of the configuration is '{place}'");
        specs.get(place).cloned().ok_or_else(unknown)
    }

    fn count(&self, operation: &'static str) {
        *self.calls.borrow_mut().entry(operation).or_default() += 1;
    }

    async fn supply(&self, place: &Place) -> Result<Supply, String> {
        let spec = self.spec(place)?;
        self.count("supply");
        let ran = command::run(&spec.supply, &[], spec.limit()).await;
        let ran = ran.map_err(|error| error.to_string())?;
        if !ran.status.success() {
            return Err(format!("{place}: {}", ran.complaint()));
        }
        parse_supply(&ran.stdout).map_err(|error| format!("{place}: {error}"))
    }
}

impl Spec {
    fn limit(&self) -> Duration {
        self.timeout.map_or(TIMEOUT, |time| time.0)
    }
}

impl Target for Commands {
    fn adopt(&self, spec: &super::Spec) {
        if let super::Spec::Exec(spec) = spec {
            let place = target::Spec::place(spec);
            let mut specs = self.specs.borrow_mut();
            specs.insert(place, Rc::new(spec.clone()));
        }
    }

    fn describe<'a>(&'a self, places: &'a [Place]) -> Later<'a, Result<Described, Trouble>> {
        Box::pin(async move {
            let asked = futures_util::stream::iter(places)
                .map(async |place| (place.clone(), self.supply(place).await));
            Ok(asked.buffer_unordered(AT_ONCE).collect().await)
        })
    }

    fn discover<'a>(&'a self, _tag: &'a str) -> Later<'a, Result<Vec<Found>, Trouble>> {
        Box::pin(async {
            let message = "groups of commands have no tags to be found by";
            Err(trouble(TroubleKind::Denied, message.to_owned()))
        })
    }

    fn launch<'a>(&'a self, place: &'a Place, order: &'a Order) -> Later<'a, Launched> {
        Box::pin(async move {
            let spec = match self.spec(place) {
                Ok(spec) => spec,
                Err(error) => return Launched::Refused(trouble(TroubleKind::Other, error)),
            };
            self.count("launch");
            let env = [
                ("CLOCKOUT_GROUP", order.group.to_string()),
                ("CLOCKOUT_COUNT", order.count.to_string()),
                ("CLOCKOUT_DESIRED", order.desired.to_string()),
                ("CLOCKOUT_TOKEN", order.token.clone()),
            ];
            launched(
                order.count.get(),
                command::run(&spec.launch, &env, spec.limit()).await,
            )
        })
    }

    /// Its own exit status is all that is known.
    fn troubles<'a>(&'a self, _place: &'a Place) -> Later<'a, Result<Vec<Trouble>, Trouble>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.calls.borrow().clone()
    }
}

/// What `supply` prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    alive: Option<u32>,
    #[serde(default)]
    booting: u32,
    desired: Option<u32>,
    max: Option<u32>,
    members: Option<Vec<ToldMember>>,
    held: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToldMember {
    id: String,
    stage: ToldStage,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ToldStage {
    Booting,
    Up,
    Away,
}

/// More would be a mistake, and each is a member here.
const MOST_MEMBERS: u32 = 100_000;

fn parse_supply(stdout: &[u8]) -> Result<Supply, String> {
    let told: Told = serde_json::from_slice(stdout)
        .map_err(|error| format!("what it prints is no supply: {error}"))?;
    let members = match (told.members, told.alive) {
        (Some(_), Some(_)) => return Err("it tells both members and alive: leave one out".into()),
        (None, None) => return Err("it tells neither alive nor members".to_owned()),
        (Some(members), None) => members.into_iter().map(listed).collect(),
        (None, Some(alive)) if told.booting > alive => {
            let booting = told.booting;
            return Err(format!(
                "booting is {booting} of {alive} alive: alive counts the booting too"
            ));
        }
        (None, Some(alive)) if alive > MOST_MEMBERS => {
            return Err(format!("alive is {alive}, more than {MOST_MEMBERS}"));
        }
        (None, Some(alive)) => nameless(alive - told.booting, told.booting),
    };
    let alive = members
        .iter()
        .filter(|it: &&Listed| it.stage != Stage::Away)
        .count() as u32;
    Ok(Supply {
        desired: told.desired.unwrap_or(alive),
        max: told.max,
        members,
        held: told.held,
    })
}

fn listed(told: ToldMember) -> Listed {
    Listed {
        member: Member::new(told.id),
        stage: match told.stage {
            ToldStage::Booting => Stage::Booting,
            ToldStage::Up => Stage::Up,
            ToldStage::Away => Stage::Away,
        },
    }
}

/// Which is which nobody knows: the numbers that are up come first, so that one that comes up
/// is seen to.
fn nameless(up: u32, booting: u32) -> Vec<Listed> {
    let number = |(number, stage): (u32, Stage)| Listed {
        member: Member::new(format!("#{number}")),
        stage,
    };
    let stages = (0..up)
        .map(|_| Stage::Up)
        .chain((0..booting).map(|_| Stage::Booting));
    (1..).zip(stages).map(number).collect()
}

/// What `launch` may print.
#[derive(Deserialize)]
struct ToldLaunch {
    count: Option<u32>,
    #[serde(default)]
    members: Vec<String>,
}

fn launched(wanted: u32, ran: Result<Ran, CommandError>) -> Launched {
    let ran = match ran {
        Ok(ran) => ran,
        Err(error @ CommandError::NotStarted { .. }) => {
            return Launched::Refused(trouble(TroubleKind::Denied, error.to_string()));
        }
        // It may have got as far as adding them.
        Err(error) => return Launched::Unknown(error.to_string()),
    };
    if ran.status.signal().is_some() {
        return Launched::Unknown(ran.complaint());
    }
    let told: Option<ToldLaunch> = serde_json::from_slice(&ran.stdout).ok();
    let count = told.as_ref().and_then(|told| told.count);
    let trouble = || {
        let kind = match ran.status.code() {
            Some(NO_CAPACITY) => TroubleKind::Capacity,
            _ => TroubleKind::Other,
        };
        trouble(kind, ran.complaint())
    };
    match (ran.status.success(), count) {
        (true, Some(count)) if count < wanted => Launched::Partly {
            count,
            trouble: trouble(),
        },
        (true, _) => {
            let members = told.map_or_else(Vec::new, |told| told.members);
            Launched::Accepted {
                count: wanted,
                members: members.into_iter().map(Member::new).collect(),
            }
        }
        (false, Some(count @ 1..)) => Launched::Partly {
            count: count.min(wanted),
            trouble: trouble(),
        },
        (false, _) => Launched::Refused(trouble()),
    }
}

fn trouble(kind: TroubleKind, message: String) -> Trouble {
    Trouble {
        kind,
        scope: String::new(),
        message,
    }
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
