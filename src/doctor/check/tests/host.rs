//! The machine itself.

use super::*;
use crate::doctor::facts::UserFault;

#[test]
fn a_machine_that_only_stops_stays_billed() {
    let stops = |facts: &mut Facts| asked(facts).shutdown = Ok(Shutdown::Stop);
    let words = [
        "stays billed",
        "the group replaces it",
        "InstanceInitiatedShutdownBehavior",
    ];
    expect(bad("", stops), Warning, "shutdown", &words);
    let keep = |facts: &mut Facts| asked(facts).termination_protected = Ok(true);
    expect(
        bad("", keep),
        Warning,
        "shutdown",
        &["and it powers off", "DisableApiTermination"],
    );
    let neither = |facts: &mut Facts| {
        keep(facts);
        stops(facts);
    };
    assert_eq!(found_topics("", neither, Error), ["shutdown"]);
}

#[test]
fn a_machine_that_cannot_power_off_is_an_error() {
    for (power_off, level, words) in [
        (
            PowerOff::Command("off now".to_owned(), false),
            Error,
            "`off now` cannot be run",
        ),
        (
            PowerOff::Systemd(Polkit::No("challenge".to_owned())),
            Error,
            "logind says challenge",
        ),
        (
            PowerOff::Systemd(Polkit::Unknown("no bus".to_owned())),
            Warning,
            "not checked, no bus",
        ),
    ] {
        let change = |facts: &mut Facts| facts.host.power_off = power_off;
        expect(bad("", change), level, "power-off", &[words]);
    }
    let nothing = |facts: &mut Facts| {
        facts.host.power_off = PowerOff::Reboot(false);
        facts.host.has_timers = false;
    };
    assert_eq!(found_topics("", nothing, Error), ["power-off", "dead-man"]);
    assert_eq!(found_topics("retire=exit", nothing, Error), [""; 0]);
    all_good(
        "",
        |facts| facts.host.power_off = PowerOff::Reboot(true),
        &["by reboot(2)"],
    );
    let locked = |facts: &mut Facts| {
        facts.host.inhibitors = Ok(vec!["apt (upgrading)".to_owned()]);
    };
    expect(
        bad("", locked),
        Warning,
        "inhibitors",
        &["apt (upgrading)", "`delay`"],
    );
}

#[test]
fn what_the_supervisor_needs_of_the_machine() {
    let full = |facts: &mut Facts| facts.host.state_dir = Err("no space left".to_owned());
    expect(
        bad("", full),
        Error,
        "state-dir",
        &["no space left", "--state-dir"],
    );
    let long = |facts: &mut Facts| facts.host.socket = SocketPlace::Unusable("too long".to_owned());
    expect(bad("", long), Error, "socket", &["too long", "--socket"]);
    all_good(
        "",
        |facts| facts.host.socket = SocketPlace::Taken,
        &["a supervisor runs here"],
    );
    for (fault, words) in [
        (
            UserFault::Unknown("there is no user 'x'".to_owned()),
            "there is no user 'x'",
        ),
        (UserFault::NotAllowed, "run clockout as root"),
    ] {
        let user = |facts: &mut Facts| facts.host.user = Some(("x".to_owned(), Err(fault)));
        expect(bad("", user), Error, "user", &[words]);
    }
    let hook = |facts: &mut Facts| facts.host.missing_hooks = vec!["upload all".to_owned()];
    expect(
        bad("", hook),
        Error,
        "before-retire",
        &["`upload all` cannot be run"],
    );
    let root = |facts: &mut Facts| facts.host.user = None;
    expect(bad("", root), Warning, "user", &["run as root", "--user"]);
    all_good(
        "",
        |facts| facts.host.agent = Some(Ok("/bin/agent".into())),
        &["/bin/agent, preset generic, jobs at once 1 (assumed)"],
    );
    let agent = |facts: &mut Facts| facts.host.agent = Some(Err("a is not in PATH".to_owned()));
    expect(bad("", agent), Error, "agent", &["a is not in PATH"]);
}
