use super::*;
use crate::poll::server::testing::{HOSTILE, NOW, group, snapshot};
use crate::poll::snapshot::Snapshot;

fn page(snapshot: &Snapshot, asked: &Asked) -> String {
    let mut history = History::default();
    history.record(NOW - 60.0, snapshot);
    history.record(NOW, snapshot);
    render(snapshot, &history, asked, NOW)
}

/// The names in the order of their rows.
fn rows(page: &str) -> Vec<&str> {
    let rows = page.split("<td class=\"name\"><b>").skip(1);
    rows.map(|row| row.split_once("</b>").unwrap().0).collect()
}

fn many() -> Snapshot {
    Snapshot {
        groups: (0..5000).map(|n| group(&format!("group-{n:04}"))).collect(),
        sources: Vec::new(),
        backends: Vec::new(),
        ..snapshot()
    }
}

#[test]
fn the_page_is_readable_without_its_script() {
    let page = page(&snapshot(), &Asked::default());
    for text in [
        "<title>! 10 waiting, 10 running · clockout</title>",
        "2 groups need a look",
        "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>",
        "launch 2 (desired 3 -&gt; 5): want 5 = ceil((7 waiting + 10 running) / 4 slots)",
        "stopped for 90 s",
        "3 instances in a row never came up",
        "17 of 200 allowed",
        "4 s ago · boots in 48 s, at most 94 s · launched 212",
        "else linux-small-on-demand",
        "503 Service Unavailable: &lt;html&gt;",
        "2 builds have waited for more than 24 h",
        "31 SetDesiredCapacity",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
}

#[test]
fn the_busy_come_first_and_then_those_in_trouble() {
    let page = page(&snapshot(), &Asked::default());
    let hostile = Text(HOSTILE).to_string();
    let groups = &rows(&page)[..4];
    assert_eq!(
        groups,
        ["linux-small", "gpu-large", &hostile, "legacy-drone"]
    );
}

#[test]
fn names_from_tags_are_text() {
    let page = page(
        &snapshot(),
        &Asked {
            filter: "<script>\"'",
            ..Asked::default()
        },
    );
    assert_eq!(page.matches("<script").count(), 1, "our own: {page}");
    assert!(
        page.contains("value=\"&lt;script&gt;&quot;&#39;\""),
        "{page}"
    );
    assert!(!page.contains(" onclick") && !page.contains(" style="));
}

#[test]
fn a_filter_finds_any_of_the_names() {
    for (filter, found) in [
        ("LINUX", 1),
        ("acme/gpu", 1),
        ("us-east-1", 4),
        ("drone.example", 1),
        ("nothing like it", 0),
    ] {
        let asked = Asked {
            filter,
            ..Asked::default()
        };
        let table = groups::table(&snapshot(), &History::default(), &asked, Span::Hour, NOW);
        assert_eq!(rows(&table.html).len(), found, "{filter}");
        assert!(table.count.contains(&format!("{found} of 4")), "{filter}");
    }
}

#[test]
fn five_thousand_groups_come_a_hundred_a_page() {
    let many = many();
    let asked = Asked {
        page: 50,
        ..Asked::default()
    };
    let last = page(&many, &asked);
    assert_eq!(rows(&last).len(), 100);
    assert_eq!(rows(&last)[99], "group-4999");
    assert!(last.contains("page 50 of 50"));
    assert!(
        last.contains("href=\"?page=49&amp;span=1h\">← previous"),
        "{last}"
    );
    assert!(!last.contains(">next →</a>"));
    assert!(last.len() < 200_000, "{} bytes", last.len());
    let beyond = Asked {
        page: usize::MAX,
        ..Asked::default()
    };
    assert!(page(&many, &beyond).contains("page 50 of 50"));
    assert!(page(&many, &Asked::default()).contains("page 1 of 50"));
}

#[test]
fn a_poller_without_groups_says_so() {
    let none = Snapshot {
        groups: Vec::new(),
        ..snapshot()
    };
    let page = page(&none, &Asked::default());
    assert!(page.contains("There is no group yet."));
    assert!(!page.contains("{{"), "something is not filled in: {page}");
    assert!(page.contains("all is well"));
}

#[test]
fn what_does_not_launch_is_said_at_the_top() {
    let mut standby = snapshot();
    standby.leader = false;
    standby.dry_run = true;
    standby.sources[1].good = Some(NOW - 600.0);
    let page = page(&standby, &Asked::default());
    for text in [
        "standby: another poller launches",
        "dry run: launches nothing",
        "1 does not answer",
        "<li>source drone https://drone.example.org told nothing since 2023-11-14T22:03:20Z: 503",
        "<title>!! ",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
}

#[test]
fn thousands_that_do_not_answer_are_told_of_in_a_page() {
    let mut broken = snapshot();
    let source = broken.sources[1].clone();
    let backend = broken.backends[0].clone();
    for n in 0..5000 {
        let mut source = source.clone();
        source.id = format!("exec {n}");
        source.good = Some(NOW - 900.0);
        broken.sources.push(source);
        let mut backend = backend.clone();
        backend.id = format!("exec {n}");
        broken.backends.push(backend);
    }
    let page = page(&broken, &Asked::default());
    assert!(page.contains("5000 do not answer"));
    assert!(page.contains("<li>and 4990 more</li>"));
    assert!(page.contains("and 4952 more, in status.json"), "sources");
    assert!(page.contains("and 4951 more, in status.json"), "backends");
    assert!(page.len() < 100_000, "{} bytes", page.len());
}

#[test]
fn a_young_poller_shows_minutes_and_an_old_one_an_hour() {
    for (started, asked, shown) in [
        (NOW - 60.0, None, "10m"),
        (NOW - 7200.0, None, "1h"),
        (NOW - 60.0, Some(Span::Day), "24h"),
    ] {
        let aged = Snapshot {
            started,
            ..snapshot()
        };
        let asked = Asked {
            span: asked,
            ..Asked::default()
        };
        let page = page(&aged, &asked);
        let current = format!("aria-current=\"true\">{shown}</a>");
        assert!(page.contains(&current), "{shown}\n{page}");
    }
}

#[test]
fn nothing_is_the_oldest_where_nothing_waits() {
    let mut quiet = group("quiet");
    quiet.oldest = Some(0.0);
    let quiet = Snapshot {
        groups: vec![quiet],
        ..snapshot()
    };
    let page = page(&quiet, &Asked::default());
    assert!(!page.contains("oldest"), "{page}");
    assert!(!page.contains("<small>0 ms</small>"), "{page}");
}
