//! What a preset adds to an agent's command line and environment. Nothing here looks anywhere:
//! the same agent is always dressed the same.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::added::{Added, Given};
use super::container::ContainerRun;
use super::format::Preset;
use super::source::{Source, has_flag};
use super::template::Template;
use super::view::View;

/// How an agent process is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dressed {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Set beside, and over, what the process inherits.
    pub env: Vec<(OsString, OsString)>,
    /// What was added, as the preset says it: without the values of variables.
    pub added: Vec<String>,
}

/// Adds what the preset gives to an agent of these arguments, and shows it to `view`.
///
/// `single_job`: it is told to run one job a process. `container`: what is added goes to the agent
/// inside, and the container's id to `cidfile`.
pub fn dress(
    preset: &Preset,
    argv: &[OsString],
    container: Option<&ContainerRun>,
    single_job: bool,
    cidfile: Option<&Path>,
    view: &mut View,
) -> Dressed {
    let mut dressing = Dressing {
        view,
        forced: Vec::new(),
        defaults: Vec::new(),
        args: Vec::new(),
        added: Vec::new(),
    };
    dressing.force(&preset.env);
    if single_job {
        dressing.force(&preset.single_job.env);
    }
    for (name, value) in &preset.env_default {
        dressing.give_default(name, value);
    }
    if may_add_args(argv, container) {
        let single_job = preset.single_job.add_args.iter().filter(|_| single_job);
        preset
            .add_args
            .iter()
            .chain(single_job)
            .for_each(|group| dressing.add(group));
    }
    match container {
        None => dressing.on_host(argv),
        Some(run) => dressing.in_container(argv, run, cidfile),
    }
}

/// Arguments after an image replace its own command, so none can be added where there are none.
pub fn may_add_args(argv: &[OsString], container: Option<&ContainerRun>) -> bool {
    container.is_none_or(|run| argv.len() > run.image + 1)
}

struct Dressing<'a> {
    view: &'a mut View,
    forced: Vec<(OsString, OsString)>,
    defaults: Vec<(OsString, OsString)>,
    args: Vec<OsString>,
    added: Vec<String>,
}

impl Dressing<'_> {
    /// `None`: a part of it is not known, so it is left out.
    fn filled(&self, value: &Template) -> Option<OsString> {
        value.fill(&|wanted| self.view.place(wanted)).ok()
    }

    fn force(&mut self, variables: &BTreeMap<String, Template>) {
        for (name, value) in variables {
            if let Some(filled) = self.filled(value) {
                self.view.give(OsStr::new(name), &filled);
                self.forced.push((name.into(), filled));
                self.added.push(format!("{name}={value}"));
            }
        }
    }

    fn give_default(&mut self, name: &str, default: &Given) {
        if self.view.variable(name).is_none()
            && !self.is_told(&default.unless)
            && let Some(filled) = self.filled(&default.value)
        {
            self.view.give(OsStr::new(name), &filled);
            self.defaults.push((name.into(), filled));
            self.added
                .push(format!("{name}={value}", value = default.value));
        }
    }

    fn is_told(&self, sources: &[Source]) -> bool {
        let mut told = sources.iter().map(|source| source.told(self.view));
        told.any(|told| told.is_some())
    }

    fn add(&mut self, group: &Added) {
        let flag = group.args[0].as_str();
        let flag = flag.split_once('=').map_or(flag, |(flag, _)| flag);
        let is_there = if flag.starts_with('-') {
            has_flag(&self.view.argv, flag)
        } else {
            self.view.argv.iter().skip(1).any(|word| word == flag)
        };
        let told = self.is_told(&group.unless);
        let words: Option<Vec<_>> = group.args.iter().map(|word| self.filled(word)).collect();
        if let Some(words) = words
            && !is_there
            && !told
        {
            insert(&mut self.view.argv, 1, &words);
            self.args.extend(words);
            let shown: Vec<_> = group.args.iter().map(Template::as_str).collect();
            self.added.push(shown.join(" "));
        }
    }

    fn on_host(self, argv: &[OsString]) -> Dressed {
        let mut argv = argv.to_vec();
        insert(&mut argv, 1, &self.args);
        let mut env = self.defaults;
        env.extend(self.forced);
        Dressed {
            argv,
            env,
            added: self.added,
        }
    }

    /// The client's own environment is not the container's.
    fn in_container(
        self,
        argv: &[OsString],
        run: &ContainerRun,
        cidfile: Option<&Path>,
    ) -> Dressed {
        let mut argv = argv.to_vec();
        insert(&mut argv, run.image + 1, &self.args);
        // The last `-e` of a name wins: what is forced stands behind the user's.
        argv.splice(run.options_end..run.options_end, options(&self.forced));
        argv.splice(run.options..run.options, options(&self.defaults));
        if let Some(path) = cidfile
            && run.cidfile.is_none()
        {
            let mut option = OsString::from("--cidfile=");
            option.push(path);
            argv.insert(run.options, option);
        }
        Dressed {
            argv,
            env: Vec::new(),
            added: self.added,
        }
    }
}

/// At the end of the arguments that begin at `from`, but before a `--`: behind it there are no
/// flags.
fn insert(argv: &mut Vec<OsString>, from: usize, words: &[OsString]) {
    let from = from.min(argv.len());
    let end = argv[from..].iter().position(|word| word == "--");
    let at = end.map_or(argv.len(), |end| from + end);
    argv.splice(at..at, words.iter().cloned());
}

fn options(variables: &[(OsString, OsString)]) -> Vec<OsString> {
    let options = variables.iter().flat_map(|(name, value)| {
        let mut assignment = name.clone();
        assignment.push(OsStr::from_bytes(b"="));
        assignment.push(value);
        [OsString::from("-e"), assignment]
    });
    options.collect()
}

#[cfg(test)]
#[path = "dress_tests.rs"]
mod tests;
