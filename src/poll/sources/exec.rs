//! Anything that a command can tell: it prints how many jobs wait.

use std::time::Duration;

use serde::Deserialize;

use super::each::{Each, Told};
use crate::config::Time;
use crate::poll::command::{Ran, run};
use crate::poll::http::Http;
use crate::poll::plan::{Demand, Harvest, Hints, Queue};
use crate::poll::source::{self, Later, Source, SourceError};

const TIMEOUT: Time = Time(Duration::from_secs(10));
/// Within the time of a round.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(18);

/// `kind = "exec"`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The command and its arguments, run each round. It prints a number of waiting jobs, or a
    /// JSON object with `waiting`, and `running`, `free`, `agents`, `names`, `oldest` (seconds) and
    /// `paused` as far as it knows them. Any other status than 0: unknown. Give it no secrets as
    /// arguments: they are shown.
    command: Vec<String>,
    /// `CLOCKOUT_QUEUE` in its environment.
    #[serde(default = "default_queue")]
    queue: String,
    /// After it the command is killed, with all that it has started.
    #[serde(default = "default_timeout")]
    timeout: Time,
}

fn default_queue() -> String {
    "default".to_owned()
}

fn default_timeout() -> Time {
    TIMEOUT
}

impl source::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err("command: give a list, the program first".to_owned());
        }
        if self.timeout.0 > LONGEST_TIMEOUT {
            return Err(format!("timeout: at most {LONGEST_TIMEOUT:?}"));
        }
        if self.queue.contains('\0') {
            return Err("queue: no such name can be given to a command".to_owned());
        }
        Ok(())
    }

    fn fill(&mut self, tag: &str) {
        tag.clone_into(&mut self.queue);
    }

    fn server(&self) -> String {
        format!("{:?} within {:?}", self.command, self.timeout.0)
    }

    fn queue(&self) -> Queue {
        Queue::new(&self.queue)
    }

    fn open(&self, _http: &Http) -> Box<dyn Source> {
        Box::new(Exec {
            command: self.command.clone(),
            timeout: self.timeout.0,
            each: Each::default(),
        })
    }
}

struct Exec {
    command: Vec<String>,
    timeout: Duration,
    each: Each,
}

impl Source for Exec {
    fn bulk(&self) -> bool {
        false
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        let (command, timeout) = (&self.command, self.timeout);
        Box::pin(self.each.ask(queues, move |queue| async move {
            let variables = [("CLOCKOUT_QUEUE", queue.to_string())];
            let ran = run(command, &variables, timeout).await;
            let ran = ran.map_err(|error| SourceError::Unreachable(error.to_string()))?;
            let name = command.first().map_or("", String::as_str);
            let demand = told(&ran).map_err(|error| match error {
                Wrong::Ended(why) => SourceError::Status(format!("{name} failed: {why}")),
                Wrong::Said(why) => SourceError::Unreadable(format!("{name}: {why}")),
            })?;
            Ok(Told {
                remarks: demand
                    .paused
                    .then(|| format!("{queue}: paused"))
                    .into_iter()
                    .collect(),
                demand: demand.into_demand(),
                hints: Hints::default(),
            })
        }))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    Ended(String),
    Said(String),
}

fn told(ran: &Ran) -> Result<Said, Wrong> {
    if !ran.status.success() {
        return Err(Wrong::Ended(ran.complaint()));
    }
    parse(&ran.stdout).map_err(Wrong::Said)
}

/// What the command prints.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    waiting: u32,
    running: Option<u32>,
    free: Option<u32>,
    agents: Option<u32>,
    names: Option<Vec<String>>,
    /// Seconds.
    oldest: Option<u64>,
    #[serde(default)]
    paused: bool,
}

impl Said {
    fn into_demand(self) -> Demand {
        Demand {
            // Nobody can run what waits in a paused queue.
            waiting: if self.paused { 0 } else { self.waiting },
            running: self.running,
            free: self.free,
            agents: self.agents,
            names: self.names,
            oldest: self
                .oldest
                .map(Duration::from_secs)
                .filter(|_| !self.paused),
        }
    }
}

