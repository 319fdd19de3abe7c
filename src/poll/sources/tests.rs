//! What every kind has in common, from the table that a person writes.

use super::*;
use crate::poll::source::Spec as _;

fn read(text: &str) -> Result<Spec, toml::de::Error> {
    toml::from_str(text)
}

/// A table that is good, as little as it may be: the kind is its first word.
const LEAST: [&str; 11] = [
    "kind = 'buildbot'\nurl = 'https://ci.example.com'\nbuilders = ['linux']",
    "kind = 'buildkite'\ntoken_env = 'TOKEN'",
    "kind = 'circleci'\ntoken_env = 'TOKEN'\nresource_class = 'acme/linux'",
    "kind = 'drone'\nurl = 'https://ci.example.com'\ntoken_env = 'TOKEN'",
    "kind = 'github'\nrepos = ['acme/app']\nlabels = ['linux']\nmax_age = '6h'\ntoken_env = 'TOKEN'",
    "kind = 'gitlab'\ngroup = 'acme'\ntags = ['linux']\nmin_age = '5s'\ntoken_env = 'TOKEN'",
    "kind = 'http'\nurl = 'https://ci.example.com'\nwaiting = '/waiting'",
    "kind = 'jenkins'\nurl = 'https://ci.example.com'\nlabels = ['linux']",
    "kind = 'kraken'\nurl = 'https://ci.example.com'\ngroup = 'linux'\ntoken_env = 'TOKEN'",
    "kind = 'prometheus'\nurl = 'https://ci.example.com'\nquery = 'sum(jobs)'",
    "kind = 'woodpecker'\nurl = 'https://ci.example.com'\ntoken_env = 'TOKEN'",
];

fn kind(text: &str) -> &str {
    text.split('\'').nth(1).expect("a kind")
}

#[test]
fn the_least_table_of_each_kind_is_enough() {
    for text in LEAST {
        let spec = read(text).expect(text);
        assert_eq!(spec.check(), Ok(()), "{text}");
        assert_eq!(spec.kind(), kind(text));
        let server = spec.server();
        assert!(
            server.starts_with(&format!("{} https://", spec.kind())),
            "{server}"
        );
    }
}

#[test]
fn a_key_that_no_kind_has_is_refused_by_each() {
    for text in LEAST {
        let said = read(&format!("{text}\nurll = 'x'"))
            .expect_err(text)
            .to_string();
        assert!(said.contains("unknown field `urll`"), "{text}: {said}");
    }
    assert!(read("kind = 'hudson'").is_err());
    assert!(read("url = 'https://ci.example.com'").is_err());
}

#[test]
fn a_token_goes_nowhere_in_the_clear_by_accident() {
    for text in LEAST {
        let token = if text.contains("token_env") {
            ""
        } else {
            "\ntoken_env = 'TOKEN'"
        };
        let plain = match text.contains("url = ") {
            true => text.replace("https://ci", "http://ci") + token,
            false => format!("{text}{token}\nurl = 'http://ci.example.com'"),
        };
        let said = read(&plain).expect(&plain).check().expect_err(&plain);
        assert!(said.contains("allow_http = true"), "{plain}: {said}");
        assert_eq!(
            read(&format!("{plain}\nallow_http = true"))
                .expect("read")
                .check(),
            Ok(())
        );
    }
}

#[test]
fn a_tag_fills_in_the_queue_and_leaves_the_server() {
    for text in LEAST {
        // What these two read is in the address or the query, not in a word of a tag.
        if ["http", "prometheus"].contains(&kind(text)) {
            continue;
        }
        let mut spec = read(text).expect(text);
        let (server, queue) = (spec.server(), spec.queue());
        let tag = match kind(text) {
            "drone" | "woodpecker" => "size=big",
            "circleci" => "acme/big",
            _ => "big",
        };
        spec.fill(tag);
        assert_eq!(spec.server(), server);
        assert_ne!(spec.queue(), queue, "{text}");
        assert_eq!(spec.check(), Ok(()), "{text}");
    }
}

/// Never tells anything.
struct Silent;

impl Source for Silent {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, _queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_round_ends_in_time_whatever_the_source_does() {
    let mut silent = InTime {
        source: Box::new(Silent),
        limit: Duration::from_millis(10),
    };
    assert!(silent.bulk());
    let told = silent.read(&[]).await;
    let text = "not all could be read within 10ms".to_owned();
    assert_eq!(told, Err(SourceError::Unreachable(text)));
}
