//! The machine itself: its ends that need no AWS, and what the supervisor needs of it.

use super::{Case, judge, not_checked};
use crate::doctor::facts::{Polkit, PowerOff, Shutdown, SocketPlace, UserFault};
use crate::doctor::finding::{Finding, Level};
use crate::instance::Mode;

const POWER_OFF: &str = "power-off";
const DEAD_MAN: &str = "dead-man";
const SHUTDOWN: &str = "shutdown";

pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    if case.ends_instance() || case.config.retire.mode == Mode::PowerOff {
        all.extend(shutdown(case));
        all.extend(power_off(case));
        all.extend(inhibitors(case));
        all.extend(dead_man(case));
    }
    all.extend(before_retire(case));
    all.push(state_dir(case));
    all.push(socket(case));
    all.extend(user(case));
    all.extend(agent(case));
    all
}

/// What EC2 makes of a machine that powers off, and whether it would terminate one that asks.
fn shutdown(case: &Case<'_>) -> Vec<Finding> {
    let Some(asked) = case.asked() else {
        return Vec::new();
    };
    let stops = asked.shutdown == Ok(Shutdown::Stop);
    let mut all = judge(
        SHUTDOWN,
        "shutdown behaviour",
        &asked.shutdown,
        |behaviour| {
            vec![match behaviour {
                Shutdown::Terminate => {
                    Finding::ok(SHUTDOWN, "powering off terminates the instance")
                }
                Shutdown::Stop => {
                    let then = match case.group_name() {
                        Some(_) => "and the group replaces it",
                        None => "for as long as nobody looks",
                    };
                    Finding::warning(
                        SHUTDOWN,
                        format!(
                            "powering off only stops the instance: its disk stays billed, {then}"
                        ),
                        "set InstanceInitiatedShutdownBehavior to terminate in the launch template",
                    )
                }
            }]
        },
    );
    if case.ends_instance() {
        all.extend(termination(asked.termination_protected.as_ref(), stops));
    }
    all
}

fn termination(
    is_protected: Result<&bool, &crate::doctor::facts::Unknown>,
    stops: bool,
) -> Option<Finding> {
    const FIX: &str = "set DisableApiTermination to false in the launch template";
    match is_protected {
        Ok(false) => None,
        Ok(true) if stops => Some(Finding::error(
            SHUTDOWN,
            "termination protection is on: nothing that clockout can do terminates the instance",
            FIX,
        )),
        Ok(true) => Some(Finding::warning(
            SHUTDOWN,
            "termination protection is on: EC2 refuses to terminate the instance, and it powers \
             off",
            FIX,
        )),
        Err(unknown) => Some(not_checked(SHUTDOWN, "termination protection", unknown)),
    }
}

fn power_off(case: &Case<'_>) -> Vec<Finding> {
    // It is the last end of a machine that AWS ends, and the only one of another.
    let without = |what: String, fix: &str| vec![Finding::error(POWER_OFF, what, fix)];
    match &case.facts.host.power_off {
        PowerOff::Command(command, true) => vec![Finding::ok(POWER_OFF, format!("by `{command}`"))],
        PowerOff::Command(command, false) => without(
            format!("`{command}` cannot be run"),
            "correct --poweroff-command, or leave it out",
        ),
        PowerOff::Systemd(Polkit::NotAsked | Polkit::Yes) => {
            vec![Finding::ok(POWER_OFF, "by systemctl poweroff")]
        }
        PowerOff::Systemd(Polkit::No(word)) => without(
            format!("logind says {word}: this user may not power off the machine"),
            "run clockout as root, or allow org.freedesktop.login1.power-off in polkit",
        ),
        PowerOff::Systemd(Polkit::Unknown(why)) => vec![Finding::warning(
            POWER_OFF,
            format!("not checked, {why}"),
            "run clockout as root",
        )],
        PowerOff::Reboot(true) => vec![Finding::ok(POWER_OFF, "by reboot(2), there is no systemd")],
        PowerOff::Reboot(false) => without(
            "neither systemd nor CAP_SYS_BOOT is there".to_owned(),
            "run clockout as root on the machine itself, or give it a --poweroff-command",
        ),
    }
}

