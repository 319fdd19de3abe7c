use std::num::NonZeroU32;

use super::*;
use crate::poll::plan::GroupId;
use crate::poll::target::Spec as _;

fn supply(text: &str) -> Result<Supply, String> {
    parse_supply(text.as_bytes())
}

#[test]
fn numbers_become_members_that_keep_their_names_while_they_come_up() {
    let before = supply(r#"{"alive": 3, "booting": 2, "max": 9}"#).expect("good");
    let after = supply(r#"{"alive": 3, "booting": 1, "desired": 5}"#).expect("good");
    let stages = |supply: &Supply| -> Vec<(String, Stage)> {
        let members = supply.members.iter();
        members
            .map(|it| (it.member.to_string(), it.stage))
            .collect()
    };
    let named = |stages: [Stage; 3]| -> Vec<(String, Stage)> {
        (1..).map(|n: u32| format!("#{n}")).zip(stages).collect()
    };
    assert_eq!(
        stages(&before),
        named([Stage::Up, Stage::Booting, Stage::Booting])
    );
    assert_eq!(
        stages(&after),
        named([Stage::Up, Stage::Up, Stage::Booting])
    );
    assert_eq!((before.desired, before.max), (3, Some(9)));
    assert_eq!((after.desired, after.max), (5, None));
}

#[test]
fn members_are_listed_as_told_and_those_away_are_not_desired() {
    let text = r#"{"members": [{"id": "a", "stage": "up"}, {"id": "b", "stage": "away"}],
        "held": "maintenance"}"#;
    let supply = supply(text).expect("good");
    assert_eq!((supply.desired, supply.members.len()), (1, 2));
    assert_eq!(supply.held.as_deref(), Some("maintenance"));
}

#[test]
fn what_is_no_supply_is_an_error_and_never_zero() {
    for text in [
        "",
        "{}",
        "null",
        "3",
        r#"{"alive": -1}"#,
        r#"{"alive": 1, "booting": 2}"#,
        r#"{"alive": 1, "members": []}"#,
        r#"{"alive": 4000000000}"#,
        r#"{"members": [{"id": "a", "stage": "gone"}]}"#,
        r#"{"alive": 1, "boting": 1}"#,
        "{\"alive\": 1}\nand more",
        "<html>",
    ] {
        assert!(supply(text).is_err(), "{text}");
    }
}

fn commands(supply: &str, launch: &str) -> (Commands, Place) {
    let sh = |line: &str| ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
    let spec = Spec {
        supply: sh(supply),
        launch: sh(launch),
        timeout: None,
    };
    let place = spec.place();
    let commands = Commands::default();
    commands.adopt(&super::super::Spec::Exec(spec));
    (commands, place)
}

async fn launch(line: &str) -> Launched {
    let (commands, place) = commands("true", line);
    let order = Order {
        group: GroupId::new("g"),
        count: NonZeroU32::new(2).expect("positive"),
        desired: 5,
        token: "t0".to_owned(),
    };
    commands.launch(&place, &order).await
}

#[tokio::test]
async fn the_order_is_in_the_environment() {
    let words = r#""$CLOCKOUT_GROUP/$CLOCKOUT_COUNT/$CLOCKOUT_DESIRED/$CLOCKOUT_TOKEN""#;
    let told = launch(&format!(r#"printf '{{"members": ["%s"]}}' {words}"#)).await;
    let Launched::Accepted { count: 2, members } = told else {
        panic!("{told:?}");
    };
    assert_eq!(members, [Member::new("g/2/5/t0")]);
}

#[tokio::test]
async fn what_became_of_it_is_told_by_the_exit_status() {
    let accepted = |count| Launched::Accepted {
        count,
        members: Vec::new(),
    };
    let trouble = |kind, message: &str| trouble(kind, message.to_owned());
    for (line, expected) in [
        ("true", accepted(2)),
        ("echo done", accepted(2)),
        (
            "echo no room >&2; exit 75",
            Launched::Refused(trouble(TroubleKind::Capacity, "no room")),
        ),
        (
            "echo bad >&2; exit 1",
            Launched::Refused(trouble(TroubleKind::Other, "bad")),
        ),
        (
            r#"echo '{"count": 1}'; echo one >&2; exit 75"#,
            Launched::Partly {
                count: 1,
                trouble: trouble(TroubleKind::Capacity, "one"),
            },
        ),
        (
            r#"echo '{"count": 0}'; echo none >&2"#,
            Launched::Partly {
                count: 0,
                trouble: trouble(TroubleKind::Other, "none"),
            },
        ),
    ] {
        assert_eq!(launch(line).await, expected, "{line}");
    }
    let killed = launch("kill -KILL $$").await;
    assert!(matches!(killed, Launched::Unknown(_)), "{killed:?}");
}

#[tokio::test]
async fn a_failed_supply_is_unknown_with_its_last_words() {
    let (commands, place) = commands("echo '{\"alive\": 0}'; echo broken >&2; exit 1", "true");
    let places = [place.clone(), Place::new("another")];
    let described = commands
        .describe(&places)
        .await
        .expect("no failure as a whole");
    let told = described[&place].as_ref().expect_err("it failed");
    assert!(told.ends_with("broken"), "{told}");
    assert!(described[&places[1]].is_err());
    assert_eq!(commands.calls(), BTreeMap::from([("supply", 1)]));
}

#[test]
fn commands_without_words_are_refused() {
    for text in [
        "supply = []\nlaunch = ['x']",
        "supply = ['x']\nlaunch = ['']",
    ] {
        let spec: Spec = toml::from_str(text).expect("well formed");
        assert!(spec.check().is_err(), "{text}");
    }
}
