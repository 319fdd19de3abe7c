//! The poller as a person runs it: its rounds, its configuration, its end. The queue and the
//! group are files, read and written by commands, so that no cloud is needed.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Clockout, Exit, TestBed, http, wait_until};

/// A queue and a group that are files, and a poller for them.
struct Yard {
    bed: TestBed,
    toml: String,
}

impl Yard {
    fn new(poll: &str) -> Yard {
        let yard = Yard {
            bed: TestBed::new(),
            toml: format!("[poll]\ninterval = \"1s\"\n{poll}\n"),
        };
        yard.configure(&yard.toml);
        yard
    }

    /// One more group, whose files are `NAME.queue` and `NAME.group`.
    fn group(mut self, name: &str, more: &str) -> Yard {
        let queue = self
            .bed
            .write(&format!("{name}.queue"), r#"{"waiting": 0, "running": 0}"#);
        let group = self
            .bed
            .write(&format!("{name}.group"), r#"{"desired": 0, "alive": 0}"#);
        let launched = self
            .bed
            .path(&format!("{name}.launched"))
            .display()
            .to_string();
        let launch = self.bed.script(
            &format!("{name}.launch"),
            &format!(
                "echo \"$CLOCKOUT_GROUP $CLOCKOUT_COUNT $CLOCKOUT_DESIRED $CLOCKOUT_TOKEN\" >> '{launched}'\n\
                 echo \"{{\\\"desired\\\": $CLOCKOUT_DESIRED, \\\"alive\\\": $CLOCKOUT_DESIRED}}\" > '{group}.new'\n\
                 mv '{group}.new' '{group}'"
            ),
        );
        self.toml += &format!(
            "[[group]]\nname = \"{name}\"\n\
             target = {{ kind = \"exec\", supply = [\"cat\", \"{group}\"], launch = [\"{launch}\"] }}\n\
             {}{more}\n",
            if more.contains("source =") || more.contains("# fallback") {
                String::new()
            } else {
                format!("source = {{ kind = \"exec\", command = [\"cat\", \"{queue}\"] }}\n")
            }
        );
        self.configure(&self.toml);
        self
    }

    fn configure(&self, toml: &str) {
        // Not in place: the poller may read it now.
        self.replace("clockout.toml", toml);
    }

    fn replace(&self, name: &str, content: &str) {
        self.bed.write(&format!("{name}.next"), content);
        fs::rename(self.bed.path(&format!("{name}.next")), self.bed.path(name)).expect("a file");
    }

    fn jobs(&self, group: &str, waiting: u32, running: u32) {
        let queue = format!(r#"{{"waiting": {waiting}, "running": {running}}}"#);
        self.replace(&format!("{group}.queue"), &queue);
    }

    fn supply(&self, group: &str, json: &str) {
        self.replace(&format!("{group}.group"), json);
    }

    /// The launches so far: count and desired capacity of each.
    fn launches(&self, group: &str) -> Vec<(u32, u32)> {
        let text = fs::read_to_string(self.bed.path(&format!("{group}.launched")));
        let text = text.unwrap_or_default();
        let launch = |line: &str| {
            let mut words = line
                .split(' ')
                .skip(1)
                .map(|word| word.parse().expect("a number"));
            (
                words.next().expect("a count"),
                words.next().expect("a capacity"),
            )
        };
        text.lines().map(launch).collect()
    }

    fn once(&self) -> Exit {
        self.bed.call("poll --once").exit
    }

    fn start(&self) -> Clockout {
        self.bed.start(&["poll"])
    }
}

const OK: Exit = Exit::Code(0);

#[test]
fn one_round_launches_what_is_missing_and_the_next_one_nothing() {
    let yard = Yard::new("").group("linux", "slots = 4\nmax = 20");
    yard.jobs("linux", 7, 0);
    assert_eq!(yard.once(), OK);
    assert_eq!(yard.launches("linux"), [(2, 2)]);
    assert_eq!(yard.once(), OK);
    yard.jobs("linux", 0, 7);
    assert_eq!(yard.once(), OK);
    assert_eq!(yard.launches("linux"), [(2, 2)], "two are enough");
}

#[test]
fn a_dry_run_says_what_it_would_launch_and_launches_nothing() {
    let yard = Yard::new("").group("linux", "max = 20");
    yard.jobs("linux", 3, 0);
    let run = yard.bed.start(&["poll", "--once", "--dry-run"]);
    assert_eq!(run.wait_exit(), OK);
    let would = run.wait_event("poll.would_launch");
    assert_eq!(
        (would.field("count"), would.field("desired")),
        ("3".to_owned(), "3".to_owned())
    );
    assert!(yard.launches("linux").is_empty());
}

#[test]
fn what_is_not_known_is_not_zero_and_launches_nothing() {
    let yard = Yard::new("")
        .group("linux", "max = 20")
        .group("other", "max = 20");
    yard.jobs("other", 1, 0);
    for broken in ["", "no JSON", r#"{"waiting": null}"#, r#"{"waiting": -1}"#] {
        yard.replace("linux.queue", broken);
        assert_eq!(yard.once(), Exit::Code(1), "{broken}");
    }
    yard.jobs("linux", 1, 0);
    for broken in ["", "no JSON", r#"{"alive": "one"}"#] {
        yard.supply("linux", broken);
        assert_eq!(yard.once(), Exit::Code(1), "{broken}");
    }
    assert!(yard.launches("linux").is_empty());
    assert_eq!(
        yard.launches("other"),
        [(1, 1)],
        "the other group is served"
    );
}

#[test]
fn the_maximum_and_the_budget_hold() {
    let yard = Yard::new("max_instances = 7")
        .group("a", "max = 5")
        .group("b", "max = 5");
    yard.jobs("a", 100, 0);
    yard.jobs("b", 100, 0);
    assert_eq!(yard.once(), OK);
    assert_eq!(yard.once(), OK);
    let total = |name| {
        yard.launches(name)
            .iter()
            .map(|(count, _)| count)
            .sum::<u32>()
    };
    assert!(total("a") <= 5 && total("b") <= 5);
    assert_eq!(total("a") + total("b"), 7);
}

#[test]
fn what_a_group_cannot_launch_its_fallback_does() {
    let yard = Yard::new("")
        .group("spot", "max = 3\nfallback = \"on-demand\"")
        .group("on-demand", "max = 10 # fallback");
    yard.jobs("spot", 5, 0);
    assert_eq!(yard.once(), OK);
    assert_eq!(
        (yard.launches("spot"), yard.launches("on-demand")),
        (vec![(3, 3)], vec![(2, 2)])
    );
}

#[test]
fn a_job_that_appears_is_served_and_the_end_is_clean() {
    let yard = Yard::new("").group("linux", "max = 20");
    let poller = yard.start();
    poller.wait_event("poll.started");
    yard.jobs("linux", 2, 0);
    wait_until("the launch", || yard.launches("linux") == [(2, 2)]);
    yard.jobs("linux", 1, 2);
    wait_until("one more", || yard.launches("linux") == [(2, 2), (1, 3)]);
    poller.signal(Signal::SIGTERM);
    assert_eq!(poller.wait_exit(), OK);
    poller.wait_event("poll.stopped");
}

#[test]
fn a_launch_that_was_sent_is_waited_for() {
    let yard = Yard::new("").group("linux", "max = 20");
    let (began, go) = (yard.bed.path("began"), yard.bed.path("go"));
    let slow = yard.bed.script(
        "slow",
        &format!(
            "touch '{}'; while [ ! -e '{}' ]; do sleep 0.05; done",
            began.display(),
            go.display()
        ),
    );
    let launch = yard.bed.path("linux.launch").display().to_string();
    yard.configure(&yard.toml.replace(&launch, &slow));
    yard.jobs("linux", 1, 0);
    let poller = yard.start();
    wait_until("the launch", || began.exists());
    poller.signal(Signal::SIGTERM);
    yard.bed.write("go", "");
    assert_eq!(poller.wait_exit(), OK);
    assert_eq!(poller.events("poll.launched").len(), 1);
}

#[test]
fn a_group_whose_queue_hangs_delays_nobody() {
    let yard = Yard::new("")
        .group(
            "stuck",
            "source = { kind = \"exec\", command = [\"sleep\", \"600\"] }",
        )
        .group("linux", "max = 20");
    yard.jobs("linux", 1, 0);
    let poller = yard.start();
    wait_until("the launch", || yard.launches("linux") == [(1, 1)]);
    poller.signal(Signal::SIGINT);
    assert_eq!(poller.wait_exit(), OK);
}

#[test]
fn hup_reads_the_groups_again_and_a_bad_file_changes_nothing() {
    let yard = Yard::new("").group("linux", "max = 2");
    yard.jobs("linux", 9, 0);
    let poller = yard.start();
    wait_until("the launch", || yard.launches("linux") == [(2, 2)]);
    yard.configure("[[group]]\nname = 3\n");
    poller.signal(Signal::SIGHUP);
    let kept = poller.wait_event("config.kept");
    assert!(kept.field("error").contains("clockout.toml:2:"), "{kept:?}");
    yard.configure(&yard.toml.replace("max = 2", "max = 4"));
    poller.signal(Signal::SIGHUP);
    poller.wait_event("config.reloaded");
    wait_until("two more", || yard.launches("linux") == [(2, 2), (2, 4)]);
    assert!(!poller.has_ended());
}

#[test]
fn only_one_of_two_pollers_with_a_lease_launches() {
    let bed = TestBed::new();
    let lease = bed.path("lease").display().to_string();
    let yard = Yard::new(&format!("lease_file = \"{lease}\"")).group("linux", "max = 20");
    let first = yard.start();
    first.wait_event("poll.lease_held");
    let second = yard.start();
    second.wait_event("poll.started");
    yard.jobs("linux", 1, 0);
    wait_until("the launch", || !yard.launches("linux").is_empty());
    assert!(second.events("poll.lease_held").is_empty());
    first.kill_9();
    second.wait_event("poll.lease_held");
    yard.jobs("linux", 2, 1);
    wait_until("the other's launch", || {
        yard.launches("linux") == [(1, 1), (2, 3)]
    });
    second.wait_event("poll.launched");
}

#[test]
fn explain_shows_the_arithmetic_with_and_without_a_poller() {
    let yard = Yard::new("listen = \"127.0.0.1:0\"").group("linux", "slots = 4\nmax = 20");
    yard.bed.set_env("CLOCKOUT_LOG_LEVEL", "error");
    yard.jobs("linux", 7, 10);
    let output = yard.bed.call("poll --explain linux");
    assert_eq!(output.exit, OK, "{}", output.stderr);
    let line = String::from_utf8(output.stdout).expect("text");
    assert!(
        line.contains("7 waiting") && line.contains("10 running"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(yard.launches("linux").is_empty(), "it only looks");
    let output = yard.bed.call("poll --explain linus");
    assert!(output.refused(2).contains("did you mean 'linux'"));
    yard.bed.set_env("CLOCKOUT_LOG_LEVEL", "info");
    let poller = yard.start();
    wait_until("the launch", || yard.launches("linux").len() == 1);
    let address = poller.wait_event("poll.listening").field("address");
    let ask = format!("poll --explain linux --listen {address}");
    wait_until("the poller's own decision", || {
        let line = String::from_utf8(yard.bed.call(&ask).stdout).expect("text");
        line.contains("7 waiting")
    });
}

#[test]
fn health_and_metrics_are_served() {
    let yard = Yard::new("listen = \"127.0.0.1:0\"").group("linux", "max = 20");
    yard.jobs("linux", 1, 0);
    let poller = yard.start();
    let address = poller.wait_event("poll.listening").field("address");
    let get = |path: &str| http::request("GET", &format!("http://{address}{path}"), &[]);
    wait_until("health", || get("/healthz").0 == 200);
    wait_until("the launch in the metrics", || {
        let (_, text) = get("/metrics");
        text.lines().any(|line| {
            line.starts_with("clockout_group_launched")
                && line.contains("\"linux\"")
                && line.ends_with(" 1")
        })
    });
    yard.replace("linux.queue", "broken");
    wait_until("sickness", || {
        let (status, text) = get("/healthz");
        status == 503 && text.contains("exec")
    });
}

#[test]
fn bad_configuration_is_one_line_that_says_what_to_do() {
    let bed = TestBed::new();
    let source = "source = { kind = \"exec\", command = [\"cat\", \"q\"] }";
    let target = "target = { kind = \"exec\", supply = [\"cat\", \"g\"], launch = [\"true\"] }";
    for (toml, words) in [
        (String::new(), &["clockout.toml", "[[group]]", "demo"][..]),
        (format!("[[group]]\nname = \"a\"\n{source}\n"), &["target"]),
        (
            format!("[[group]]\nname = \"a\"\n{target}\n"),
            &["'a'", "source"],
        ),
        (
            format!("[[group]]\nname = \"a\"\nslot = 1\n{source}\n{target}\n"),
            &[":3:", "slot", "slots"],
        ),
        (
            format!("[[group]]\nname = \"a\"\nslots = 0\n{source}\n{target}\n"),
            &["slots = 0", "1 job"],
        ),
        (
            format!("[[group]]\nname = \"a\"\nround = 1.0\n{source}\n{target}\n"),
            &["round", "below 1"],
        ),
        (
            format!("[[group]]\nname = \"a\"\nfallback = \"b\"\n{source}\n{target}\n"),
            &["fallback 'b'"],
        ),
        (
            format!("[[group]]\nname = \"a\"\n{target}\nsource = {{ kind = \"circle\" }}\n"),
            &[":4:", "circle", "circleci"],
        ),
        (
            format!(
                "[[group]]\nname = \"a\"\n{target}\nsource = {{ kind = \"exec\", comand = [\"x\"] }}\n"
            ),
            &[":4:", "comand", "command"],
        ),
        ("[poll]\ninterval = \"0s\"\n".to_owned(), &[":2:", "zero"]),
        ("[poll]\nmax_instances = 0\n".to_owned(), &["[[group]]"]),
    ] {
        bed.write("clockout.toml", &toml);
        let output = bed.call("poll --once");
        let line = output.refused(2);
        for word in words {
            assert!(line.contains(word), "'{word}' is not in: {line}\n{toml}");
        }
    }
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_says_so() {
    let bed = TestBed::new();
    bed.write(
        "clockout.toml",
        "[[group]]\nname = \"a\"\ntarget = { kind = \"asg\", name = \"a\" }\n",
    );
    let output = bed.call("poll --once");
    let line = output.refused(2);
    assert!(line.contains("no AWS") && line.contains("--full"), "{line}");
}