/// systemctl asks logind, which since systemd 257 refuses root too while a `block` lock is held.
/// reboot(2) comes after it, and asks nobody.
fn inhibitors(case: &Case<'_>) -> Vec<Finding> {
    const TOPIC: &str = "inhibitors";
    if !matches!(case.facts.host.power_off, PowerOff::Systemd(_)) {
        return Vec::new();
    }
    judge(
        TOPIC,
        "shutdown locks",
        &case.facts.host.inhibitors,
        |locks| {
            if locks.is_empty() {
                return Vec::new();
            }
            vec![Finding::warning(
                TOPIC,
                format!(
                    "{} can keep the machine from shutting down",
                    locks.join(", ")
                ),
                "end it, or have it take its lock as `delay`",
            )]
        },
    )
}

fn dead_man(case: &Case<'_>) -> Vec<Finding> {
    let finding = match (case.facts.host.has_timers, &case.facts.host.power_off) {
        (true, _) => Finding::ok(DEAD_MAN, "a systemd timer"),
        (false, PowerOff::Reboot(false)) => Finding::error(
            DEAD_MAN,
            "nothing outside clockout can power off the machine when all else fails",
            "run clockout as root, or give it a --poweroff-command",
        ),
        (false, _) => Finding::ok(DEAD_MAN, "a process of clockout's own"),
    };
    vec![finding]
}

fn before_retire(case: &Case<'_>) -> Vec<Finding> {
    let missing = case.facts.host.missing_hooks.iter();
    let finding = |command: &String| {
        Finding::error(
            "before-retire",
            format!("`{command}` cannot be run"),
            "correct before_retire in the configuration file",
        )
    };
    missing.map(finding).collect()
}

fn state_dir(case: &Case<'_>) -> Finding {
    const TOPIC: &str = "state-dir";
    let dir = case.config.state_dir.display();
    match &case.facts.host.state_dir {
        Ok(()) => Finding::ok(TOPIC, format!("{dir} can be written")),
        Err(why) => Finding::error(
            TOPIC,
            format!("{dir} cannot be written ({why}): a restarted clockout forgets where it was"),
            "run clockout as root, or choose another with --state-dir",
        ),
    }
}

fn socket(case: &Case<'_>) -> Finding {
    const TOPIC: &str = "socket";
    let path = case.config.socket.display();
    match &case.facts.host.socket {
        SocketPlace::Free => Finding::ok(TOPIC, format!("{path} can be made")),
        SocketPlace::Taken => Finding::ok(TOPIC, format!("{path}: a supervisor runs here")),
        SocketPlace::Unusable(why) => Finding::error(
            TOPIC,
            format!("{path} cannot be made ({why}): no hook, status or drain reaches clockout"),
            "choose another with --socket",
        ),
    }
}

fn user(case: &Case<'_>) -> Option<Finding> {
    const TOPIC: &str = "user";
    Some(match &case.facts.host.user {
        Some((name, Ok(()))) => Finding::ok(TOPIC, format!("the agent runs as {name}")),
        Some((_, Err(UserFault::Unknown(what)))) => Finding {
            level: Level::Error,
            ..Finding::ok(TOPIC, what)
        },
        Some((name, Err(UserFault::NotAllowed))) => Finding::error(
            TOPIC,
            format!("only root can start the agent as {name}"),
            "run clockout as root, or leave out --user",
        ),
        // Root's jobs may do what clockout may.
        None if case.facts.host.is_root => Finding::warning(
            TOPIC,
            "the agent and its jobs run as root, and may drain and end this machine",
            "name a user of the agent's own with --user",
        ),
        None => return None,
    })
}

fn agent(case: &Case<'_>) -> Vec<Finding> {
    const TOPIC: &str = "agent";
    let mut all = match &case.facts.host.agent {
        None => return Vec::new(),
        Some(Ok(program)) => {
            let config = case.config;
            let slots = match config.slots_known {
                true => "",
                false => " (assumed)",
            };
            vec![Finding::ok(
                TOPIC,
                format!(
                    "{}, preset {}, jobs at once {}{slots}",
                    program.display(),
                    config.preset.name,
                    config.slots.saturating_mul(config.agents),
                ),
            )]
        }
        Some(Err(what)) => vec![Finding::error(
            TOPIC,
            what,
            "correct what stands after `--`",
        )],
    };
    let warnings = case.config.launch.warnings().into_iter();
    all.extend(warnings.map(|what| Finding {
        level: Level::Warning,
        ..Finding::ok("preset", what)
    }));
    all
}
