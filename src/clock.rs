//! The clock that runs through suspend, and one alarm on it: an event loop's only timer.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use crate::lifecycle::Instant;
use crate::sys;

/// Time since boot, suspend included (`CLOCK_BOOTTIME`, clock_gettime(2)).
pub fn now() -> Instant {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .expect("Linux has had CLOCK_BOOTTIME since 2.6.39");
    Instant(Duration::from(time))
}

/// Rings once at the time it was last set for.
pub struct Alarm {
    timer: TimerFd,
    ringing: AsyncFd<OwnedFd>,
    set_for: Option<Instant>,
}

impl Alarm {
    /// Must be called within the runtime.
    pub fn new() -> std::io::Result<Alarm> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        let ringing = sys::watch_readable(timer.as_fd().try_clone_to_owned()?)?;
        Ok(Alarm {
            timer,
            ringing,
            set_for: None,
        })
    }

    /// Sets or silences it. A time that has passed rings at once.
    pub fn set(&mut self, at: Option<Instant>) -> std::io::Result<()> {
        if at == self.set_for {
            return Ok(());
        }
        self.set_for = at;
        match at {
            None => self.timer.unset()?,
            Some(at) => {
                // All zeros would silence it (timerfd_settime(2)).
                let at = at.0.max(Duration::from_nanos(1));
                let once = Expiration::OneShot(TimeSpec::from_duration(at));
                self.timer.set(once, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
        }
        Ok(())
    }

    /// Waits for it to ring. Safe to drop half-way.
    pub async fn ring(&mut self) -> std::io::Result<()> {
        let mut ready = self.ringing.readable().await?;
        // Reading would only count the expirations; setting it anew resets them too.
        ready.clear_ready();
        self.set_for = None;
        self.timer.unset()?;
        Ok(())
    }
}
