use serde_json::json;

use super::*;
use crate::poll::http::testing::{Server, block_on, ok};
use crate::poll::source::Spec as _;

fn spec(keys: &str) -> Spec {
    toml::from_str(keys).expect("a spec")
}

#[test]
fn pointers_lead_to_numbers_texts_arrays_and_objects() {
    let document = json!({
        "number": 7, "float": 7.0, "begun": 6.2, "text": " 7 ", "array": [1, 2, 3, null, [], {}, 7],
        "object": {"a": 1, "b": 2}, "a/b": {"m~n": [5]}, "": 1, "none": null, "yes": true,
        "below": -1, "big": 4_294_967_296_u64, "nan": "NaN", "words": "seven",
    });
    for (pointer, expected) in [
        ("/number", Some(7)),
        ("/float", Some(7)),
        ("/begun", Some(7)),
        ("/text", Some(7)),
        ("/array", Some(7)),
        ("/array/6", Some(7)),
        ("/object", Some(2)),
        ("/a~1b/m~0n/0", Some(5)),
        ("/", Some(1)),
        ("", Some(14)),
        ("/missing", None),
        ("/array/7", None),
        ("/none", None),
        ("/yes", None),
        ("/below", None),
        ("/big", None),
        ("/nan", None),
        ("/words", None),
    ] {
        assert_eq!(number(&document, pointer).ok(), expected, "{pointer}");
    }
    let said = number(&document, "/missing").expect_err("nothing there");
    assert_eq!(said, "/missing: not in the answer");
}

#[test]
fn one_fetch_serves_all_groups_of_a_document() {
    block_on(async {
        let body = r#"{"linux":{"jobs":[1,2,3],"busy":2,"age":90},
            "mac":{"jobs":[1],"busy":0,"stopped":true},"odd":{"jobs":null}}"#;
        let server = Server::start(move |_| Some(ok(body))).await;
        let url = format!("{}/queues?all=1", server.url);
        let group = |tag: &str, more: &str| {
            let keys = "waiting = \"/{tag}/jobs\"\nrunning = \"/{tag}/busy\"";
            let mut spec = spec(&format!("url = \"{url}\"\n{keys}\n{more}"));
            spec.fill(tag);
            spec.check().expect("good");
            spec
        };
        let groups = [
            group("linux", "oldest = \"/{tag}/age\""),
            group("mac", "paused = \"/{tag}/stopped\""),
            group("odd", ""),
            group("none", ""),
        ];
        assert!(
            groups
                .iter()
                .all(|group| group.server() == groups[0].server())
        );
        let queues: Vec<_> = groups.iter().map(|group| group.queue()).collect();
        let harvest = groups[0]
            .open(&Http::new())
            .read(&queues)
            .await
            .expect("read");
        assert_eq!(server.lines(), ["GET /queues?all=1"]);
        let told: Vec<_> = harvest
            .demands
            .iter()
            .map(|(_, told)| told.as_ref())
            .collect();
        let linux = told[0].expect("known");
        assert_eq!((linux.waiting, linux.running), (3, Some(2)));
        assert_eq!(linux.oldest, Some(Duration::from_secs(90)));
        assert_eq!(told[1].expect("known").waiting, 0);
        assert_eq!(harvest.remarks.len(), 1);
        assert!(
            told[2].is_err_and(|why| why == "/odd/jobs: no number of jobs"),
            "{told:?}"
        );
        assert!(
            told[3].is_err_and(|why| why.contains("not in the answer")),
            "{told:?}"
        );
    });
}

#[test]
fn a_token_is_sent_as_the_server_wants_it() {
    for (auth, expected) in [("bearer", "Bearer clockout"), ("token", "Token clockout")] {
        block_on(async {
            let server = Server::start(|_| Some(ok("7"))).await;
            let url = &server.url;
            // Cargo sets the variable.
            let spec = spec(&format!(
                "url = \"{url}\"\nwaiting = \"\"\nauth = \"{auth}\"\ntoken_env = \"CARGO_PKG_NAME\""
            ));
            let told = spec.open(&Http::new()).read(&[spec.queue()]).await;
            let told = told.expect("read").demands.pop().expect("one").1;
            assert_eq!(told.map(|demand| demand.waiting), Ok(7));
            assert_eq!(server.asked()[0].header("authorization"), Some(expected));
        });
    }
}

#[test]
fn a_discovered_tag_can_be_in_the_address_and_cannot_leave_its_place() {
    let mut found = spec("url = \"https://ci/q/{tag}\"\nwaiting = \"/{tag}\"");
    found.fill("a/b ~c");
    assert_eq!(found.url, "https://ci/q/a%2Fb%20~c");
    assert_eq!(found.waiting, "/a~1b ~0c");
}

#[test]
fn servers_with_different_queries_are_not_taken_for_one() {
    let keys = "waiting = \"/a\"\nurl = \"https://ci/q?key=";
    let (one, two) = (
        spec(&format!("{keys}hush\"")),
        spec(&format!("{keys}other\"")),
    );
    assert_ne!(one.server(), two.server());
    assert!(!one.server().contains("hush"), "{}", one.server());
}

#[test]
fn mistakes_are_told_before_anything_starts() {
    for (keys, expected) in [
        ("url = \"ci\"\nwaiting = \"/a\"", "is no address"),
        (
            "url = \"http://ci\"\nwaiting = \"a\"",
            "a JSON pointer begins with /",
        ),
        (
            "url = \"http://ci\"\nwaiting = \"/a\"\ntoken_env = \"T\"",
            "allow_http",
        ),
    ] {
        let said = spec(keys).check().expect_err(keys);
        assert!(said.contains(expected), "{said}");
    }
}
