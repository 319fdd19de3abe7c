//! What is watched for one agent process: the detectors that its arguments leave usable.

use std::ffi::OsString;

use super::format::{ChildDetector, HttpDetector, LogDetector, Preset, Stream};
use crate::lifecycle::{DetectorIndex, DetectorKind};

/// A detector in use. Its place in [`Preset::detectors`] is its [`DetectorIndex`].
#[derive(Debug, Clone)]
pub struct Detector {
    pub watch: Watch,
    /// What its word is worth to the lifecycle.
    pub kind: DetectorKind,
}

#[derive(Debug, Clone)]
pub enum Watch {
    Log(LogDetector),
    /// With the URL that it asks.
    Http(HttpDetector, String),
    Child(ChildDetector),
    /// Job reports on the control socket.
    Hook,
}

impl Preset {
    /// The detectors for an agent of these arguments (`{index}` already replaced), in the
    /// order of the file's kinds: log, http, child, hook. The last is always `hook`. For the
    /// agents of one machine, that differ in their index only, the kinds are the same.
    pub fn detectors(&self, argv: &[OsString]) -> Vec<Detector> {
        use DetectorKind::*;
        let mut all = Vec::new();
        let mut add = |watch, counts: bool, [counting, advisory]: [DetectorKind; 2]| {
            all.push(Detector {
                watch,
                kind: if counts { counting } else { advisory },
            });
        };
        for log in &self.detect.log {
            add(Watch::Log(log.clone()), log.counts, [Edges, AdvisoryEdges]);
        }
        for http in &self.detect.http {
            let address = self.with_command(argv, |command| http.address.text(command));
            if let Some(address) = address {
                let url = url(&address, &http.path);
                add(
                    Watch::Http(http.clone(), url),
                    http.counts,
                    [Level, AdvisoryLevel],
                );
            }
        }
        if let Some(child) = &self.detect.child {
            add(
                Watch::Child(child.clone()),
                child.counts,
                [Level, AdvisoryLevel],
            );
        }
        add(Watch::Hook, self.detect.hook.counts, [Edges, AdvisoryEdges]);
        all
    }

    /// Where a job report of the control socket goes, in the same list.
    pub fn hook(&self, argv: &[OsString]) -> DetectorIndex {
        DetectorIndex(self.detectors(argv).len() - 1)
    }

    /// It can be seen when the agent is ready.
    pub fn sees_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Somebody must read this stream of the agent's.
    pub fn reads(&self, stream: Stream) -> bool {
        let wanted = |on: Option<Stream>| on.is_none_or(|on| on == stream);
        self.ready.iter().any(|ready| wanted(ready.stream))
            || self.detect.log.iter().any(|log| wanted(log.stream))
    }
}

/// Agents write where they listen as `host:port`, `:port`, a wildcard address, or a port.
fn url(address: &str, path: &str) -> String {
    let address = address.strip_prefix("http://").unwrap_or(address);
    let address = address.trim_end_matches('/');
    let (host, port) = address.rsplit_once(':').unwrap_or(("", address));
    let host = match host {
        "" | "0.0.0.0" | "*" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("http://{host}:{port}{slash}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_url_on_this_machine() {
        for (address, expected) in [
            ("127.0.0.1:80", "http://127.0.0.1:80/x"),
            (":3000", "http://127.0.0.1:3000/x"),
            ("3000", "http://127.0.0.1:3000/x"),
            ("0.0.0.0:3000", "http://127.0.0.1:3000/x"),
            ("[::]:3000", "http://[::1]:3000/x"),
            ("http://localhost:1/", "http://localhost:1/x"),
        ] {
            assert_eq!(url(address, "/x"), expected);
            assert_eq!(url(address, "x"), expected);
        }
    }
}
