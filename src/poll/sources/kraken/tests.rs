use std::cell::Cell;

use super::*;
use crate::poll::http::testing::{Asked, Server, answer, block_on, ok};
use crate::poll::source::Spec as _;

/// The project's own shape; what is left out there is left out here.
const PROJECTS: &str = r#"{"items":[
    {"id":1,"name":"demo","secrets":[],"webhooks":{},"branches":[
        {"id":7,"name":"master","project_id":1,"branch_name":"master","last_completed_flow":null,
         "last_incomplete_flow":{"id":31,"label":"31.","created":"2024-03-26T06:00:00Z"}}]},
    {"id":2,"name":"empty","branches":null}],"total":2}"#;

const FLOWS_CI: &str = r#"{"items":[
    {"id":31,"label":"31.","state":"in-progress","kind":"ci","runs":[
        {"id":101,"state":"in-progress","deleted":null,"jobs_total":5,"jobs_waiting":3,
         "jobs_executing":1,"jobs_processing":1,"jobs_error":0},
        {"id":102,"state":"processed","deleted":null,"jobs_total":5,"jobs_waiting":0,
         "jobs_executing":0},
        {"id":103,"state":"in-progress","deleted":"2024-03-26T06:00:00Z","jobs_waiting":9,
         "jobs_executing":0}]}],"total":1}"#;

const NOTHING: &str = r#"{"items":[],"total":0}"#;

fn job(id: u32, state: u32, group: &str, system: &str, more: &str) -> String {
    format!(
        "{{\"id\":{id},\"created\":\"2024-03-26T06:15:42Z\",\"deleted\":null,\"state\":{state},\
         \"completion_status\":null,\"covered\":false,\"system_id\":1,\"system\":\"{system}\",\
         \"executor\":\"local\",\"run_id\":101,\"agents_group_id\":1,\
         \"agents_group_name\":\"{group}\",\"agent_id\":0{more}}}"
    )
}

fn jobs(list: &[String], total: usize) -> String {
    format!("{{\"items\":[{}],\"total\":{total}}}", list.join(","))
}

/// A Kraken that lets in who has the token of a session.
fn serve(asked: &Asked, run: &str) -> Vec<u8> {
    if asked.line == "POST /bk/api/sessions" {
        let known = asked.body == r#"{"password":"a:b","user":"clockout"}"#;
        return match known {
            true => answer("201 Created", &[], r#"{"id":1,"token":"5e55","user":{}}"#),
            false => answer(
                "401 Unauthorized",
                &[],
                "missing user or incorrect password a:b",
            ),
        };
    }
    if asked.header("authorization") != Some("Bearer 5e55") {
        return answer("401 Unauthorized", &[], "{}");
    }
    let page = "start=0&limit=10";
    let line = asked.line.strip_prefix("GET /bk/api").unwrap_or_default();
    match line {
        "/projects" => ok(PROJECTS),
        line if line == format!("/branches/7/flows/ci?{page}") => ok(FLOWS_CI),
        line if line == format!("/branches/7/flows/dev?{page}") => ok(NOTHING),
        "/runs/101/jobs?start=0&limit=100" => ok(run),
        _ => answer("404 Not Found", &[], "{}"),
    }
}

fn spec(url: &str, place: &std::path::Path, keys: &str) -> Spec {
    let place = place.display();
    let text = format!("url = \"{url}\"\ntoken_file = \"{place}\"\n{keys}");
    let spec: Spec = toml::from_str(&text).expect("a spec");
    spec.check().expect("good");
    spec
}

#[test]
fn jobs_are_counted_by_agents_group_and_system() {
    let run = jobs(
        &[
            job(1, 2, "all", "ubuntu-22", ""),
            job(2, 2, "all", "ubuntu-22", ""),
            job(3, 2, "all", "any", ""),
            job(4, 2, "gpu", "ubuntu-22", ""),
            job(5, 3, "all", "ubuntu-22", ""),
            job(6, 1, "all", "ubuntu-22", ""),
            job(7, 4, "all", "ubuntu-22", ""),
            job(8, 5, "all", "ubuntu-22", ""),
            job(9, 2, "all", "ubuntu-22", "").replace("\"covered\":false", "\"covered\":true"),
        ],
        9,
    );
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("credentials");
        std::fs::write(&place, "clockout:a:b\n").expect("written");
        let server = Server::start(move |asked| Some(serve(asked, &run))).await;
        let groups = [
            "group = \"all\"",
            "group = \"all\"\nsystem = \"ubuntu-22\"",
            "group = \"all\"\nsystem = \"any\"",
            "group = \"gpu\"",
            "group = \"none\"",
        ];
        let groups = groups.map(|keys| spec(&server.url, &place, keys));
        let queues: Vec<_> = groups.iter().map(|group| group.queue()).collect();
        let mut kraken = groups[0].open(&Http::new());
        let harvest = kraken.read(&queues).await.expect("read");
        let told: Vec<_> = harvest
            .demands
            .iter()
            .map(|(_, told)| told.as_ref())
            .collect();
        let told: Vec<_> = told.into_iter().map(|told| told.expect("known")).collect();
        let numbers: Vec<_> = told
            .iter()
            .map(|told| (told.waiting, told.running))
            .collect();
        let expected = [(3, 1), (2, 1), (1, 0), (1, 0), (0, 0)];
        assert_eq!(
            numbers,
            expected.map(|(waiting, running)| (waiting, Some(running)))
        );
        assert!(told[0].oldest.is_some_and(|age| age.as_secs() > 1_000_000));
        // Login, projects, two lists of flows, one run that has jobs left.
        assert_eq!(server.lines().len(), 5, "{:?}", server.lines());
        kraken.read(&queues).await.expect("read");
        assert_eq!(server.lines().len(), 9, "{:?}", server.lines());
    });
}

