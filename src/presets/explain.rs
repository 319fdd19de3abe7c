//! `clockout preset explain`: what `run` would make of an agent, and why.

use std::ffi::OsString;
use std::io::Write;
use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::Result;

use super::choose::{Chosen, Wanted};
use super::commands::named;
use super::cordon::Cordon;
use super::drain::Step;
use super::launch::Launch;
use super::require::Standing;
use super::template::Template;
use super::view::World;
use super::watch::Watch;
use super::{Library, On, Preset, Stream};
use crate::lifecycle::{DetectorKind, DrainMethod};

/// Prints what is known of an agent with these arguments. Secrets are not shown.
pub fn explain(
    preset: Option<&str>,
    slots: Option<NonZeroU32>,
    argv: &[OsString],
    out: &mut dyn Write,
) -> Result<()> {
    let world = World::here();
    let (preset, chosen) = match preset {
        Some(name) => (named(name)?, None),
        None => {
            let (preset, chosen) = Library::open()?.for_agent(&Wanted::new(argv, &world))?;
            (preset, Some(chosen))
        }
    };
    let slots = slots.map(NonZeroU32::get);
    let launch = Launch::in_world(Arc::new(preset), argv, slots, world);
    for (topic, text) in lines(&launch, chosen) {
        writeln!(out, "{topic:12}{text}")?;
    }
    Ok(())
}

