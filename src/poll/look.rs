//! One look at every queue and group, for `doctor poll`: nothing is decided, and nothing launched.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::config::{Group, Poll};
use super::http::Http;
use super::plan::{BackendId, Demand, Place, Queue, SourceId, Supply};
use super::source::{Source, Spec as _};
use super::target::{Spec as _, Target};
use super::uses::{How, Uses};

/// For everything: a source has twenty seconds for a round.
const PATIENCE: Duration = Duration::from_secs(25);

/// What was seen of one group.
#[derive(Debug, Clone)]
pub struct Looked {
    pub id: String,
    /// `asg ci-linux-small in us-east-1`
    pub place: String,
    /// `None`: it is somebody's fallback.
    pub demand: Option<Result<Demand, String>>,
    /// Where that was asked.
    pub source: String,
    pub supply: Result<Supply, String>,
    /// The configured maximum.
    pub max: Option<u32>,
    /// The Auto Scaling group, if it is one, and how it is made larger.
    pub asg: Option<(String, How)>,
    #[cfg_attr(not(feature = "aws"), allow(dead_code))]
    pub discovered: bool,
}

/// Every group, the discovered ones too; and what was discovered, or why that is unknown.
pub async fn look(poll: &Poll) -> (Vec<Looked>, Vec<(String, Result<usize, String>)>) {
    let until = Instant::now() + PATIENCE;
    let (mut groups, mut tags) = (poll.groups.clone(), Vec::new());
    for discover in &poll.discover {
        let target = discover.target().open();
        let found = timeout_at(until, target.discover(&discover.tag)).await;
        let found = match found {
            Ok(found) => found.map_err(|trouble| trouble.message),
            Err(_) => Err(LATE.to_owned()),
        };
        let found = found.map(|found| {
            let found = found.iter();
            let found = found.filter_map(|it| discover.group(&it.place, &it.value));
            let before = groups.len();
            groups.extend(found);
            groups.len() - before
        });
        tags.push((discover.tag.clone(), found));
    }
    let http = Http::harmless();
    let (demands, supplies) =
        tokio::join!(demands(&groups, &http, until), supplies(&groups, until));
    let looked = groups.iter().map(|group| {
        let settings = &group.settings;
        let (place, backend) = (settings.place.clone(), settings.backend.clone());
        let supply = supplies.get(&(backend.clone(), place.clone())).cloned();
        Looked {
            id: settings.id.to_string(),
            place: format!("{backend} {place}"),
            demand: settings
                .queue
                .as_ref()
                .map(|queue| demands.get(queue).cloned().unwrap_or_else(late)),
            source: settings
                .queue
                .as_ref()
                .map_or_else(String::new, |(source, queue)| format!("{source} {queue}")),
            supply: supply.unwrap_or_else(late),
            max: settings.max,
            asg: Uses::how(&group.target).map(|how| (place.to_string(), how)),
            discovered: group.tag.is_some(),
        }
    });
    (looked.collect(), tags)
}

const LATE: &str = "no answer in time";

fn late<T>() -> Result<T, String> {
    Err(LATE.to_owned())
}

type Demands = BTreeMap<(SourceId, Queue), Result<Demand, String>>;

async fn demands(groups: &[Group], http: &Http, until: Instant) -> Demands {
    let mut sources: BTreeMap<&SourceId, (Box<dyn Source>, Vec<Queue>)> = BTreeMap::new();
    for group in groups {
        if let (Some((id, queue)), Some(spec)) = (&group.settings.queue, &group.source) {
            let (_, queues) = sources
                .entry(id)
                .or_insert_with(|| (spec.open(http), Vec::new()));
            queues.push(queue.clone());
        }
    }
    let asked = sources
        .into_iter()
        .map(|(id, (mut source, queues))| async move {
            let told = match timeout_at(until, source.read(&queues)).await {
                Ok(told) => told.map_err(|error| error.to_string()),
                Err(_) => late(),
            };
            let one = |queue: Queue| {
                let demand = match &told {
                    Err(error) => Err(error.clone()),
                    Ok(harvest) => {
                        let mut demands = harvest.demands.iter();
                        let found = demands.find(|(name, _)| *name == queue);
                        let absent = || Err("the source does not tell of it".to_owned());
                        found.map_or_else(absent, |(_, demand)| demand.clone())
                    }
                };
                ((id.clone(), queue), demand)
            };
            queues.iter().cloned().map(one).collect::<Vec<_>>()
        });
    let all = futures_util::future::join_all(asked).await;
    all.into_iter().flatten().collect()
}

type Supplies = BTreeMap<(BackendId, Place), Result<Supply, String>>;

async fn supplies(groups: &[Group], until: Instant) -> Supplies {
    let mut backends: BTreeMap<&BackendId, (Box<dyn Target>, Vec<Place>)> = BTreeMap::new();
    for group in groups {
        let settings = &group.settings;
        let (target, places) = backends
            .entry(&settings.backend)
            .or_insert_with(|| (group.target.open(), Vec::new()));
        target.adopt(&group.target);
        places.push(settings.place.clone());
    }
    let asked = backends
        .into_iter()
        .map(|(id, (target, places))| async move {
            let told = match timeout_at(until, target.describe(&places)).await {
                Ok(told) => told.map_err(|trouble| trouble.message),
                Err(_) => late(),
            };
            let one = |place: Place| {
                let supply = match &told {
                    Err(error) => Err(error.clone()),
                    Ok(described) => described.get(&place).cloned().unwrap_or_else(late),
                };
                ((id.clone(), place), supply)
            };
            places.iter().cloned().map(one).collect::<Vec<_>>()
        });
    let all = futures_util::future::join_all(asked).await;
    all.into_iter().flatten().collect()
}
