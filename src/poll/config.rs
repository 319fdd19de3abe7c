//! `[poll]`, `[[group]]` and `[[discover]]` become one validated [`Poll`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::plan::{BackendId, BootBounds, GroupId, GroupSettings, Place, Round, SourceId};
use super::source::Spec as _;
use super::target::Spec as _;
use super::{sources, targets};
use crate::cli::PollOptions;
use crate::config::{DEFAULT_FILE, Time, read_file};
use crate::exit::Usage;
use crate::toml_error::hint;

const INTERVAL: Duration = Duration::from_secs(10);
/// What servers and Auto Scaling bear, and what a slip of the keyboard could ask for.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// An instance is never given up earlier, however fast others were.
const LEAST_BOOT: Duration = Duration::from_secs(60);
const MOST_BOOT: Duration = Duration::from_secs(600);

/// Everything `poll` needs to know, checked.
#[derive(Debug, Clone)]
pub struct Poll {
    pub interval: Duration,
    pub listen: Option<SocketAddr>,
    /// Over all groups.
    pub max_instances: Option<u32>,
    pub lease_file: Option<PathBuf>,
    pub dry_run: bool,
    pub groups: Vec<Group>,
    pub discover: Vec<Discover>,
}

#[derive(Debug, Clone)]
pub struct Group {
    pub settings: GroupSettings,
    /// `None`: it is somebody's fallback.
    pub source: Option<sources::Spec>,
    pub target: targets::Spec,
    /// The value of the tag by which it was found; `None`: the configuration names it.
    pub tag: Option<String>,
}

/// Groups that are found by their tag.
#[derive(Debug, Clone)]
pub struct Discover {
    pub tag: String,
    /// Only values that begin with it and a slash; `None`: all.
    pub namespace: Option<String>,
    source: sources::Spec,
    target: targets::Spec,
    sizes: Sizes,
}

/// What the poller reads of the file; the rest is `run`'s.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    run: IgnoredAny,
    poll: PollOptions,
    group: Vec<GroupTable>,
    discover: Vec<DiscoverTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupTable {
    name: String,
    source: Option<sources::Spec>,
    target: targets::Spec,
    slots: Option<u32>,
    max: Option<u32>,
    headroom: Option<u32>,
    step: Option<u32>,
    round: Option<f64>,
    boot_timeout: Option<Time>,
    fallback: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiscoverTable {
    kind: String,
    tag: String,
    namespace: Option<String>,
    region: Option<String>,
    launch: Option<String>,
    source: sources::Spec,
    slots: Option<u32>,
    max: Option<u32>,
    headroom: Option<u32>,
    step: Option<u32>,
    round: Option<f64>,
    boot_timeout: Option<Time>,
}

/// The numbers of a group.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    slots: NonZeroU32,
    max: Option<u32>,
    headroom: u32,
    step: Option<NonZeroU32>,
    round: Round,
    boot: BootBounds,
}

/// Both kinds of table have these keys. Serde can share them between two structs (`flatten`), but
/// then refuses no unknown key.
macro_rules! sizes {
    ($table:ident) => {
        Sizes::new(
            $table.slots,
            $table.max,
            $table.headroom,
            $table.step,
            $table.round,
            $table.boot_timeout,
        )
    };
}

/// The options with the file's values where neither flag nor environment has one, and the rest of
/// the file, checked.
pub fn load(given: &PollOptions) -> Result<(PollOptions, Poll), Usage> {
    let file = read_file::<File>(given.config.as_deref()).map_err(left_out)?;
    if file.group.is_empty() && file.discover.is_empty() {
        return Err(nothing(given.config.as_deref()));
    }
    let mut options = given.clone();
    macro_rules! fill {
        ($($field:ident),*) => { $(options.$field = options.$field.take().or(file.poll.$field);)* };
    }
    fill!(
        interval,
        listen,
        max_instances,
        lease_file,
        log_format,
        log_level,
        dry_run
    );
    let groups = file.group.into_iter().map(Group::new);
    let discover = file.discover.into_iter().map(Discover::new);
    let poll = Poll {
        interval: options.interval.map_or(INTERVAL, |time| time.0),
        listen: options.listen,
        max_instances: options.max_instances,
        lease_file: options.lease_file.clone(),
        dry_run: options.dry_run.unwrap_or(false),
        groups: groups.collect::<Result<_, _>>().map_err(Usage)?,
        discover: discover.collect::<Result<_, _>>().map_err(Usage)?,
    };
    poll.check().map_err(Usage)?;
    Ok((options, poll))
}