fn parse(printed: &[u8]) -> Result<Said, String> {
    let text = std::str::from_utf8(printed).map_err(|_| "what it printed is no text".to_owned())?;
    let text = text.trim();
    if let Ok(waiting) = text.parse() {
        return Ok(Said {
            waiting,
            running: None,
            free: None,
            agents: None,
            names: None,
            oldest: None,
            paused: false,
        });
    }
    if text.is_empty() {
        return Err("it printed nothing".to_owned());
    }
    if !text.starts_with('{') {
        let start = crate::poll::http::first_words(text.as_bytes(), 60);
        return Err(format!(
            "it printed neither a number nor a JSON object: {start}"
        ));
    }
    serde_json::from_str(text)
        .map_err(|error| format!("what it printed is not as expected: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::source::Spec as _;

    fn spec(keys: &str) -> Spec {
        toml::from_str(keys).expect("a spec")
    }

    async fn read(keys: &str) -> Result<Harvest, SourceError> {
        let spec = spec(keys);
        spec.check().expect("good");
        spec.open(&Http::new()).read(&[spec.queue()]).await
    }

    fn demand(harvest: Result<Harvest, SourceError>) -> Demand {
        let mut harvest = harvest.expect("read");
        harvest.demands.pop().expect("one").1.expect("known")
    }

    #[test]
    fn a_number_or_an_object_is_understood_and_nothing_else() {
        let waiting = |text: &str| parse(text.as_bytes()).map(|said| said.waiting);
        assert_eq!(waiting("7\n"), Ok(7));
        assert_eq!(waiting(" {\"waiting\": 7}\n"), Ok(7));
        for (text, expected) in [
            ("", "printed nothing"),
            (" \n", "printed nothing"),
            ("-1", "neither a number"),
            ("7.5", "neither a number"),
            ("7 jobs", "neither a number"),
            ("4294967296", "neither a number"),
            ("null", "neither a number"),
            ("[7]", "neither a number"),
            ("{}", "missing field `waiting`"),
            ("{\"waiting\":null}", "invalid type: null"),
            ("{\"waiting\":-1}", "invalid value"),
            ("{\"waiting\":1,\"runing\":1}", "unknown field `runing`"),
            ("{\"waiting\":1", "EOF"),
        ] {
            let said = waiting(text).expect_err(text);
            assert!(said.contains(expected), "{text}: {said}");
        }
        assert!(parse(b"\xff\xfe").is_err());
    }

    #[test]
    fn everything_that_a_source_can_tell_can_be_printed() {
        let said = r#"{"waiting":4,"running":3,"free":2,"agents":5,"names":["i-1"],"oldest":60}"#;
        let expected = Demand {
            waiting: 4,
            running: Some(3),
            free: Some(2),
            agents: Some(5),
            names: Some(vec!["i-1".to_owned()]),
            oldest: Some(Duration::from_secs(60)),
        };
        let demand = parse(said.as_bytes()).expect("understood").into_demand();
        assert_eq!(demand, expected);
    }

    #[tokio::test]
    async fn the_command_is_told_its_queue() {
        let keys = r#"command = ["/bin/sh", "-c", "echo ${#CLOCKOUT_QUEUE}"]"#;
        assert_eq!(demand(read(keys).await).waiting, 7);
        let named = format!("{keys}\nqueue = \"gpu\"");
        assert_eq!(demand(read(&named).await).waiting, 3);
    }

    #[tokio::test]
    async fn nothing_waits_in_a_paused_queue() {
        let line = r#"echo '{\"waiting\":4,\"running\":1,\"oldest\":9,\"paused\":true}'"#;
        let told = read(&format!("command = [\"/bin/sh\", \"-c\", \"{line}\"]")).await;
        let harvest = told.expect("read");
        assert_eq!(harvest.remarks, ["default: paused"]);
        let demand = harvest.demands[0].1.as_ref().expect("known");
        assert_eq!(
            (demand.waiting, demand.running, demand.oldest),
            (0, Some(1), None)
        );
    }

    #[tokio::test]
    async fn a_command_that_fails_tells_nothing() {
        let failed = read(r#"command = ["/bin/sh", "-c", "echo 5; echo no token >&2; exit 3"]"#);
        let expected = "/bin/sh failed: no token".to_owned();
        assert_eq!(failed.await, Err(SourceError::Status(expected)));
        let missing = read(r#"command = ["/nonexistent/x"]"#)
            .await
            .expect_err("not there");
        assert!(matches!(&missing, SourceError::Unreachable(_)), "{missing}");
        let wrong = read(r#"command = ["echo", "many"]"#)
            .await
            .expect_err("no number");
        assert!(
            wrong.to_string().contains("echo: it printed neither"),
            "{wrong}"
        );
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed() {
        let keys = "command = [\"sleep\", \"600\"]\ntimeout = \"20ms\"";
        let told = read(keys).await.expect_err("late").to_string();
        assert!(told.contains("killed"), "{told}");
    }

    #[test]
    fn mistakes_are_told_before_anything_starts() {
        for (keys, expected) in [
            ("command = []", "the program first"),
            ("command = [\"\"]", "the program first"),
            (
                "command = [\"x\"]\ntimeout = \"1h\"",
                "timeout: at most 18s",
            ),
        ] {
            let said = spec(keys).check().expect_err(keys);
            assert!(said.contains(expected), "{said}");
        }
        assert!(toml::from_str::<Spec>("command = \"x\"").is_err());
    }
}
