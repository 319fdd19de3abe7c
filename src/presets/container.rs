//! A container client's command line: `docker run [OPTIONS] IMAGE [ARGS...]`, also of podman and
//! nerdctl.
//!
//! Options: the clients' own references of `run`. An option that is not known here is taken to
//! have a value unless one is joined to it with `=`, as most have.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::choose::base_name;
use super::view::World;

const CLIENTS: [&[u8]; 3] = [b"docker", b"podman", b"nerdctl"];

/// Options of `run` that have no value of their own, in any of the clients.
const SWITCHES: [&str; 27] = [
    "--detach",
    "--disable-content-trust",
    "--env-host",
    "--help",
    "--http-proxy",
    "--init",
    "--insecure-registry",
    "--interactive",
    "--no-healthcheck",
    "--no-hostname",
    "--no-hosts",
    "--oom-kill-disable",
    "--passwd",
    "--privileged",
    "--publish-all",
    "--quiet",
    "--read-only",
    "--read-only-tmpfs",
    "--replace",
    "--rm",
    "--rmi",
    "--rootfs",
    "--sig-proxy",
    "--tls-verify",
    "--tty",
    "--unsetenv-all",
    "--use-api-socket",
];

/// Options of the clients themselves, before `run`, that have no value.
const GLOBAL_SWITCHES: [&str; 11] = [
    "--debug",
    "-D",
    "--tls",
    "--tlsverify",
    "--noout",
    "--remote",
    "-r",
    "--syslog",
    "--transient-store",
    "--insecure-registry",
    "--experimental",
];

/// What keeps an agent from being supervised through its client: seen with docker 20 and 28 and
/// podman 4.3.
const DETACHED: &str = "a detached container leaves nothing to supervise: leave -d out";
const TERMINAL: &str =
    "a terminal mixes the agent's streams, and podman's passes no signals on: leave -t out";
const NO_SIGNALS: &str = "the client must pass signals on: leave --sig-proxy=false out";

/// A file of variables that is longer is not read.
const LONGEST_ENV_FILE: u64 = 1024 * 1024;

/// Where things are in the client's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRun {
    /// Where options of `run` begin.
    pub options: usize,
    /// Where they end: at the image, or at a `--` before it.
    pub options_end: usize,
    /// Where the image stands.
    pub image: usize,
    /// The image without registry host, tag and digest.
    pub name: Vec<u8>,
    /// Its network is this machine's own.
    pub on_host_network: bool,
    /// Why the agent inside could not be supervised.
    pub fault: Option<&'static str>,
    /// It is removed after its end (`--rm`).
    pub is_temporary: bool,
    /// Where the client writes the container's id, if it was told to.
    pub cidfile: Option<PathBuf>,
    /// Ports of the container with the port of this machine that leads to each.
    pub ports: Vec<(u16, u16)>,
    variables: Vec<Variables>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Variables {
    One(OsString),
    File(OsString),
}

impl ContainerRun {
    /// `None` when this is another program, or another of the client's commands.
    pub fn parse(argv: &[OsString]) -> Option<ContainerRun> {
        let client = base_name(argv.first()?);
        if !CLIENTS.contains(&client) {
            return None;
        }
        let options = 1 + run_at(argv)?;
        let mut found = ContainerRun {
            options,
            options_end: options,
            image: options,
            name: Vec::new(),
            on_host_network: false,
            fault: None,
            is_temporary: false,
            cidfile: None,
            ports: Vec::new(),
            variables: Vec::new(),
        };
        while let Some(word) = argv.get(found.image) {
            found.options_end = found.image;
            let text = word.as_bytes();
            if text.len() < 2 || text[0] != b'-' {
                break;
            }
            found.image += 1;
            if text == b"--" {
                break;
            }
            let (name, joined) = found.split(word);
            let takes_one = joined.is_none() && !name.is_empty() && !SWITCHES.contains(&&*name);
            let next = || argv.get(found.image).map(OsString::as_os_str);
            let value = match joined {
                None if takes_one => next().map(OsStr::to_owned),
                joined => joined,
            };
            found.image += usize::from(takes_one);
            found.option(&name, value);
        }
        found.name = image_name(argv.get(found.image)?.as_bytes()).to_owned();
        Some(found)
    }

