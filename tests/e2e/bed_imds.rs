//! The fake metadata service's notices and faults: what it says is what tests take for the truth.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{Event, Imds, ImdsFault, MAINTENANCE, REBALANCE, SPOT, TARGET, Times, http};

/// A machine's metadata service, and a client with a token for it.
fn client() -> (Imds, impl Fn(&Imds, &str) -> (u16, String)) {
    let imds = Imds::start("i-1");
    let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "60".to_owned());
    let url = format!("{}/latest/api/token", imds.url());
    let (_, token) = http::request("PUT", &url, &[ttl]);
    let get = move |imds: &Imds, path: &str| {
        let token = ("x-aws-ec2-metadata-token", token.clone());
        let url = format!("{}/latest/{path}", imds.url());
        http::request("GET", &url, &[token])
    };
    (imds, get)
}

fn spot_time(text: &str) -> SystemTime {
    let json: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let time = json["time"].as_str().expect("a time");
    humantime::parse_rfc3339(time).expect("RFC 3339")
}

#[test]
fn notices_appear_and_can_be_withdrawn() {
    let (imds, get) = client();
    for path in [SPOT, REBALANCE, MAINTENANCE, TARGET] {
        assert_eq!(get(&imds, path).0, 404, "{path}");
    }
    let before = SystemTime::now();
    imds.spot("stop", Duration::from_secs(120));
    imds.rebalance();
    imds.target("Warmed:Stopped");
    imds.maintenance(&[Event::new("instance-stop").not_before("21 Jan 2019 09:00:43 GMT")]);
    let (_, spot) = get(&imds, SPOT);
    assert!(spot.contains(r#""action":"stop""#), "{spot}");
    let ahead = spot_time(&spot).duration_since(before).expect("in future");
    assert!(ahead >= Duration::from_secs(120), "never sooner than asked");
    assert!(get(&imds, REBALANCE).1.contains("noticeTime"));
    assert_eq!(get(&imds, TARGET), (200, "Warmed:Stopped".to_owned()));
    let (_, events) = get(&imds, MAINTENANCE);
    let events: serde_json::Value = serde_json::from_str(&events).expect("JSON");
    assert_eq!(events[0]["Code"], "instance-stop");
    assert_eq!(events[0]["NotBefore"], "21 Jan 2019 09:00:43 GMT");
    assert_eq!(events[0].get("NotAfter"), None);
    imds.spot_past("terminate", Duration::from_secs(60));
    assert!(spot_time(&get(&imds, SPOT).1) < SystemTime::now());
    imds.withdraw(SPOT);
    assert_eq!(get(&imds, SPOT).0, 404);
    assert_eq!(imds.count(SPOT), 4);
}

#[test]
fn events_have_what_was_put_into_them() {
    let (imds, get) = client();
    let day = Duration::from_secs(86_400);
    let retired = Event::new("instance-retirement").begins_in(day);
    let retired = retired.description("degraded hardware").not_after("");
    imds.maintenance(&[retired, Event::new("system-reboot").state("canceled")]);
    let (_, events) = get(&imds, MAINTENANCE);
    let events: serde_json::Value = serde_json::from_str(&events).expect("JSON");
    assert_eq!(events[0]["Description"], "degraded hardware");
    assert_eq!(
        (&events[0]["NotAfter"], &events[0]["State"]),
        (&"".into(), &"active".into())
    );
    assert_ne!(events[0]["NotBefore"], events[1]["NotBefore"]);
    assert_eq!(events[1]["State"], "canceled");
    assert_ne!(events[0]["EventId"], events[1]["EventId"]);
    assert_eq!(
        imds.connections(),
        2,
        "one for the token, one for the events"
    );
}

#[test]
fn credentials_are_renewed() {
    let (imds, get) = client();
    imds.credentials("ASIASECOND", Duration::from_secs(60));
    let path = "meta-data/iam/security-credentials/ci-agent";
    let (_, text) = get(&imds, path);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["AccessKeyId"], "ASIASECOND");
    let ends = json["Expiration"].as_str().expect("a time");
    assert!(humantime::parse_rfc3339(ends).expect("RFC 3339") > SystemTime::now());
}

#[test]
fn a_moving_interruption_is_always_as_far_away() {
    let (imds, get) = client();
    imds.spot_moving("terminate", Duration::from_secs(120));
    let first = spot_time(&get(&imds, SPOT).1);
    imds.clock_ahead(Duration::from_secs(3600));
    let second = spot_time(&get(&imds, SPOT).1);
    let moved = second.duration_since(first).expect("later");
    assert!(moved >= Duration::from_secs(3600));
    assert!(imds.now() > UNIX_EPOCH + moved);
}

#[test]
fn the_service_fails_in_every_way_and_recovers() {
    let (imds, get) = client();
    imds.target("InService");
    imds.fail(TARGET, ImdsFault::Half, Times::N(1));
    imds.fail(TARGET, ImdsFault::Close, Times::N(1));
    imds.fail(TARGET, ImdsFault::Text("<html>"), Times::N(1));
    imds.fail(TARGET, ImdsFault::Status(429), Times::Forever);
    let answers: Vec<_> = (0..4).map(|_| get(&imds, TARGET)).collect();
    let cut_off = |(status, _): &(u16, String)| *status == 0;
    assert!(answers[..2].iter().all(cut_off), "{answers:?}");
    assert_eq!(answers[2], (200, "<html>".to_owned()));
    assert_eq!(answers[3].0, 429);
    imds.heal();
    assert_eq!(get(&imds, TARGET), (200, "InService".to_owned()));
}
