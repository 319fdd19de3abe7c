use super::*;
use crate::poll::http::testing::{Server, answer, block_on, ok};
use crate::poll::source::Spec as _;

/// Of a Buildbot 4.3.0 with two builders, a third that was taken out of the configuration, and
/// two workers.
const BUILDERS: &str = r#"{"builders": [
    {"builderid": 1, "masterids": [1], "name": "linux"},
    {"builderid": 2, "masterids": [1], "name": "docs"},
    {"builderid": 3, "masterids": [], "name": "old"}], "meta": {"total": 3}}"#;
const REQUESTS: &str = r#"{"buildrequests": [
    {"builderid": 1, "buildrequestid": 2, "claimed": false, "complete": false,
     "submitted_at": 1700000000},
    {"builderid": 1, "buildrequestid": 3, "submitted_at": 1700000500},
    {"builderid": 2, "buildrequestid": 4, "submitted_at": 1700000600},
    {"builderid": 3, "buildrequestid": 5, "submitted_at": 1600000000}], "meta": {"total": 4}}"#;
const BUILDS: &str = r#"{"builds": [
    {"builderid": 1, "buildrequestid": 1}, {"builderid": 1, "buildrequestid": 2}],
    "meta": {"total": 2}}"#;
const WORKERS: &str = r#"{"meta": {"total": 2}, "workers": [
    {"configured_on": [{"builderid": 1, "masterid": 1}, {"builderid": 2, "masterid": 1}],
     "connected_to": [{"masterid": 1}], "name": "i-0123456789abcdef0"},
    {"configured_on": [{"builderid": 1, "masterid": 1}], "connected_to": [], "name": "gone"}]}"#;

fn master() -> Master {
    fn read<T: DeserializeOwned>(body: &str) -> T {
        serde_json::from_str(body).expect("an answer")
    }
    Master {
        builders: read::<Builders>(BUILDERS).builders,
        buildrequests: read::<Requests>(REQUESTS).buildrequests,
        builds: read::<Builds>(BUILDS).builds,
        workers: read::<Workers>(WORKERS).workers,
    }
}

fn read(queue: &str) -> (u32, Option<u32>, Option<u32>, Option<u64>) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_700);
    let (demand, _) = master().demand(queue, Ages::default(), now).expect("known");
    (
        demand.waiting,
        demand.running,
        demand.agents,
        demand.oldest.map(|age| age.as_secs()),
    )
}

#[test]
fn requests_wait_until_they_have_a_build() {
    // Request 2 was claimed between the two questions.
    assert_eq!(read("linux"), (1, Some(2), Some(1), Some(200)));
    assert_eq!(read("docs"), (1, Some(0), Some(1), Some(100)));
    assert_eq!(read("docs,linux"), (2, Some(2), Some(1), Some(200)));
}

#[test]
fn builders_that_nobody_has_are_told_apart() {
    let now = SystemTime::UNIX_EPOCH;
    let (demand, remarks) = master().demand("old", Ages::default(), now).expect("known");
    assert_eq!((demand.waiting, remarks.len()), (0, 1));
    assert_eq!(
        master().demand("linux,mac", Ages::default(), now),
        Err("no builder is called mac".to_owned())
    );
}

#[test]
fn an_unknown_builder_leaves_other_queues_known() {
    block_on(async {
        let server = Server::start(|asked| {
            let asked = asked.line.trim_start_matches("GET ");
            let (path, query) = asked.split_once('?').unwrap_or((asked, ""));
            let query: Vec<_> = query
                .split('&')
                .filter_map(|it| it.split_once('='))
                .collect();
            let selected = |name| query.contains(&("field", name));
            if !query
                .iter()
                .all(|&(name, _)| name == "field" || selected(name))
            {
                let error = r#"{"error": "cannot filter on un-selected fields"}"#;
                return Some(answer("400 Bad Request", &[], error));
            }
            Some(match path {
                "/api/v2/builders" => ok(BUILDERS),
                "/api/v2/buildrequests" => ok(REQUESTS),
                "/api/v2/builds" => ok(BUILDS),
                "/api/v2/workers" => ok(WORKERS),
                _ => answer("404 Not Found", &[], ""),
            })
        })
        .await;
        let text = format!("url = '{}'\nbuilders = ['linux', 'docs']", server.url);
        let spec: Spec = toml::from_str(&text).expect("a source");
        assert_eq!(spec.check(), Ok(()));
        let queues = [spec.queue(), Queue::new("mac")];
        let harvest = spec.open(&Http::new()).read(&queues).await.expect("told");
        let demand = harvest.demands[0].1.as_ref().expect("known");
        assert_eq!((demand.waiting, demand.running), (2, Some(2)));
        assert_eq!(demand.names, Some(vec!["i-0123456789abcdef0".to_owned()]));
        assert!(harvest.demands[1].1.is_err());
        assert_eq!(server.asked().len(), 4);
    });
}

#[test]
fn what_is_no_list_is_refused() {
    let error = r#"{"error": "cannot filter on un-selected fields"}"#;
    for bad in ["{}", "[]", error] {
        assert!(serde_json::from_str::<Requests>(bad).is_err(), "{bad}");
        assert!(serde_json::from_str::<Builds>(bad).is_err(), "{bad}");
    }
}
