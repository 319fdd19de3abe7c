//! The end that needs no permission of AWS.
//!
//! On EC2 it stops the instance, or terminates it where `InstanceInitiatedShutdownBehavior` is
//! `terminate`. An Auto Scaling group replaces it in both cases.

use std::future::Future;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tracing::{error, warn};

use crate::lifecycle::Exit;

/// systemd answers as soon as the job is queued.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs commands for the ladder. The supervisor's reaper owns every wait, so it does.
pub trait Runner: Send {
    /// Runs it for at most `timeout`, then kills it. `None`: it could not be started.
    fn run(
        &mut self,
        argv: Vec<String>,
        timeout: Duration,
    ) -> impl Future<Output = Option<Exit>> + Send;
}

/// What a command reads that is given nothing: not `/dev/null`, which an empty root has not.
pub fn no_input() -> Stdio {
    match io::pipe() {
        // Nobody writes: every read is at the end.
        Ok((reader, _)) => reader.into(),
        Err(_) => Stdio::null(),
    }
}

/// Asks for the machine's end. `command` replaces every other way. Whether it was accepted.
pub async fn power_off(runner: &mut impl Runner, command: Option<&[String]>) -> bool {
    if let Some(command) = command {
        let exit = runner.run(command.to_vec(), TIMEOUT).await;
        let accepted = exit == Some(Exit::Code(0));
        if !accepted {
            let exit = exit.map(|exit| exit.to_string());
            error!(?command, exit, "poweroff.failed");
        }
        return accepted;
    }
    if has_systemd() {
        let command = ["systemctl", "poweroff"].map(str::to_owned);
        let exit = runner.run(command.to_vec(), TIMEOUT).await;
        if exit == Some(Exit::Code(0)) {
            return true;
        }
        let exit = exit.map(|exit| exit.to_string());
        warn!(exit, "poweroff.systemctl_failed");
    }
    let error = halt();
    error!(%error, "poweroff.failed");
    false
}

/// sd_booted(3).
pub fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// `reboot(2)`. Returns only when it failed.
#[cfg(not(test))]
pub(super) fn halt() -> io::Error {
    use nix::sys::reboot::{RebootMode, reboot};

    // The kernel does not write back what the logs have just been given.
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF) {
        Ok(never) => match never {},
        Err(error) => error.into(),
    }
}

/// Tests run on machines that are still needed.
#[cfg(test)]
pub(super) fn halt() -> io::Error {
    io::Error::other("not in a test")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(Vec<Vec<String>>, Option<Exit>);

    impl Runner for Fake {
        async fn run(&mut self, argv: Vec<String>, _: Duration) -> Option<Exit> {
            self.0.push(argv);
            self.1
        }
    }

    #[test]
    fn no_input_ends_at_once() {
        let cat = std::process::Command::new("cat").stdin(no_input()).output();
        let output = cat.expect("cat runs");
        assert!(output.status.success() && output.stdout.is_empty());
    }

    #[tokio::test]
    async fn a_configured_command_is_the_only_one() {
        let command = ["off".to_owned(), "now".to_owned()];
        for (exit, accepted) in [
            (Some(Exit::Code(0)), true),
            (Some(Exit::Code(1)), false),
            (None, false),
        ] {
            let mut runner = Fake(Vec::new(), exit);
            assert_eq!(power_off(&mut runner, Some(&command)).await, accepted);
            assert_eq!(runner.0, [command.to_vec()]);
        }
    }
}
