//! Auto Scaling groups of one region.
//!
//! A group is made larger by `SetDesiredCapacity`, which is absolute and has no compare-and-set:
//! the plan has it re-read right before. Or by `LaunchInstances`, which only ever adds and says at
//! once what it could not launch. Nothing else that changes anything is called.

mod activity;
mod launch;
mod read;
mod spread;
mod words;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::types::{AutoScalingGroup, Filter};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::aws::{ApiError, Patience, explain, settings};
use crate::poll::plan::{BackendId, Launched, Order, Place, Trouble};
use crate::poll::source::Later;
use crate::poll::target::{self, Described, Found, Target};
use read::{Zone, read};
use words::trouble;

/// Groups that one call describes, and a page holds ("DescribeAutoScalingGroups").
const PAGE: usize = 100;
/// Calls of one sweep at the same time: Auto Scaling has one rate limit for all of the account's.
const AT_ONCE: usize = 4;
/// More pages than any account can fill. A token that never ends must not be followed for ever.
const MOST_PAGES: usize = 1000;
/// Scaling activities to look at: a hundred launches may have failed at the same time.
const ACTIVITIES: i32 = 100;
/// A page of large groups is megabytes.
const PATIENCE: Patience = Patience {
    attempt: Duration::from_secs(10),
    operation: Duration::from_secs(15),
};

/// `target = { kind = "asg", ... }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The Auto Scaling group's name. Discovered groups have their own.
    #[serde(default)]
    name: String,
    /// Its region; else `AWS_REGION`, the profile's, or this instance's.
    region: Option<String>,
    /// `set-desired`: raise the desired capacity. `launch-instances`: launch synchronously, which
    /// needs a launch template, and cannot lower what somebody else has raised.
    #[serde(default)]
    launch: Launch,
    /// With `launch-instances`, the only zones to launch in; else all of the group's.
    #[serde(default)]
    zones: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Launch {
    #[default]
    SetDesired,
    LaunchInstances,
}

impl Spec {
    pub fn launch(&self) -> Launch {
        self.launch
    }

    /// Where it is, as far as the file and the environment say.
    pub fn region(&self) -> Option<String> {
        let names = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
        let mut named = names.filter_map(|name| std::env::var(name).ok());
        let told = self.region.clone();
        told.or_else(|| named.find(|region| !region.is_empty()))
    }
}

impl target::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        // One bad name would spoil the description of a hundred groups.
        let length = self.name.chars().count();
        if !(1..=255).contains(&length) || self.name.chars().any(char::is_control) {
            return Err("name: the Auto Scaling group's, 1 to 255 characters".to_owned());
        }
        if self.region.as_deref() == Some("") {
            return Err("region is empty: leave it out for this machine's".to_owned());
        }
        if !self.zones.is_empty() && self.launch == Launch::SetDesired {
            return Err(
                "zones has no effect with launch = \"set-desired\": the group chooses; use \
                 \"launch-instances\""
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn backend(&self) -> BackendId {
        BackendId::new(match self.region() {
            Some(region) => format!("asg {region}"),
            None => "asg".to_owned(),
        })
    }

    fn place(&self) -> Place {
        Place::new(&self.name)
    }

    fn fill(&mut self, place: &Place) {
        self.name = place.as_str().to_owned();
    }

    fn open(&self) -> Box<dyn Target> {
        Box::new(Asg {
            region: self.region(),
            client: OnceCell::new(),
            calls: RefCell::default(),
            groups: RefCell::default(),
        })
    }
}

/// The groups of a region.
struct Asg {
    region: Option<String>,
    /// Made when it is first used.
    client: OnceCell<Client>,
    calls: RefCell<BTreeMap<&'static str, u64>>,
    groups: RefCell<BTreeMap<Place, Known>>,
}

/// What is kept of a group beside its supply.
#[derive(Debug, Clone, Default)]
struct Known {
    launch: Launch,
    /// The only ones to launch in; empty: all.
    chosen: Vec<String>,
    /// At the last read.
    zones: Vec<Zone>,
}

impl Asg {
    async fn client(&self) -> &Client {
        let made = self
            .client
            .get_or_init(|| async { Client::new(&settings(self.region.clone(), PATIENCE).await) });
        made.await
    }

    fn count(&self, operation: &'static str) {
        *self.calls.borrow_mut().entry(operation).or_default() += 1;
    }

    /// Every page of what these names or this filter select.
    async fn pages(
        &self,
        names: &[Place],
        filter: Option<Filter>,
    ) -> Result<Vec<AutoScalingGroup>, ApiError> {
        let client = self.client().await;
        let (mut groups, mut next) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            self.count("DescribeAutoScalingGroups");
            let call = client.describe_auto_scaling_groups();
            let names = names.iter().map(|name| name.as_str().to_owned()).collect();
            let call = call.set_auto_scaling_group_names(Some(names));
            let call = call.set_filters(filter.clone().map(|filter| vec![filter]));
            let call = call.max_records(PAGE as i32).set_next_token(next);
            let output = call.send().await.map_err(explain)?;
            groups.extend(output.auto_scaling_groups.unwrap_or_default());
            next = output.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(groups);
            }
        }
        Err(ApiError::Unanswered(format!(
            "the list of groups does not end after {MOST_PAGES} pages"
        )))
    }

    /// One call's worth of groups.
    async fn describe_page(&self, places: &[Place]) -> Result<Described, Trouble> {
        let groups = self.pages(places, None).await;
        let groups = groups.map_err(|error| trouble(&error))?;
        let mut described: Described = places
            .iter()
            .map(|place| {
                (
                    place.clone(),
                    Err("there is no such Auto Scaling group".to_owned()),
                )
            })
            .collect();
        for group in groups {
            let Some(name) = group.auto_scaling_group_name() else {
                continue;
            };
            let place = Place::new(name);
            let supply = match read(&group) {
                None => Err("its sizes are not told".to_owned()),
                Some(read) => {
                    self.remember(&place, read.zones);
                    read.units.map_or(Ok(read.supply), Err)
                }
            };
            described.insert(place, supply);
        }
        Ok(described)
    }

    fn remember(&self, place: &Place, zones: Vec<Zone>) {
        let mut groups = self.groups.borrow_mut();
        groups.entry(place.clone()).or_default().zones = zones;
    }

    fn known(&self, place: &Place) -> Known {
        let groups = self.groups.borrow();
        groups.get(place).cloned().unwrap_or_default()
    }
}