    /// An option's name, and the value that is joined to it. Short ones may stand together, as in
    /// `-itd` and `-ip80:80`: then it is the last one's name, empty when that is a switch.
    fn split(&mut self, word: &OsStr) -> (String, Option<OsString>) {
        let text = word.as_bytes();
        if text.starts_with(b"--") {
            let end = memchr::memchr(b'=', text);
            let name = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]).into_owned();
            let joined = end.map(|at| OsStr::from_bytes(&text[at + 1..]).to_owned());
            return (name, joined);
        }
        for (at, letter) in text.iter().enumerate().skip(1) {
            match letter {
                b'd' => self.fault = Some(DETACHED),
                b't' => self.fault = Some(TERMINAL),
                b'i' | b'P' | b'q' => {}
                _ => {
                    let rest = &text[at + 1..];
                    let rest = rest.strip_prefix(b"=").unwrap_or(rest);
                    let joined = (!rest.is_empty()).then(|| OsStr::from_bytes(rest).to_owned());
                    return (format!("-{}", *letter as char), joined);
                }
            }
        }
        (String::new(), None)
    }

    fn option(&mut self, name: &str, value: Option<OsString>) {
        let text = || value.as_deref().and_then(OsStr::to_str).unwrap_or_default();
        match name {
            "--detach" if text() != "false" => self.fault = Some(DETACHED),
            "--tty" if text() != "false" => self.fault = Some(TERMINAL),
            "--sig-proxy" if text() == "false" => self.fault = Some(NO_SIGNALS),
            "--rm" => self.is_temporary = text() != "false",
            "--network" | "--net" => self.on_host_network = text() == "host",
            "--cidfile" => self.cidfile = value.map(PathBuf::from),
            "-p" | "--publish" => self.ports.extend(published(text())),
            "-e" | "--env" => self.variables.extend(value.map(Variables::One)),
            "--env-file" => self.variables.extend(value.map(Variables::File)),
            _ => {}
        }
    }

    /// The variables that the container gets. Those without a value are taken from the client's
    /// environment, and single ones win over files.
    pub fn variables(&self, world: &World) -> BTreeMap<OsString, OsString> {
        let mut all = BTreeMap::new();
        let mut add = |word: &[u8]| {
            let (name, value) = match memchr::memchr(b'=', word) {
                Some(at) => (&word[..at], Some(OsStr::from_bytes(&word[at + 1..]))),
                None => (word, None),
            };
            let name = OsStr::from_bytes(name);
            let value = value.or_else(|| world.variables.get(name).map(OsString::as_os_str));
            if let Some(value) = value {
                all.insert(name.to_owned(), value.to_owned());
            }
        };
        for variables in &self.variables {
            if let Variables::File(path) = variables {
                let text = super::view::read_bounded(&world.absolute(path), LONGEST_ENV_FILE);
                let text = text.unwrap_or_default();
                let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
                lines
                    .filter(|line| !line.is_empty() && line[0] != b'#')
                    .for_each(&mut add);
            }
        }
        for variables in &self.variables {
            if let Variables::One(word) = variables {
                add(word.as_bytes());
            }
        }
        all
    }

    /// Where on this machine a published port of the container's is reached.
    pub fn host_port(&self, port: u16) -> Option<u16> {
        let published = self.ports.iter().find(|(inside, _)| *inside == port);
        published.map(|(_, outside)| *outside)
    }
}

/// Where `run` stands: the client's own options come before it, or `container`.
fn run_at(argv: &[OsString]) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = argv.get(at)?;
        let text = word.as_bytes();
        match text {
            b"run" => return Some(at),
            b"container" => {}
            [b'-', ..] if text.contains(&b'=') => {}
            [b'-', ..] if GLOBAL_SWITCHES.iter().any(|known| *word == **known) => {}
            [b'-', ..] => at += 1,
            _ => return None,
        }
        at += 1;
    }
}

/// `HOST:CONTAINER` of `[ADDRESS:]HOST:CONTAINER[/tcp]`; ranges and chosen ports tell nothing.
fn published(text: &str) -> Option<(u16, u16)> {
    let text = text.strip_suffix("/tcp").unwrap_or(text);
    let (rest, inside) = text.rsplit_once(':')?;
    let outside = rest.rsplit_once(':').map_or(rest, |(_, port)| port);
    Some((inside.parse().ok()?, outside.parse().ok()?))
}

/// `drone/agent` of `registry.example:5000/drone/agent:0.8@sha256:...`.
fn image_name(image: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'@', image).unwrap_or(image.len());
    let image = &image[..end];
    let last = memchr::memrchr(b'/', image).map_or(0, |slash| slash + 1);
    let end = memchr::memchr(b':', &image[last..]).map_or(image.len(), |colon| last + colon);
    let image = &image[..end];
    match memchr::memchr(b'/', image) {
        // As the clients do: a first part with a dot or a port is a host.
        Some(slash) if image[..slash].iter().any(|byte| b".:".contains(byte)) => {
            &image[slash + 1..]
        }
        Some(slash) if &image[..slash] == b"localhost" => &image[slash + 1..],
        _ => image,
    }
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
