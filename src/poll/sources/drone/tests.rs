use std::time::SystemTime;

use super::*;
use crate::poll::http::testing::{Server, answer, block_on, ok};
use crate::poll::source::Spec as _;

fn spec(keys: &str) -> Spec {
    let keys = format!("token_env = \"CARGO_PKG_NAME\"\n{keys}");
    toml::from_str(&keys).expect("a spec")
}

/// A queue of 2.x, as `/api/queue` writes it; times are seconds since 1970.
const QUEUE: &str = r#"[
 {"id":10,"repo_id":1,"build_id":7,"number":1,"name":"test","kind":"pipeline","type":"docker",
  "status":"running","errignore":false,"exit_code":0,"machine":"i-1","os":"linux","arch":"amd64",
  "started":1000,"stopped":0,"created":990,"updated":1000,"version":3,"on_success":true,
  "on_failure":false},
 {"id":11,"repo_id":1,"build_id":8,"number":1,"name":"test","kind":"pipeline","type":"docker",
  "status":"pending","os":"linux","arch":"amd64","created":1000,"labels":null},
 {"id":12,"repo_id":2,"build_id":9,"number":1,"name":"test","status":"pending","os":"linux",
  "arch":"amd64","created":1100,"machine":"i-2"},
 {"id":13,"repo_id":2,"build_id":9,"number":2,"name":"gpu","type":"docker","status":"pending",
  "os":"linux","arch":"amd64","created":1100,"labels":{"gpu":"yes"}},
 {"id":14,"repo_id":3,"build_id":10,"number":1,"name":"pi","status":"pending","os":"linux",
  "arch":"arm","variant":"v7","created":1150},
 {"id":15,"repo_id":3,"build_id":10,"number":2,"name":"pi-any","status":"pending","os":"linux",
  "arch":"arm","created":1150},
 {"id":16,"repo_id":4,"build_id":11,"number":1,"name":"host","type":"exec","status":"pending",
  "os":"linux","arch":"amd64","created":1190},
 {"id":17,"repo_id":4,"build_id":11,"number":2,"name":"wait","status":"waiting_on_dependencies",
  "os":"linux","arch":"amd64","created":1190}
]"#;

fn count(queue: &str, keys: &str) -> (u32, u32, Option<u64>) {
    let stages: Vec<queue::Stage> = serde_json::from_str(queue).expect("a queue");
    let spec = spec(&format!("url = \"https://drone\"\n{keys}"));
    spec.check().expect("good");
    let runner: Runner = of_queue(&spec.queue()).expect("its own");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1200);
    let demand = queue::count(&stages, &runner, spec.ages(), now).demand();
    (
        demand.waiting,
        demand.running.expect("told"),
        demand.oldest.map(|age| age.as_secs()),
    )
}

#[test]
fn stages_are_counted_for_the_runners_that_the_server_would_give_them_to() {
    for (keys, expected) in [
        ("", (2, 2, Some(200))),
        ("type = \"docker\"", (1, 2, Some(200))),
        ("type = \"exec\"", (1, 0, Some(10))),
        ("labels = { gpu = \"yes\" }", (1, 0, Some(100))),
        ("labels = { gpu = \"yes\", zone = \"b\" }", (0, 0, None)),
        ("arch = \"arm\"", (1, 0, Some(50))),
        ("arch = \"arm\"\nvariant = \"v7\"", (2, 0, Some(50))),
        ("arch = \"arm64\"", (0, 0, None)),
        ("os = \"windows\"", (0, 0, None)),
        ("min_age = \"60s\"", (1, 2, Some(200))),
        ("max_age = \"60s\"", (1, 2, Some(10))),
    ] {
        assert_eq!(count(QUEUE, keys), expected, "{keys}");
    }
}

#[test]
fn stages_that_a_limit_holds_back_do_not_wait() {
    let stage = |id: u32, repo: u32, status: &str, more: &str| {
        format!(
            "{{\"id\":{id},\"repo_id\":{repo},\"name\":\"deploy\",\"status\":\"{status}\",\
             \"os\":\"linux\",\"arch\":\"amd64\"{more}}}"
        )
    };
    let queue = |stages: &[String]| format!("[{}]", stages.join(","));
    let limit = ",\"limit\":1";
    let held = [
        stage(1, 1, "running", limit),
        stage(2, 1, "pending", limit),
        stage(3, 1, "pending", limit),
        stage(4, 2, "pending", limit),
    ];
    assert_eq!(count(&queue(&held), ""), (1, 1, None));
    // A later one that runs already (it was restarted) holds back an earlier one too.
    let later = [stage(1, 1, "pending", limit), stage(2, 1, "running", limit)];
    assert_eq!(count(&queue(&later), ""), (0, 1, None));
    let two = ",\"throttle\":2";
    let throttled = [
        stage(1, 1, "pending", two),
        stage(2, 1, "pending", two),
        stage(3, 1, "pending", two),
        stage(4, 2, "pending", two),
    ];
    assert_eq!(count(&queue(&throttled), ""), (3, 0, None));
}

