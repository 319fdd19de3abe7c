//! Jenkins' answers: what waits for which label, and what its nodes do.
//!
//! From the sources of Jenkins 2.5xx (`hudson.model.Queue`, `Computer`, `queue.CauseOfBlockage`) and
//! of the plugin workflow-durable-task-step. A freestyle project tells its label expression. A
//! pipeline's `node` block tells nothing but the reason why it waits, in words of the language that
//! was asked for, and that has the label in it.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::label;
use crate::poll::plan::Demand;
use crate::poll::sources::tally::{Ages, Tally, or_null, since, words};

/// What is asked of `/queue/api/json`.
pub const ITEMS: &str =
    "items[buildable,pending,inQueueSince,buildableStartMilliseconds,why,task[labelExpression]]";

/// What is asked of `/computer/api/json`.
pub const COMPUTERS: &str =
    "computer[displayName,offline,temporarilyOffline,assignedLabels[name],executors[idle]]";

/// Ends the text of a queue whose nodes run jobs without a label too.
pub const UNLABELLED: &str = " and unlabelled";

/// Tasks that need none of a node's executors (Jenkins' `FlyweightTask`), by the ends of their
/// classes.
const FLYWEIGHTS: [&str; 5] = [
    "WorkflowJob",
    "MatrixProject",
    "MultiBranchProject",
    "OrganizationFolder",
    "FolderComputation",
];

#[derive(Debug, Deserialize)]
pub struct Items {
    items: Vec<Item>,
}

/// Of core's `Queue.Item`, whatever its class.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    /// Nothing but an executor is missing.
    buildable: bool,
    /// An executor has taken it, and is no longer idle.
    #[serde(default)]
    pending: bool,
    /// Milliseconds since 1970.
    in_queue_since: Option<u64>,
    buildable_start_milliseconds: Option<u64>,
    why: Option<String>,
    #[serde(default, deserialize_with = "or_null")]
    task: Task,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    #[serde(default, rename = "_class", deserialize_with = "or_null")]
    class: String,
    label_expression: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Computers {
    computer: Vec<Computer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Computer {
    #[serde(default, rename = "_class", deserialize_with = "or_null")]
    class: String,
    display_name: String,
    offline: bool,
    /// A person (or a supervisor that drains it) keeps it from taking more.
    #[serde(default)]
    temporarily_offline: bool,
    /// With one that is the node's own name.
    #[serde(default, deserialize_with = "or_null")]
    assigned_labels: Vec<Label>,
    #[serde(default, deserialize_with = "or_null")]
    executors: Vec<Executor>,
}

#[derive(Debug, Deserialize)]
struct Label {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Executor {
    idle: bool,
}

/// What an item waits for.
#[derive(Debug, PartialEq, Eq)]
enum Wants<'a> {
    Label(&'a str),
    /// A label that only this node has.
    Node(&'a str),
    /// The one or the other.
    Either(&'a str),
    /// It names no label, or Jenkins has no node and does not tell.
    Anything,
    /// Something else than an executor, or in another language.
    Unclear,
    /// Jenkins starts nothing any more.
    Shutdown,
}

impl Item {
    fn wants(&self) -> Wants<'_> {
        let why = self.why.as_deref().unwrap_or_default();
        if why == "Jenkins is about to shut down" {
            return Wants::Shutdown;
        }
        if let Some(label) = &self.task.label_expression {
            return Wants::Label(label);
        }
        let label = |text: &'_ str| !text.is_empty();
        if why == "Waiting for next available executor" {
            Wants::Anything
        } else if let Some(name) = between(why, "Waiting for next available executor on ", "") {
            Wants::Either(name)
        } else if let Some(name) = between(why, "All nodes of label ", " are offline") {
            Wants::Label(name)
        } else if let Some(name) = between(why, "There are no nodes with the label ", "") {
            Wants::Label(name)
        } else if let Some(name) = between(why, "", " is offline").filter(|name| label(name)) {
            Wants::Node(name)
        } else {
            Wants::Unclear
        }
    }

    fn age(&self, now: SystemTime) -> Option<Duration> {
        let buildable = self.buildable_start_milliseconds.filter(|&start| start > 0);
        let start = Duration::from_millis(buildable.or(self.in_queue_since)?);
        Some(since(SystemTime::UNIX_EPOCH.checked_add(start)?, now))
    }

    /// Whether an executor would run it now.
    fn waits(&self) -> bool {
        let is_flyweight = FLYWEIGHTS
            .iter()
            .any(|class| self.task.class.ends_with(class));
        self.buildable && !self.pending && !is_flyweight
    }
}

/// Without the quotes around it, which older versions do not have.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let name = text.strip_prefix(before)?.strip_suffix(after)?;
    let bare = name
        .strip_prefix('‘')
        .and_then(|name| name.strip_suffix('’'));
    Some(bare.unwrap_or(name))
}

impl Computer {
    fn is_agent(&self) -> bool {
        !self.class.ends_with("$MasterComputer")
    }

    fn is_of(&self, queue: &Labels<'_>) -> bool {
        let has = |own: &str| self.assigned_labels.iter().any(|label| label.name == own);
        self.is_agent() && words(queue.labels).all(has)
    }
}

/// What the nodes of a group are told apart by.
struct Labels<'a> {
    labels: &'a str,
    unlabelled: bool,
}

impl Labels<'_> {
    fn of(queue: &str) -> Labels<'_> {
        match queue.strip_suffix(UNLABELLED) {
            Some(labels) => Labels {
                labels,
                unlabelled: true,
            },
            None => Labels {
                labels: queue,
                unlabelled: false,
            },
        }
    }

    fn fits(&self, wants: &Wants<'_>, nodes: &Computers) -> bool {
        let has = |label: &str| words(self.labels).any(|own| own == label);
        let node = |name: &str| nodes.computer.iter().find(|node| node.display_name == name);
        match *wants {
            Wants::Label(label) => label::matches(label, has).unwrap_or_else(|| has(label)),
            Wants::Node(name) => node(name).is_some_and(|node| node.is_of(self)),
            Wants::Either(name) if node(name).is_some() => self.fits(&Wants::Node(name), nodes),
            Wants::Either(name) => self.fits(&Wants::Label(name), nodes),
            Wants::Anything => self.unlabelled,
            Wants::Unclear | Wants::Shutdown => false,
        }
    }
}