#[test]
fn all_pages_of_a_runs_jobs_are_read() {
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("token");
        // That of a session: nobody logs in.
        std::fs::write(&place, "5e55").expect("written");
        let server = Server::start(|asked| {
            let start = asked.line.strip_prefix("GET /bk/api/runs/101/jobs?start=");
            let Some(start) = start.and_then(|rest| rest.strip_suffix("&limit=100")) else {
                return Some(serve(asked, NOTHING));
            };
            let start: usize = start.parse().expect("a number");
            let page: Vec<_> = (start..(start + 100).min(250))
                .map(|id| job(id as u32, 2, "all", "any", ""))
                .collect();
            Some(ok(&jobs(&page, 250)))
        })
        .await;
        let spec = spec(&server.url, &place, "group = \"all\"");
        let told = spec.open(&Http::new()).read(&[spec.queue()]).await;
        let told = told.expect("read").demands.pop().expect("one").1;
        assert_eq!(told.map(|told| told.waiting), Ok(250));
        assert!(!server.lines().iter().any(|line| line.starts_with("POST")));
    });
}

#[test]
fn a_session_that_has_ended_is_opened_again_and_wrong_credentials_are_told_without_them() {
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("credentials");
        std::fs::write(&place, "clockout:a:b").expect("written");
        let over = std::rc::Rc::new(Cell::new(false));
        let ends = std::rc::Rc::clone(&over);
        let server = Server::start(move |asked| {
            if ends.get() && asked.line.starts_with("GET") {
                ends.set(false);
                return Some(answer("401 Unauthorized", &[], "{}"));
            }
            Some(serve(asked, NOTHING))
        })
        .await;
        let spec = spec(&server.url, &place, "group = \"all\"");
        let queues = [spec.queue()];
        let mut kraken = spec.open(&Http::new());
        kraken.read(&queues).await.expect("read");
        over.set(true);
        kraken.read(&queues).await.expect("read again");
        let logins = || {
            server
                .lines()
                .iter()
                .filter(|line| line.starts_with("POST"))
                .count()
        };
        assert_eq!(logins(), 2);
        std::fs::write(&place, "else:a:b").expect("written");
        let told = kraken.read(&queues).await.expect_err("refused");
        let text = told.to_string();
        assert!(matches!(told, SourceError::Denied(_)), "{text}");
        assert!(
            text.contains("credentials are from file") && !text.contains("a:b"),
            "{text}"
        );
    });
}

#[test]
fn what_cannot_be_read_on_the_way_makes_all_unknown() {
    for broken in ["/projects", "/flows/dev", "/runs/101"] {
        block_on(async {
            let dir = tempfile::tempdir().expect("a directory");
            let place = dir.path().join("token");
            std::fs::write(&place, "5e55").expect("written");
            let server = Server::start(move |asked| {
                Some(match asked.line.contains(broken) {
                    true => answer("500 Internal Server Error", &[], "{}"),
                    false => serve(asked, NOTHING),
                })
            })
            .await;
            let spec = spec(&server.url, &place, "group = \"all\"");
            let told = spec.open(&Http::new()).read(&[spec.queue()]).await;
            assert!(
                matches!(told, Err(SourceError::Status(_))),
                "{broken}: {told:?}"
            );
        });
    }
}

#[test]
fn mistakes_are_told_before_anything_starts() {
    for (keys, expected) in [
        ("token_env = \"T\"", "group: give"),
        (
            "token_env = \"T\"\ngroup = \"a\"\nflows = 0",
            "flows: 1 to 100",
        ),
        ("group = \"a\"", "token_file"),
    ] {
        let text = format!("url = \"https://kraken\"\n{keys}");
        let spec: Spec = toml::from_str(&text).expect("a spec");
        let said = spec.check().expect_err(keys);
        assert!(said.contains(expected), "{said}");
    }
}