#[test]
fn one_call_serves_all_groups_of_the_queue() {
    block_on(async {
        let server = Server::of_pages(vec![("GET /api/queue", QUEUE.to_owned())]).await;
        let url = format!("url = \"{}\"", server.url);
        let groups = [
            spec(&url),
            spec(&format!("{url}\nlabels = {{ gpu = \"yes\" }}")),
        ];
        assert_eq!(groups[0].server(), groups[1].server());
        let queues: Vec<_> = groups.iter().map(|group| group.queue()).collect();
        let harvest = groups[0]
            .open(&Http::new())
            .read(&queues)
            .await
            .expect("read");
        let waiting: Vec<_> = harvest.demands.into_iter().map(|(_, told)| told).collect();
        assert_eq!(waiting[0].as_ref().map(|told| told.waiting), Ok(2));
        assert_eq!(waiting[1].as_ref().map(|told| told.waiting), Ok(1));
        assert_eq!(server.lines(), ["GET /api/queue"]);
        let asked = server.asked();
        assert_eq!(asked[0].header("authorization"), Some("Bearer clockout"));
    });
}

#[test]
fn an_empty_queue_is_known_and_none_at_all_is_told_with_the_way_out() {
    for (body, known) in [("[]", true), ("null", true), ("{}", false), ("", false)] {
        block_on(async {
            let server = Server::of_pages(vec![("GET /api/queue", body.to_owned())]).await;
            let spec = spec(&format!("url = \"{}\"", server.url));
            let told = spec.open(&Http::new()).read(&[spec.queue()]).await;
            assert_eq!(told.is_ok(), known, "{body}: {told:?}");
        });
    }
    block_on(async {
        let server = Server::of_pages(Vec::new()).await;
        let spec = spec(&format!("url = \"{}\"", server.url));
        let told = spec.open(&Http::new()).read(&[spec.queue()]).await;
        let told = told.expect_err("not there").to_string();
        assert!(told.contains("use its metrics"), "{told}");
    });
}

fn seconds_ago(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_secs() - seconds
}

/// A server of 0.8 with these builds: number, age in seconds, status, processes.
async fn server_of(builds: Vec<(u64, u64, &'static str, &'static str)>) -> Server {
    let feed: Vec<String> = builds
        .iter()
        .map(|(number, age, status, _)| {
            let created = seconds_ago(*age);
            format!(
                "{{\"owner\":\"acme\",\"name\":\"app\",\"full_name\":\"acme/app\",\
                 \"number\":{number},\"event\":\"push\",\"status\":\"{status}\",\
                 \"created_at\":{created}}}"
            )
        })
        .collect();
    let feed = format!("[{}]", feed.join(","));
    Server::start(move |asked| {
        if asked.line == "GET /api/builds" {
            return Some(ok(&feed));
        }
        let known = builds.iter().find(|(number, ..)| {
            let path = format!(" /api/repos/acme/app/builds/{number}");
            asked.line.ends_with(&path)
        });
        Some(match known {
            None => answer("404 Not Found", &[], ""),
            Some(_) if asked.line.starts_with("DELETE") => answer("204 No Content", &[], ""),
            Some((number, age, status, procs)) => {
                let created = seconds_ago(*age);
                ok(&format!(
                    "{{\"number\":{number},\"status\":\"{status}\",\"created_at\":{created},\
                     \"procs\":{procs}}}"
                ))
            }
        })
    })
    .await
}

async fn read(server: &Server, keys: &str, http: &Http) -> Harvest {
    let spec = spec(&format!("url = \"{}\"\napi = \"0.8\"\n{keys}", server.url));
    spec.check().expect("good");
    spec.open(http).read(&[spec.queue()]).await.expect("read")
}

fn numbers(harvest: &Harvest) -> (u32, Option<u32>) {
    let demand = harvest.demands[0].1.as_ref().expect("known");
    (demand.waiting, demand.running)
}

#[test]
fn processes_of_live_builds_are_the_jobs() {
    block_on(async {
        let procs = r#"[
            {"id":1,"pid":1,"ppid":0,"state":"running","platform":"linux/amd64","children":[
                {"id":2,"pid":2,"ppid":1,"state":"success"},
                {"id":3,"pid":3,"ppid":1,"state":"running"}]},
            {"id":4,"pid":4,"ppid":0,"state":"pending","platform":"linux/arm"},
            {"id":5,"pid":5,"ppid":0,"state":"pending"},
            {"id":6,"pid":6,"ppid":0,"state":"success"}]"#;
        let server = server_of(vec![
            (1, 60, "running", procs),
            (2, 30, "pending", r#"[{"state":"pending"}]"#),
            (3, 10, "pending", "null"),
        ])
        .await;
        let all = read(&server, "", &Http::new()).await;
        assert_eq!(numbers(&all), (3, Some(1)));
        assert_eq!(all.remarks, Vec::<String>::new());
        let oldest = all.demands[0]
            .1
            .as_ref()
            .expect("known")
            .oldest
            .expect("told");
        assert!(oldest >= Duration::from_secs(60), "{oldest:?}");
        let amd64 = read(&server, "platform = \"linux/amd64\"", &Http::new()).await;
        assert_eq!(numbers(&amd64), (2, Some(1)));
        let late = read(&server, "min_age = \"50s\"", &Http::new()).await;
        assert_eq!(numbers(&late), (2, Some(1)));
    });
}

