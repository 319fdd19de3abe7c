use super::*;
use crate::poll::http::testing::{Server, block_on, ok};
use crate::poll::source::Spec as _;

fn spec(keys: &str) -> Spec {
    toml::from_str(keys).expect("a spec")
}

fn vector(series: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"status":"success","warnings":["slow"],
        "data":{{"resultType":"vector","result":[{series}]}}}}"#
    );
    ok(&body)
}

/// One round of the source of this spec.
async fn read(spec: &Spec) -> Result<Harvest, SourceError> {
    spec.check().expect("good");
    spec.open(&Http::new()).read(&[spec.queue()]).await
}

#[test]
fn both_queries_are_asked_running_jobs_first() {
    block_on(async {
        let server = Server::start(|asked| {
            Some(match asked.line.contains("running") {
                true => vector(r#"{"metric":{},"value":[1,"2"]}"#),
                false => vector(r#"{"metric":{},"value":[1,"6.5"]}"#),
            })
        })
        .await;
        let spec = spec(&format!(
            "url = \"{}/prom/\"\nquery = 'sum(jobs{{state=\"waiting\"}})'\n\
             running_query = 'sum(jobs{{state=\"running\"}})'",
            server.url
        ));
        let harvest = read(&spec).await.expect("read");
        let demand = harvest.demands[0].1.as_ref().expect("known");
        assert_eq!((demand.waiting, demand.running), (7, Some(2)));
        let path = "GET /prom/api/v1/query?query=sum%28jobs%7Bstate%3D%22";
        assert_eq!(
            server.lines(),
            [
                format!("{path}running%22%7D%29"),
                format!("{path}waiting%22%7D%29")
            ]
        );
        assert_eq!(harvest.remarks.len(), 2, "{:?}", harvest.remarks);
    });
}

#[test]
fn no_series_is_zero_only_where_that_was_said() {
    block_on(async {
        let server = Server::start(|_| Some(vector(""))).await;
        let url = &server.url;
        let unknown = spec(&format!("url = \"{url}\"\nquery = 'q'"));
        let said = read(&unknown).await.expect_err("unknown").to_string();
        assert!(
            said.ends_with("q: no series (empty = \"zero\" if that means no jobs)"),
            "{said}"
        );
        let zero = spec(&format!("url = \"{url}\"\nquery = 'q'\nempty = 'zero'"));
        let harvest = read(&zero).await.expect("read");
        assert_eq!(harvest.demands[0].1, Ok(Demand::default()));
        assert_eq!(unknown.server(), zero.server());
        assert_ne!(unknown.queue(), zero.queue());
    });
}

#[test]
fn what_is_no_number_of_jobs_is_unknown() {
    for value in ["NaN", "-1", "+Inf", "1e12"] {
        block_on(async {
            let series = format!(r#"{{"metric":{{}},"value":[1,"{value}"]}}"#);
            let server = Server::start(move |_| Some(vector(&series))).await;
            let spec = spec(&format!("url = \"{}\"\nquery = 'q'", server.url));
            let told = read(&spec).await;
            assert!(matches!(told, Err(SourceError::Unreadable(_))), "{told:?}");
        });
    }
}

#[test]
fn one_page_serves_all_groups() {
    block_on(async {
        let page = "jobs{q=\"a\"} 1\njobs{q=\"b\"} 2\nbusy{q=\"b\"} 3\nodd NaN\n";
        let server = Server::start(move |_| Some(ok(page))).await;
        let url = format!("{}/metrics", server.url);
        let group = |keys: &str| {
            let spec = spec(&format!("url = \"{url}\"\nformat = 'text'\n{keys}"));
            spec.check().expect("good");
            spec
        };
        let both = "query = 'jobs{q=\"{tag}\"}'\nrunning_query = 'busy{q=\"{tag}\"}'";
        let mut found = group(both);
        found.fill("b");
        let groups = [
            found,
            group("query = 'jobs{q=\"a\"}'"),
            group("query = 'jobs{q=\"c\"}'"),
            group("query = 'jobs{q=\"c\"}'\nempty = 'zero'"),
            group("query = 'odd'"),
        ];
        let queues: Vec<_> = groups.iter().map(|group| group.queue()).collect();
        let harvest = groups[0]
            .open(&Http::new())
            .read(&queues)
            .await
            .expect("read");
        assert_eq!(server.lines(), ["GET /metrics"]);
        let told: Vec<_> = harvest.demands.into_iter().map(|(_, told)| told).collect();
        let known = |at: usize| told[at].as_ref().map(|told| (told.waiting, told.running));
        assert_eq!(known(0), Ok((2, Some(3))));
        assert_eq!(known(1), Ok((1, None)));
        assert_eq!(known(3), Ok((0, None)));
        assert!(told[2].is_err() && told[4].is_err(), "{told:?}");
    });
}

#[test]
fn a_page_that_is_none_is_not_an_empty_one() {
    block_on(async {
        let server = Server::start(|_| Some(ok("<html>Sign in</html>"))).await;
        let keys = "format = 'text'\nempty = 'zero'\nquery = 'jobs'";
        let told = read(&spec(&format!("url = \"{}\"\n{keys}", server.url))).await;
        assert!(matches!(told, Err(SourceError::Unreadable(_))), "{told:?}");
    });
}

#[test]
fn mistakes_are_told_before_anything_starts() {
    for (keys, expected) in [
        ("query = ' '", "query: is empty"),
        (
            "query = 'sum(up)'\nformat = 'text'",
            "query = \"sum(up)\": ",
        ),
        (
            "query = 'up'\nrunning_query = ''",
            "running_query: is empty",
        ),
    ] {
        let keys = format!("url = 'https://p'\n{keys}");
        let said = spec(&keys).check().expect_err(&keys);
        assert!(said.contains(expected), "{said}");
    }
}
