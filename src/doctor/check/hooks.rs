//! Lifecycle hooks: which are clockout's, and how long they let a job run.

use std::time::Duration;

use super::{Case, judge};
use crate::doctor::facts::{Asked, shown};
use crate::doctor::finding::{Finding, Level};
use crate::instance::notices::{Hook, Transition, ours};
use crate::lifecycle::Limit;

const HOOKS: &str = "hooks";
/// Auto Scaling ends every lifecycle action after this, or after a hundred heartbeat timeouts
/// ("Considerations and limitations for lifecycle hooks").
const LONGEST: Duration = Duration::from_secs(48 * 3600);
const MOST_TIMEOUTS: u32 = 100;
/// Below this one throttled minute ends the action.
const SHORT: Duration = Duration::from_secs(60);

pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let (Some(asked), Some(group)) = (case.asked(), case.group_name()) else {
        return Vec::new();
    };
    judge(HOOKS, "lifecycle hooks", &asked.hooks, |hooks| {
        let mut all: Vec<_> = terminating(case, group, hooks).into_iter().collect();
        all.extend(of(case, hooks, Transition::Terminating, asked));
        all.extend(of(case, hooks, Transition::Launching, asked));
        all
    })
}

/// A group without a termination hook gives a job no time.
fn terminating(case: &Case<'_>, group: &str, hooks: &[Hook]) -> Option<Finding> {
    let mut transitions = hooks.iter().map(|hook| hook.transition);
    if transitions.any(|transition| transition == Transition::Terminating) {
        return None;
    }
    if case.is_protected() {
        return Some(Finding::ok(
            HOOKS,
            "no termination hook: the group can end this machine at once, but for a scale-in it \
             does not choose a protected one",
        ));
    }
    Some(Finding::warning(
        HOOKS,
        "no termination hook: when the group scales in or refreshes, it ends this machine at once, \
         in the middle of a job",
        format!(
            "aws autoscaling put-lifecycle-hook --auto-scaling-group-name {group} \
             --lifecycle-hook-name clockout-drain --lifecycle-transition \
             autoscaling:EC2_INSTANCE_TERMINATING --heartbeat-timeout 300, or --protect busy"
        ),
    ))
}

/// The hooks of one transition: those that are ours, and those that are not.
fn of(case: &Case<'_>, hooks: &[Hook], transition: Transition, asked: &Asked) -> Vec<Finding> {
    let all = || {
        hooks
            .iter()
            .filter(move |hook| hook.transition == transition)
    };
    let names = all().map(|hook| hook.name.as_str()).collect::<Vec<_>>();
    let names = names.join(", ");
    let kind = match transition {
        Transition::Launching => "launch",
        Transition::Terminating => "termination",
    };
    let option = match transition {
        Transition::Launching => "--launch-hook",
        Transition::Terminating => "--terminate-hook",
    };
    let own = ours(hooks, transition, &case.config.hooks);
    if own.is_empty() {
        return match case.config.hooks.of(transition) {
            Some(wanted) if names.is_empty() => vec![Finding::error(
                HOOKS,
                format!("{option} {wanted}: the group has no {kind} hook"),
                "create it, or leave the option out",
            )],
            Some(wanted) => vec![Finding::error(
                HOOKS,
                format!("{option} {wanted}: the group has no such hook, only {names}"),
                "correct the name",
            )],
            None if names.is_empty() => Vec::new(),
            None => vec![Finding::warning(
                HOOKS,
                format!("each {kind} hook ({names}) tells somebody else, so none is kept waiting"),
                format!("say which is clockout's with {option}"),
            )],
        };
    }
    if !case.ends_instance() {
        return own.into_iter().map(|hook| unkept(case, hook)).collect();
    }
    let why = why(&own, all().count(), case.config.hooks.of(transition));
    own.into_iter()
        .flat_map(|hook| one(case, hook, kind, why, asked))
        .collect()
}

/// Where AWS is not called, a hook gives the time that it gives by itself.
fn unkept(case: &Case<'_>, hook: &Hook) -> Finding {
    let Hook {
        name,
        heartbeat_timeout,
        ..
    } = hook;
    let (mode, time) = (case.config.retire.mode, shown(*heartbeat_timeout));
    if hook.transition == Transition::Launching {
        return Finding::warning(
            HOOKS,
            format!(
                "launch hook {name}: with --retire {mode} nobody completes it, each launch takes \
                 {time}"
            ),
            "delete the hook, or use --retire auto",
        );
    }
    let what =
        format!("termination hook {name}: with --retire {mode} jobs get its {time}, and no more");
    match case.config.limits.drain_timeout {
        Limit::At(drain) if drain <= *heartbeat_timeout => Finding::ok(HOOKS, what),
        limit => Finding::warning(
            HOOKS,
            format!("{what}; --drain-timeout is {}", written(limit)),
            "raise the hook's HeartbeatTimeout, up to two hours, or use --retire auto",
        ),
    }
}

