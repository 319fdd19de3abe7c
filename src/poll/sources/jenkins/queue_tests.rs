use super::*;

const ITEMS: &str = include_str!("../fixtures/jenkins_queue.json");
const NODES: &str = include_str!("../fixtures/jenkins_computers.json");

fn items() -> Items {
    serde_json::from_str(ITEMS).expect("a queue")
}

fn nodes() -> Computers {
    serde_json::from_str(NODES).expect("nodes")
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_615_043_400_000)
}

fn read(queue: &str) -> (u32, Option<u32>, Option<u32>) {
    let (demand, _) = demand(&nodes(), &items(), queue, Ages::default(), now());
    (demand.waiting, demand.running, demand.agents)
}

#[test]
fn what_waits_is_counted_for_the_nodes_that_would_run_it() {
    for (queue, expected) in [
        ("linux", (3, 1, 1)),
        ("docker,linux", (4, 1, 1)),
        ("gpu,linux", (3, 0, 0)),
        ("windows", (1, 2, 1)),
        ("linux and unlabelled", (4, 1, 1)),
        ("osx", (0, 0, 0)),
    ] {
        let (waiting, running, agents) = expected;
        assert_eq!(
            read(queue),
            (waiting, Some(running), Some(agents)),
            "{queue}"
        );
    }
}

#[test]
fn the_nodes_names_and_the_oldest_job_are_told() {
    let (demand, _) = demand(&nodes(), &items(), "docker,linux", Ages::default(), now());
    assert_eq!(demand.names, Some(vec!["i-0a1b2c3d4e5f60718".to_owned()]));
    assert_eq!(demand.oldest, Some(Duration::from_secs(600)));
    let ages = Ages {
        min: None,
        max: Some(Duration::from_secs(300)),
    };
    let (demand, remark) = super::demand(&nodes(), &items(), "docker,linux", ages, now());
    assert_eq!(demand.waiting, 3);
    assert!(remark.is_some());
}

#[test]
fn the_reason_says_what_an_item_waits_for() {
    for (why, expected) in [
        ("Waiting for next available executor", Wants::Anything),
        (
            "Waiting for next available executor on ‘linux’",
            Wants::Either("linux"),
        ),
        (
            "Waiting for next available executor on linux",
            Wants::Either("linux"),
        ),
        (
            "Waiting for next available executor on ‘a&&(b||c)’",
            Wants::Either("a&&(b||c)"),
        ),
        (
            "All nodes of label ‘linux’ are offline",
            Wants::Label("linux"),
        ),
        (
            "There are no nodes with the label ‘linux’",
            Wants::Label("linux"),
        ),
        ("‘agent-1’ is offline", Wants::Node("agent-1")),
        ("agent-1 is offline", Wants::Node("agent-1")),
        ("Jenkins is about to shut down", Wants::Shutdown),
        (
            "‘agent-1’ is reserved for jobs with matching label expression",
            Wants::Unclear,
        ),
        (
            "Warten auf den nächsten freien Build-Prozessor auf ‘linux’",
            Wants::Unclear,
        ),
        (" is offline", Wants::Unclear),
        ("", Wants::Unclear),
    ] {
        let text = serde_json::json!({"buildable": true, "why": why});
        let item: Item = serde_json::from_value(text).expect("an item");
        assert_eq!(item.wants(), expected, "{why}");
    }
}

#[test]
fn nobody_is_started_for_a_jenkins_that_shuts_down() {
    let mut text: serde_json::Value = serde_json::from_str(ITEMS).expect("a queue");
    for item in text["items"].as_array_mut().expect("items") {
        item["why"] = "Jenkins is about to shut down".into();
    }
    let items: Items = serde_json::from_value(text).expect("a queue");
    let (demand, _) = demand(&nodes(), &items, "docker,linux", Ages::default(), now());
    assert_eq!((demand.waiting, demand.running), (0, Some(1)));
    assert_eq!(
        remarks(&nodes(), &items),
        ["Jenkins is about to shut down, and starts nothing"]
    );
}

#[test]
fn labels_that_are_not_told_are_told_of() {
    let none: Computers = serde_json::from_str(
        r#"{"computer": [{"_class": "hudson.model.Hudson$MasterComputer",
            "displayName": "Built-In Node", "offline": false}]}"#,
    )
    .expect("nodes");
    let said = remarks(&none, &items());
    assert!(said[0].starts_with("1 tell no label"), "{said:?}");
    let said = remarks(&nodes(), &items());
    assert_eq!(
        said,
        ["1 wait for something else than an executor, and do not count"]
    );
}

#[test]
fn what_is_no_queue_is_refused() {
    for bad in ["{}", "[]", r#"{"items": null}"#, r#"{"items": [{}]}"#] {
        assert!(serde_json::from_str::<Items>(bad).is_err(), "{bad}");
    }
    for bad in [
        "{}",
        r#"{"computer": null}"#,
        r#"{"computer": [{"displayName": "x"}]}"#,
    ] {
        assert!(serde_json::from_str::<Computers>(bad).is_err(), "{bad}");
    }
}