type Line = (&'static str, String);

/// A topic that repeats is named once.
fn lines(launch: &Launch, chosen: Option<Chosen>) -> Vec<Line> {
    let mut all = chosen_line(&launch.preset, chosen);
    all.extend(start_lines(launch));
    all.extend(detector_lines(launch));
    all.extend(drain_lines(launch));
    all.extend(note_lines(&launch.preset));
    let mut last = "";
    for (topic, _) in &mut all {
        match *topic == last {
            true => *topic = "",
            false => last = topic,
        }
    }
    all
}

fn chosen_line(preset: &Preset, chosen: Option<Chosen>) -> Vec<Line> {
    let why = chosen.map_or("as asked".to_owned(), |chosen| chosen.to_string());
    let mut all = vec![(
        "preset",
        format!("{} ({}), {why}", preset.name, preset.origin),
    )];
    if preset.notes.experimental {
        all.push(("", "experimental: made from documents alone".to_owned()));
    }
    all
}

fn start_lines(launch: &Launch) -> Vec<Line> {
    let mut all = Vec::new();
    let source = match (launch.single_job, launch.slots_known) {
        (true, _) => "one job a process",
        (false, true) => "as told",
        (false, false) => "assumed; --slots tells",
    };
    all.push(("slots", format!("{} ({source})", launch.slots)));
    if let Some(path) = launch.view.config_path() {
        let state = match launch.view.config_error() {
            _ if launch.client().is_some() => ", in the container: not read".to_owned(),
            Some(error) => format!(", not read: {error}"),
            None => String::new(),
        };
        all.push(("config", format!("{}{state}", path.display())));
    }
    all.extend(launch.added.iter().map(|added| ("adds", added.clone())));
    for standing in launch.requirements() {
        match standing {
            Standing::Met(what) => all.push(("requires", format!("met; else: {what}"))),
            Standing::Unmet(what) => all.push(("requires", format!("NOT MET: {what}"))),
            // It is among the warnings.
            Standing::Unseen(_) => {}
        }
    }
    let warnings = launch.warnings().into_iter();
    all.extend(warnings.map(|warning| ("warning", warning)));
    all.extend(launch.refusal().map(|refusal| ("refused", refusal)));
    all
}

fn detector_lines(launch: &Launch) -> Vec<Line> {
    let ready = match launch.sees_ready() {
        true => "when it says so in a line",
        false => "once started",
    };
    let mut all = vec![("ready", ready.to_owned())];
    for detector in launch.detectors() {
        let what = match &detector.watch {
            Watch::Log(log) => match &log.on {
                On::Any => "lines of its output".to_owned(),
                On::Stream(Stream::Stdout) => "lines of its stdout".to_owned(),
                On::Stream(Stream::Stderr) => "lines of its stderr".to_owned(),
                On::File(file) => format!("lines of {file}"),
            },
            Watch::Http(_, target) => target.url.clone(),
            Watch::Child(_) => "its child processes".to_owned(),
            Watch::ProcessEnv(env) => format!("its processes with {}", env.name),
            Watch::Hook => "hooks (`clockout job`)".to_owned(),
            Watch::Nothing => continue,
        };
        let worth = match detector.kind {
            DetectorKind::Edges | DetectorKind::Level => "count jobs",
            DetectorKind::AdvisoryEdges => "tell more of jobs that others count",
            DetectorKind::AdvisoryLevel => "keep the machine busy",
            DetectorKind::Census => "tell when jobs have ended",
        };
        all.push(("jobs", format!("{what}: {worth}")));
    }
    let left_out = launch.left_out().into_iter();
    all.extend(left_out.map(|one| ("left out", format!("{}: {}", one.detector, one.why))));
    all
}

fn drain_lines(launch: &Launch) -> Vec<Line> {
    let drain = &launch.preset.drain;
    let mut all = vec![("drain", how(launch.drain_method(), &drain.step))];
    if let Some(process) = &drain.process {
        all.push((
            "drain",
            format!("a signal goes to its descendant {process}, if there is one"),
        ));
    }
    if let Some(otherwise) = &drain.otherwise {
        let other = how(otherwise.method, &otherwise.step);
        all.push((
            "drain",
            format!("without the line that shows it armed: {other}"),
        ));
    }
    if let Some(window) = &drain.window {
        let times = window.times();
        let text = format!(
            "only within {} of a line that shows a safe moment, waited for up to {}",
            humantime::format_duration(times.lasts),
            humantime::format_duration(times.patience),
        );
        all.push(("drain", text));
    }
    if let Some(cordon) = &drain.cordon {
        let what = match cordon {
            Cordon::Command(words) => shown(words),
            Cordon::Http(call) => format!("{} {}", call.method, call.url),
        };
        all.push(match launch.cordon_missing() {
            None => ("cordon", what),
            Some(missing) => ("left out", format!("cordon ({what}): {missing}")),
        });
    }
    all.push(match (&launch.preset.cancel, launch.cancel_allow()) {
        (Some(cancel), Some(allow)) => {
            let allow = humantime::format_duration(allow);
            (
                "cancel",
                format!("{}, killed {allow} later", act(&cancel.step)),
            )
        }
        _ => ("cancel", "killed".to_owned()),
    });
    all
}

fn how(method: DrainMethod, step: &Step) -> String {
    let act = act(step);
    match method {
        DrainMethod::Signal => format!("{act}, after which it finishes its jobs"),
        DrainMethod::WaitIdle => format!("{act} once no job runs"),
        DrainMethod::SingleJob => format!("it ends after its job; {act} while it has none"),
    }
}

fn act(step: &Step) -> String {
    match step {
        Step::Signal(signal) => signal.to_string(),
        Step::Command(words) => shown(words),
    }
}

fn shown(words: &[Template]) -> String {
    let words: Vec<_> = words.iter().map(Template::as_str).collect();
    format!("`{}`", words.join(" "))
}

fn note_lines(preset: &Preset) -> Vec<Line> {
    let mut all = Vec::new();
    if !preset.exit_ok.is_empty() {
        let statuses = preset.exit_ok.iter().map(i32::to_string);
        let statuses = statuses.collect::<Vec<_>>().join(", ");
        all.push(("exit", format!("0, {statuses} are planned ends")));
    }
    all.extend(preset.notes.race.iter().map(|race| ("race", race.clone())));
    all.extend(preset.notes.hook.iter().map(|hook| ("hook", hook.clone())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(preset: &str, line: &str, variables: &[(&str, &str)]) -> String {
        let mut preset: Preset = toml::from_str(preset).expect("good");
        preset.name = "mine".to_owned();
        let argv: Vec<_> = line.split(' ').map(OsString::from).collect();
        let variables = variables.iter();
        let world = World {
            variables: variables.map(|(k, v)| (k.into(), v.into())).collect(),
            cwd: "/work".into(),
            ..World::default()
        };
        let launch = Launch::in_world(Arc::new(preset), &argv, None, world);
        let chosen = Some(Chosen::Program("agent".to_owned()));
        let lines = lines(&launch, chosen).into_iter();
        lines
            .map(|(topic, text)| format!("{topic:10}{text}\n"))
            .collect()
    }

    const PRESET: &str = "
        add_args = [['--token', '${TOKEN}']]
        exit_ok = [143]
        config.default = '/nonexistent/a.toml'
        require = { arg = '^run$', otherwise = 'say run' }
        [env]
        DEBUG = 'true'
        [[detect.log]]
        stream = 'stderr'
        start = 'a'
        finish = 'b'
        [[detect.http]]
        address.from = [{ flag = '--listen' }]
        path = '/m'
        running.gauge = 'j'
        counts = false
        [drain]
        method = 'wait-idle'
        signal = 'TERM'
        [drain.cordon]
        command = ['leave', '${TOKEN}']
        [cancel]
        command = ['stop', 'now']
        [notes]
        race = 'a job may be lost'
    ";

    #[test]
    fn all_that_matters_is_said_and_no_secret() {
        let found = explained(PRESET, "agent run --listen :80", &[("TOKEN", "s3cret")]);
        let expected = "\
            preset    mine (built in), the program is agent\n\
            slots     1 (assumed; --slots tells)\n\
            config    /nonexistent/a.toml, not read: there is no such file\n\
            adds      DEBUG=true\n          --token ${TOKEN}\n\
            requires  met; else: say run\n\
            ready     once started\n\
            jobs      lines of its stderr: count jobs\n          \
                      http://127.0.0.1:80/m: keep the machine busy\n          \
                      hooks (`clockout job`): tell more of jobs that others count\n\
            drain     SIGTERM once no job runs\n\
            cordon    `leave ${TOKEN}`\n\
            cancel    `stop now`, killed 10s later\n\
            exit      0, 143 are planned ends\n\
            race      a job may be lost\n";
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_missing_is_said_too() {
        let found = explained(PRESET, "agent", &[]);
        for line in [
            "requires  NOT MET: say run\n",
            "refused   preset mine: say run\n",
            "left out  http: nothing says where the agent listens\n",
            "left out  cordon (`leave ${TOKEN}`): ${TOKEN} is not known\n",
        ] {
            assert!(found.contains(line), "{line} in\n{found}");
        }
        assert!(!found.contains("--token"), "{found}");

        let found = explained("", "docker run acme/agent", &[]);
        let warning = "warning   no job in this container can be seen but those that hooks report";
        assert!(found.contains(warning), "{found}");
        assert!(!explained("", "agent", &[]).contains("warning"), "{found}");
    }
}