impl Poll {
    fn check(&self) -> Result<(), String> {
        if self.interval < SHORTEST_INTERVAL {
            return Err("interval: the shortest is 1s".to_owned());
        }
        if self.max_instances == Some(0) {
            return Err(
                "max_instances = 0 is refused: nothing would ever be launched; leave it out for \
                 no limit"
                    .to_owned(),
            );
        }
        distinct(&self.groups)?;
        fallbacks(&self.groups)
    }
}

impl Group {
    fn new(table: GroupTable) -> Result<Group, String> {
        let name = table.name;
        let within = |text: String| format!("group '{name}': {text}");
        if name.is_empty() {
            return Err("a [[group]] has an empty name".to_owned());
        }
        if let Some(source) = &table.source {
            let checked = source.check();
            checked.map_err(|text| within(format!("source: {text}")))?;
        }
        let checked = table.target.check();
        checked.map_err(|text| within(format!("target: {text}")))?;
        let sizes = sizes!(table).map_err(within)?;
        let fallback = table.fallback.map(GroupId::new);
        Ok(Group {
            settings: sizes.settings(
                GroupId::new(name),
                table.source.as_ref(),
                &table.target,
                fallback,
            ),
            source: table.source,
            target: table.target,
            tag: None,
        })
    }
}

impl Discover {
    fn new(table: DiscoverTable) -> Result<Discover, String> {
        let tag = table.tag;
        let within = |text: String| format!("discover '{tag}': {text}");
        if tag.is_empty() {
            return Err("a [[discover]] has an empty tag".to_owned());
        }
        let mut words = vec![("kind", table.kind)];
        words.extend(table.region.map(|region| ("region", region)));
        words.extend(table.launch.map(|launch| ("launch", launch)));
        let words = words.into_iter();
        let words = words.map(|(key, word)| (key.to_owned(), toml::Value::String(word)));
        let target = targets::Spec::deserialize(toml::Table::from_iter(words));
        let target = target.map_err(|error| within(error.message().to_owned()))?;
        let sizes = sizes!(table).map_err(within)?;
        // What the tag says belongs into the keys that are left out here.
        let mut example = table.source.clone();
        example.fill("name/space");
        let checked = example.check();
        checked.map_err(|text| within(format!("source: {text}")))?;
        Ok(Discover {
            tag,
            namespace: table.namespace,
            source: table.source,
            target,
            sizes,
        })
    }

    /// What the groups' queues are read from, as far as their tags do not say.
    pub fn source(&self) -> &sources::Spec {
        &self.source
    }

    /// Where to look.
    pub fn target(&self) -> &targets::Spec {
        &self.target
    }

    /// The group at `place` that has `value` in its tag; `None` when the value is not for us.
    pub fn group(&self, place: &Place, value: &str) -> Option<Group> {
        if let Some(namespace) = &self.namespace {
            let (before, _) = value.split_once('/')?;
            if before != namespace {
                return None;
            }
        }
        let (mut source, mut target) = (self.source.clone(), self.target.clone());
        source.fill(value);
        source.check().ok()?;
        target.fill(place);
        let id = GroupId::new(place.as_str());
        Some(Group {
            settings: self.sizes.settings(id, Some(&source), &target, None),
            source: Some(source),
            target,
            tag: Some(value.to_owned()),
        })
    }
}

impl Sizes {
    fn new(
        slots: Option<u32>,
        max: Option<u32>,
        headroom: Option<u32>,
        step: Option<u32>,
        round: Option<f64>,
        boot_timeout: Option<Time>,
    ) -> Result<Sizes, String> {
        let positive = |key: &str, value: u32, instead: &str| {
            NonZeroU32::new(value).ok_or_else(|| format!("{key} = 0 is refused: {instead}"))
        };
        if let Some(max) = max {
            positive("max", max, "take the group out of the configuration")?;
        }
        let one = NonZeroU32::MIN;
        let slots = slots.map(|slots| positive("slots", slots, "an instance runs at least 1 job"));
        let step = step.map(|step| positive("step", step, "leave it out for no limit"));
        let round = match round {
            None => Round::UP,
            Some(fraction) => Round::new(fraction)
                .ok_or_else(|| format!("round = {fraction}: use 0 to below 1"))?,
        };
        let most = boot_timeout.map_or(MOST_BOOT, |time| time.0);
        Ok(Sizes {
            slots: slots.transpose()?.unwrap_or(one),
            max,
            headroom: headroom.unwrap_or(0),
            step: step.transpose()?,
            round,
            boot: BootBounds {
                least: LEAST_BOOT.min(most),
                most,
            },
        })
    }

