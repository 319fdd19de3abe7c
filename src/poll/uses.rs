//! What a configuration asks of AWS, for `policy poll` and `doctor poll`.

use super::config::Poll;
use super::source::Spec as _;
use super::{sources, targets};

/// Nothing, in builds without AWS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uses {
    pub groups: Vec<GroupUse>,
    pub tags: Vec<TagUse>,
    /// SQS queues whose depth is read.
    pub queues: Vec<QueueUse>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueUse {
    /// Its URL or its name; `*`: what a tag says.
    pub queue: String,
    pub region: Option<String>,
}

/// An Auto Scaling group that is named in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupUse {
    pub name: String,
    pub how: How,
}

/// Groups that are found by a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagUse {
    pub tag: String,
    pub namespace: Option<String>,
    pub how: How,
}

/// Where a group is, and what is called to make it larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct How {
    /// `None`: the file does not say.
    pub region: Option<String>,
    pub raise: Raise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Raise {
    SetDesiredCapacity,
    LaunchInstances,
}

impl Uses {
    pub fn of(poll: &Poll) -> Uses {
        let groups = poll.groups.iter().filter_map(|group| {
            Some(GroupUse {
                name: group.settings.place.as_str().to_owned(),
                how: Uses::how(&group.target)?,
            })
        });
        let tags = poll.discover.iter().filter_map(|discover| {
            Some(TagUse {
                tag: discover.tag.clone(),
                namespace: discover.namespace.clone(),
                how: Uses::how(discover.target())?,
            })
        });
        let sources = poll.groups.iter().filter_map(|group| group.source.as_ref());
        let named = sources.filter_map(|source| queue(source, source.queue().as_str()));
        let tagged = poll.discover.iter();
        let tagged = tagged.filter_map(|discover| queue(discover.source(), "*"));
        Uses {
            groups: groups.collect(),
            tags: tags.collect(),
            queues: named.chain(tagged).collect(),
        }
    }

    /// `None`: it is no Auto Scaling group.
    #[cfg(feature = "aws")]
    pub fn how(target: &targets::Spec) -> Option<How> {
        use targets::Launch;
        let targets::Spec::Asg(spec) = target else {
            return None;
        };
        Some(How {
            region: spec.region(),
            raise: match spec.launch() {
                Launch::SetDesired => Raise::SetDesiredCapacity,
                Launch::LaunchInstances => Raise::LaunchInstances,
            },
        })
    }

    #[cfg(not(feature = "aws"))]
    pub fn how(_target: &targets::Spec) -> Option<How> {
        None
    }
}

fn queue(source: &sources::Spec, queue: &str) -> Option<QueueUse> {
    let sources::Spec::Sqs(spec) = source else {
        return None;
    };
    Some(QueueUse {
        queue: queue.to_owned(),
        region: spec.region().map(str::to_owned),
    })
}