#[test]
fn builds_older_than_six_hours_do_not_count() {
    block_on(async {
        let server = server_of(vec![
            (
                1,
                6 * 3600 + 60,
                "running",
                r#"[{"state":"pending"},{"state":"running"}]"#,
            ),
            (2, 6 * 3600 - 600, "running", r#"[{"state":"pending"}]"#),
        ])
        .await;
        let harvest = read(&server, "", &Http::new()).await;
        assert_eq!(numbers(&harvest), (1, Some(0)));
        assert_eq!(
            harvest.remarks,
            ["builds older than max_age = 6h, which do not count: 1"]
        );
        let longer = read(&server, "max_age = \"12h\"", &Http::new()).await;
        assert_eq!(numbers(&longer), (2, Some(1)));
    });
}

#[test]
fn zombie_and_cancelled_builds_are_reported_and_ended_on_request_only() {
    block_on(async {
        let builds = vec![
            (
                1,
                90_000,
                "running",
                r#"[{"state":"success","end_time":1000}]"#,
            ),
            (
                2,
                900,
                "running",
                r#"[{"state":"killed","end_time":1000,"children":[{"state":"running"}]}]"#,
            ),
            (3, 900, "running", r#"[{"state":"running"}]"#),
            // Its end may be on its way.
            (4, 20, "running", r#"[{"state":"success"}]"#),
            (5, 900, "pending", "[]"),
        ];
        let server = server_of(builds).await;
        let harvest = read(&server, "", &Http::new()).await;
        assert_eq!(numbers(&harvest), (0, Some(1)));
        let old = "builds older than max_age = 6h, which do not count: 1";
        let two = "zombie acme/app #2: it was cancelled, and its steps have not ended";
        let one = "zombie acme/app #1: it runs without any process";
        assert_eq!(harvest.remarks, [old, two, one]);
        let deleted = || -> Vec<String> {
            let lines = server.lines().into_iter();
            lines.filter(|line| line.starts_with("DELETE")).collect()
        };
        assert_eq!(deleted(), Vec::<String>::new());
        let dry = read(&server, "kill_zombies = true", &Http::harmless()).await;
        assert!(
            dry.remarks[1].contains("not in a dry run"),
            "{:?}",
            dry.remarks
        );
        assert_eq!(deleted(), Vec::<String>::new());
        let killed = read(&server, "kill_zombies = true", &Http::new()).await;
        assert_eq!(
            killed.remarks[1..],
            [format!("{two}; ended"), format!("{one}; ended")]
        );
        let path = "DELETE /api/repos/acme/app/builds/";
        assert_eq!(deleted(), [format!("{path}2"), format!("{path}1")]);
    });
}

#[test]
fn a_build_that_cannot_be_read_makes_all_unknown_unless_it_is_gone() {
    for (status, known) in [
        ("404 Not Found", true),
        ("500 Internal Server Error", false),
    ] {
        block_on(async {
            let feed =
                "[{\"owner\":\"acme\",\"name\":\"app\",\"number\":1,\"status\":\"running\"}]";
            let server = Server::start(move |asked| {
                Some(match asked.line.as_str() {
                    "GET /api/builds" => ok(feed),
                    _ => answer(status, &[], ""),
                })
            })
            .await;
            let spec = spec(&format!("url = \"{}\"\napi = \"0.8\"", server.url));
            let told = spec.open(&Http::new()).read(&[spec.queue()]).await;
            assert_eq!(told.is_ok(), known, "{told:?}");
        });
    }
}

#[test]
fn mistakes_are_told_before_anything_starts() {
    for (keys, expected) in [
        (
            "api = \"0.8\"\nlabels = { a = \"b\" }",
            "0.8 does not tell them",
        ),
        ("platform = \"linux/amd64\"", "give os and arch"),
        ("kill_zombies = true", "is for api"),
    ] {
        let said = spec(&format!("url = \"https://d\"\n{keys}")).check();
        let said = said.expect_err(keys);
        assert!(said.contains(expected), "{said}");
    }
    let mut found = spec("url = \"https://d\"");
    found.fill("gpu=yes, zone=b");
    let text = r#"{"os":"linux","arch":"amd64","labels":{"gpu":"yes","zone":"b"}}"#;
    assert_eq!(found.queue().as_str(), text);
    assert_eq!(
        spec("url = \"https://d\"\napi = \"2\"").server(),
        found.server()
    );
}
