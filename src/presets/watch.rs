//! What is watched for one agent process: the detectors that its arguments leave usable.

use std::path::PathBuf;
use std::time::Duration;

use super::detect::{ChildDetector, EnvDetector, HttpDetector, LogDetector, On};
use super::launch::Launch;
use super::steps::Credentials;
use super::template::Template;
use crate::lifecycle::{DetectorIndex, DetectorKind};

/// A detector in use. Its place in [`Launch::detectors`] is its [`DetectorIndex`].
#[derive(Debug, Clone)]
pub struct Detector {
    pub watch: Watch,
    /// What its word is worth to the lifecycle.
    pub kind: DetectorKind,
}

#[derive(Debug, Clone)]
pub enum Watch {
    Log(LogDetector),
    Http(Box<HttpDetector>, Target),
    Child(ChildDetector),
    ProcessEnv(EnvDetector),
    /// Job reports on the control socket.
    Hook,
    /// What other agents of this machine have and this one lacks. Its word is unknown, which is
    /// never idle.
    Nothing,
}

/// Where an [`HttpDetector`] asks, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub url: String,
    pub auth: Option<Credentials>,
}

/// A detector that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub detector: &'static str,
    pub why: String,
    kind: DetectorKind,
}

impl Launch {
    /// The detectors in use, in the order of the file's kinds: log, http, child, process_env, hook.
    /// The last is always `hook`. For all agents of one machine the kinds are the same.
    pub fn detectors(&self) -> Vec<Detector> {
        let all = self.all_detectors().into_iter().zip(self.in_use.iter());
        let used = all.filter(|(_, in_use)| **in_use);
        used.map(|(detector, _)| {
            detector.unwrap_or_else(|left_out| Detector {
                watch: Watch::Nothing,
                kind: left_out.kind,
            })
        })
        .collect()
    }

    /// Those that cannot be used.
    pub fn left_out(&self) -> Vec<LeftOut> {
        let all = self.all_detectors().into_iter();
        all.filter_map(Result::err).collect()
    }

    /// Where a job report of the control socket goes, in [`Launch::detectors`].
    pub fn hook(&self) -> DetectorIndex {
        let used = self.in_use.iter().filter(|in_use| **in_use).count();
        DetectorIndex(used.saturating_sub(1))
    }

    pub(super) fn all_detectors(&self) -> Vec<Result<Detector, LeftOut>> {
        use DetectorKind::*;
        let detect = &self.preset.detect;
        let mut all = Vec::new();
        let mut add = |detector, watch: Result<Watch, String>, kind| {
            all.push(match watch {
                Ok(watch) => Ok(Detector { watch, kind }),
                Err(why) => Err(LeftOut {
                    detector,
                    why,
                    kind,
                }),
            });
        };
        let either = |counts: bool, kinds: [DetectorKind; 2]| kinds[usize::from(!counts)];
        for log in &detect.log {
            let watch = match &log.on {
                On::File(file) => self.file(file).map(|_| Watch::Log(log.clone())),
                _ => Ok(Watch::Log(log.clone())),
            };
            let kind = match log.ends_jobs {
                Some(_) => Census,
                None => either(log.counts, [Edges, AdvisoryEdges]),
            };
            add("log", watch, kind);
        }
        for http in &detect.http {
            let kind = match http.ends_jobs {
                true => Census,
                false => either(http.counts, [Level, AdvisoryLevel]),
            };
            let watch = self
                .target(http)
                .map(|target| Watch::Http(Box::new(http.clone()), target));
            add("http", watch, kind);
        }
        // What runs in a container is a child of the engine's, not of the client's.
        let on_host = || match self.container {
            None => Ok(()),
            Some(_) => Err("processes in a container are not below its client".to_owned()),
        };
        if let Some(child) = &detect.child {
            let watch = on_host().map(|()| Watch::Child(child.clone()));
            add("child", watch, either(child.counts, [Level, AdvisoryLevel]));
        }
        if let Some(env) = &detect.process_env {
            let watch = on_host().map(|()| Watch::ProcessEnv(env.clone()));
            add(
                "process_env",
                watch,
                either(env.counts, [Level, AdvisoryLevel]),
            );
        }
        let kind = either(detect.hook.counts, [Edges, AdvisoryEdges]);
        add("hook", Ok(Watch::Hook), kind);
        all
    }

    pub(super) fn file(&self, file: &Template) -> Result<PathBuf, String> {
        if self.container.is_some() {
            return Err(format!("{file} is in the container"));
        }
        let path = file.fill(&|wanted| self.view.place(wanted));
        path.map(PathBuf::from).map_err(|error| error.to_string())
    }

    fn target(&self, http: &HttpDetector) -> Result<Target, String> {
        let address = match http.address.text(&self.view) {
            None => return Err("nothing says where the agent listens".to_owned()),
            Some(Ok(told)) => told,
            Some(Err(default)) => self.text(&default).map_err(|error| error.to_string())?,
        };
        if address.starts_with("https://") {
            return Err(format!("{address}: only http:// can be asked"));
        }
        let url = match &self.container {
            _ if is_url(&address) => url(&address, &http.path),
            None => url(&address, &http.path),
            Some(run) if run.on_host_network => url(&address, &http.path),
            Some(run) => {
                let (_, port) = host_and_port(&address);
                let inside = port.parse().ok();
                match inside.and_then(|port| run.host_port(port)) {
                    Some(port) => url(&format!("127.0.0.1:{port}"), &http.path),
                    None => {
                        return Err(format!(
                            "port {port} is in the container: add -p 127.0.0.1:{port}:{port}"
                        ));
                    }
                }
            }
        };
        let auth = http.auth.as_ref().map(|auth| self.credentials(auth));
        let auth = auth.transpose().map_err(|error| error.to_string())?;
        Ok(Target { url, auth })
    }

    /// It can be seen when the agent is ready.
    pub fn sees_ready(&self) -> bool {
        let mut ready = self.preset.ready.iter();
        ready.any(|ready| match &ready.on {
            On::File(file) => self.file(file).is_ok(),
            On::Any | On::Stream(_) => true,
        })
    }

    /// Between two steps of a job may be so much time.
    pub fn linger(&self) -> Option<Duration> {
        let used = self.detectors().into_iter();
        used.filter_map(|detector| match detector.watch {
            Watch::Log(log) => log.linger,
            _ => None,
        })
        .max()
    }
}

/// Agents write where they listen as `host:port`, `:port`, a wildcard address, or a port.
fn url(address: &str, path: &str) -> String {
    let slash = if path.starts_with('/') { "" } else { "/" };
    if is_url(address) {
        return format!("{}{slash}{path}", address.trim_end_matches('/'));
    }
    let (host, port) = host_and_port(address);
    format!("http://{host}:{port}{slash}{path}")
}

/// A page below the root, or no port: nobody listens on that, so it is a whole address already.
fn is_url(address: &str) -> bool {
    let rest = address.strip_prefix("http://");
    let rest = rest.map(|rest| rest.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.contains('/') || !rest.contains(':'))
}

fn host_and_port(address: &str) -> (&str, &str) {
    let address = address.strip_prefix("http://").unwrap_or(address);
    let address = address.trim_end_matches('/');
    let (host, port) = address.rsplit_once(':').unwrap_or(("", address));
    let host = match host {
        "" | "0.0.0.0" | "*" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    (host, port)
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
            ("http://ci.example/", "http://ci.example/x"),
            ("http://ci:80/node 1", "http://ci:80/node 1/x"),
        ] {
            assert_eq!(url(address, "/x"), expected);
            assert_eq!(url(address, "x"), expected);
        }
    }
}