impl Target for Asg {
    fn adopt(&self, spec: &crate::poll::targets::Spec) {
        let crate::poll::targets::Spec::Asg(spec) = spec else {
            return;
        };
        let mut groups = self.groups.borrow_mut();
        let known = groups.entry(Place::new(&spec.name)).or_default();
        known.launch = spec.launch;
        known.chosen.clone_from(&spec.zones);
    }

    fn describe<'a>(&'a self, places: &'a [Place]) -> Later<'a, Result<Described, Trouble>> {
        Box::pin(async move {
            let pages = stream::iter(places.chunks(PAGE));
            let pages = pages.map(|page| async move { (page, self.describe_page(page).await) });
            let mut pages = pages.buffer_unordered(AT_ONCE);
            let (mut described, mut failed) = (Described::new(), Vec::new());
            while let Some((page, told)) = pages.next().await {
                match told {
                    Ok(told) => described.extend(told),
                    Err(trouble) => failed.push((page, trouble)),
                }
            }
            // One page's failure is not the others'.
            if described.is_empty()
                && let Some((_, trouble)) = failed.pop()
            {
                return Err(trouble);
            }
            for (page, trouble) in failed {
                let unknown = page.iter().cloned();
                described.extend(unknown.map(|place| (place, Err(trouble.message.clone()))));
            }
            Ok(described)
        })
    }

    fn discover<'a>(&'a self, tag: &'a str) -> Later<'a, Result<Vec<Found>, Trouble>> {
        Box::pin(async move {
            let filter = Filter::builder().name("tag-key").values(tag).build();
            let groups = self.pages(&[], Some(filter)).await;
            let groups = groups.map_err(|error| trouble(&error))?;
            let found = groups.iter().filter_map(|group| self.found(group, tag));
            Ok(found.collect())
        })
    }

    fn launch<'a>(&'a self, place: &'a Place, order: &'a Order) -> Later<'a, Launched> {
        Box::pin(async move {
            let known = self.known(place);
            match known.launch {
                Launch::SetDesired => self.set_desired(place, order).await,
                Launch::LaunchInstances => self.launch_instances(place, order, known).await,
            }
        })
    }

    fn troubles<'a>(&'a self, place: &'a Place) -> Later<'a, Result<Vec<Trouble>, Trouble>> {
        Box::pin(async move {
            self.count("DescribeScalingActivities");
            let call = self.client().await.describe_scaling_activities();
            let call = call.auto_scaling_group_name(place.as_str());
            let told = call.max_records(ACTIVITIES).send().await.map_err(explain);
            let told = told.map_err(|error| trouble(&error))?;
            Ok(activity::troubles(told.activities(), SystemTime::now()))
        })
    }

    fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.calls.borrow().clone()
    }
}

impl Asg {
    fn found(&self, group: &AutoScalingGroup, tag: &str) -> Option<Found> {
        let place = Place::new(group.auto_scaling_group_name()?);
        let mut tags = group.tags().iter();
        // The filter knows no case; a tag's key does.
        let value = tags.find(|one| one.key() == Some(tag))?.value()?.to_owned();
        let read = read(group)?;
        self.remember(&place, read.zones);
        let mut supply = read.supply;
        supply.held = read.units.or(supply.held);
        Some(Found {
            place,
            value,
            supply,
        })
    }
}