/// Why these were taken.
fn why(own: &[&Hook], all: usize, wanted: Option<&str>) -> &'static str {
    if wanted.is_some() {
        "as told"
    } else if own.iter().all(|hook| hook.name.starts_with("clockout")) {
        "by its name"
    } else if all == 1 {
        "the only one"
    } else {
        "it tells nobody else"
    }
}

fn one(case: &Case<'_>, hook: &Hook, kind: &str, why: &str, asked: &Asked) -> Vec<Finding> {
    let Hook {
        name,
        heartbeat_timeout,
        ..
    } = hook;
    let cap = cap(hook);
    let what = format!(
        "{kind} hook {name} ({why}): kept waiting for at most {}",
        shown(cap)
    );
    let mut all = vec![match hook.transition {
        Transition::Launching => launching(case, what, cap),
        Transition::Terminating => drain_time(case, what, cap),
    }];
    if *heartbeat_timeout < SHORT {
        all.push(Finding::warning(
            HOOKS,
            format!(
                "{kind} hook {name}: its heartbeat timeout is {}, so that a throttled minute ends \
                 it",
                shown(*heartbeat_timeout)
            ),
            "set HeartbeatTimeout to 300",
        ));
    }
    let retains = asked.group.as_ref().is_ok_and(|group| group.retains);
    if retains && hook.abandons && hook.transition == Transition::Terminating {
        all.push(Finding::warning(
            HOOKS,
            format!(
                "{kind} hook {name}: when its time is over, the group's lifecycle policy keeps the \
                 machine, and it stays billed"
            ),
            "set the hook's DefaultResult to CONTINUE",
        ));
    }
    all
}

fn launching(case: &Case<'_>, what: String, cap: Duration) -> Finding {
    match case.config.limits.boot_timeout {
        Limit::At(boot) if boot <= cap => {
            Finding::ok(HOOKS, format!("{what}, until the agent is ready"))
        }
        limit => Finding::warning(
            HOOKS,
            format!("{what}, but --boot-timeout is {}", written(limit)),
            "raise the hook's HeartbeatTimeout, or lower --boot-timeout",
        ),
    }
}

/// What is over for jobs before it is over for the group.
fn drain_time(case: &Case<'_>, what: String, cap: Duration) -> Finding {
    let time = cap.saturating_sub(case.config.notices.cancel_before);
    match case.config.limits.drain_timeout {
        Limit::At(drain) if drain <= time => Finding::ok(
            HOOKS,
            format!("{what}, longer than --drain-timeout {}", shown(drain)),
        ),
        limit => {
            let fix = match cap >= LONGEST {
                true => "AWS allows no more: keep jobs shorter".to_owned(),
                false => "raise the hook's HeartbeatTimeout: it is kept waiting for a hundred \
                          times that, but for no longer than two days"
                    .to_owned(),
            };
            Finding::warning(
                HOOKS,
                format!(
                    "{what}: after a scale-in jobs are cancelled after {}, with --drain-timeout {}",
                    shown(time),
                    written(limit)
                ),
                fix,
            )
        }
    }
}

fn written(limit: Limit<Duration>) -> String {
    limit.get().map_or("never".to_owned(), shown)
}

fn cap(hook: &Hook) -> Duration {
    let most = hook.heartbeat_timeout.saturating_mul(MOST_TIMEOUTS);
    most.min(LONGEST).min(hook.global_timeout)
}

/// A call about hooks is worth nothing where there are none.
pub(super) fn level_without(case: &Case<'_>) -> Option<Level> {
    let asked = case.asked()?;
    let names = &case.config.hooks;
    match &asked.hooks {
        Err(_) => {
            let is_named = names.launch.is_some() || names.terminate.is_some();
            Some(if is_named {
                Level::Error
            } else {
                Level::Warning
            })
        }
        Ok(hooks) => {
            let transitions = [Transition::Launching, Transition::Terminating];
            let any = transitions
                .iter()
                .any(|transition| !ours(hooks, *transition, names).is_empty());
            any.then_some(Level::Error)
        }
    }
}