/// What the group's nodes do and have to do, and what a person should know of it.
pub fn demand(
    nodes: &Computers,
    items: &Items,
    queue: &str,
    ages: Ages,
    now: SystemTime,
) -> (Demand, Option<String>) {
    let own = Labels::of(queue);
    let mut tally = Tally::new(ages);
    for item in items.items.iter().filter(|item| item.waits()) {
        if own.fits(&item.wants(), nodes) {
            tally.wait(item.age(now));
        }
    }
    let mut names = Vec::new();
    for node in nodes.computer.iter().filter(|node| node.is_of(&own)) {
        // Those of a node that is drained, too: its instance is still there.
        node.executors
            .iter()
            .filter(|executor| !executor.idle)
            .for_each(|_| tally.run());
        if !node.offline || node.temporarily_offline {
            names.push(node.display_name.clone());
        }
    }
    let demand = Demand {
        agents: u32::try_from(names.len()).ok(),
        names: Some(names),
        ..tally.demand()
    };
    (demand, tally.remark(queue))
}

/// What a person should know of the whole queue.
pub fn remarks(nodes: &Computers, items: &Items) -> Vec<String> {
    let count = |what: &Wants<'_>| {
        let waiting = items.items.iter().filter(|item| item.waits());
        waiting.filter(|item| item.wants() == *what).count()
    };
    let mut remarks = Vec::new();
    if count(&Wants::Shutdown) > 0 {
        remarks.push("Jenkins is about to shut down, and starts nothing".to_owned());
    }
    let hidden = count(&Wants::Anything);
    if hidden > 0 && !nodes.computer.iter().any(Computer::is_agent) {
        remarks.push(format!(
            "{hidden} tell no label, because Jenkins has no node: keep one, or say unlabelled = true"
        ));
    }
    let unclear = count(&Wants::Unclear);
    if unclear > 0 {
        remarks.push(format!(
            "{unclear} wait for something else than an executor, and do not count"
        ));
    }
    remarks
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