    fn settings(
        self,
        id: GroupId,
        source: Option<&sources::Spec>,
        target: &targets::Spec,
        fallback: Option<GroupId>,
    ) -> GroupSettings {
        GroupSettings {
            id,
            backend: target.backend(),
            place: target.place(),
            queue: source.map(|source| (SourceId::new(source.server()), source.queue())),
            fallback,
            slots: self.slots,
            max: self.max,
            headroom: self.headroom,
            step: self.step,
            round: self.round,
            boot: self.boot,
        }
    }
}

/// A target that this build was made without is not misspelt.
fn left_out(error: Usage) -> Usage {
    if cfg!(feature = "aws") || !error.0.contains("unknown value 'asg'") {
        return error;
    }
    let (place, _) = error.0.split_once(", use one of").unwrap_or((&error.0, ""));
    Usage(format!(
        "{place}: this build has no AWS; scripts/build-static --full makes one that has"
    ))
}

/// `run` needs no file, so that an absent one is an empty one; here it is the whole work.
fn nothing(path: Option<&Path>) -> Usage {
    let path = path.unwrap_or(Path::new(DEFAULT_FILE));
    let what = if path.exists() {
        "has no [[group]] and no [[discover]]"
    } else {
        "does not exist"
    };
    Usage(format!(
        "nothing to poll: the configuration {} {what}; see \"Scale out\" in the README, or try \
         'clockout demo'",
        path.display()
    ))
}

/// Two names for one group, or two groups of one name, would be counted twice.
fn distinct(groups: &[Group]) -> Result<(), String> {
    let mut names = BTreeMap::new();
    let mut places: BTreeMap<(&BackendId, &Place), &GroupId> = BTreeMap::new();
    for Group { settings, .. } in groups {
        let id = &settings.id;
        if names.insert(id, ()).is_some() {
            return Err(format!("group '{id}' is there twice: names must differ"));
        }
        let place = (&settings.backend, &settings.place);
        if let Some(other) = places.insert(place, id) {
            return Err(format!(
                "groups '{other}' and '{id}' are the same {} '{}': one of them must go",
                settings.backend, settings.place
            ));
        }
    }
    Ok(())
}

/// A fallback serves the queue of the one group that names it; chains end.
fn fallbacks(groups: &[Group]) -> Result<(), String> {
    let by_id = groups.iter().map(|group| (&group.settings.id, group));
    let by_id: BTreeMap<&GroupId, &Group> = by_id.collect();
    let mut named: BTreeMap<&GroupId, &GroupId> = BTreeMap::new();
    for Group { settings, .. } in groups {
        let (id, Some(fallback)) = (&settings.id, &settings.fallback) else {
            continue;
        };
        let Some(group) = by_id.get(fallback) else {
            let known: Vec<_> = by_id.keys().map(|id| id.as_str()).collect();
            let hint = hint(fallback.as_str(), &known);
            return Err(format!(
                "group '{id}': fallback '{fallback}' is no group{hint}"
            ));
        };
        if group.source.is_some() {
            return Err(format!(
                "group '{fallback}' is the fallback of '{id}' and serves its queue: take its own \
                 source out"
            ));
        }
        if let Some(other) = named.insert(fallback, id) {
            return Err(format!(
                "group '{fallback}' is the fallback of '{other}' and of '{id}': it can serve one \
                 queue only"
            ));
        }
    }
    let lonely = groups
        .iter()
        .find(|group| group.source.is_none() && !named.contains_key(&group.settings.id));
    if let Some(group) = lonely {
        return Err(format!(
            "group '{}' has no source, and is nobody's fallback: give it a source",
            group.settings.id
        ));
    }
    // Every group without a source is named once. What no group with a source leads to is named
    // from within: a circle.
    let mut reached = BTreeMap::new();
    for group in groups.iter().filter(|group| group.source.is_some()) {
        let mut next = Some(&group.settings);
        while let Some(settings) = next {
            reached.insert(&settings.id, ());
            let fallback = settings.fallback.as_ref();
            next = fallback
                .and_then(|id| by_id.get(id))
                .map(|group| &group.settings);
        }
    }
    match by_id.keys().find(|id| !reached.contains_key(*id)) {
        Some(id) => Err(format!(
            "group '{id}' is its own fallback, through others: a chain of fallbacks must end"
        )),
        None => Ok(()),
    }
}
