use super::*;

const BOUNDS: BootBounds = BootBounds {
    least: Duration::from_secs(60),
    most: Duration::from_secs(600),
};

fn at(seconds: u64) -> Instant {
    Instant(Duration::from_secs(1000 + seconds))
}

fn list(members: &[(&str, Stage)]) -> Vec<Listed> {
    let listed = |(member, stage): &(&str, Stage)| Listed {
        member: Member::new(*member),
        stage: *stage,
    };
    members.iter().map(listed).collect()
}

/// A group that was empty, and then booted five instances in 100 s each.
fn learned() -> Boots {
    let mut boots = Boots::new(BOUNDS);
    boots.read(at(0), Vec::new());
    let names = ["a", "b", "c", "d", "e"];
    boots.read(at(10), list(&names.map(|name| (name, Stage::Booting))));
    boots.read(at(110), list(&names.map(|name| (name, Stage::Up))));
    boots
}

#[test]
fn a_deadline_is_the_longest_allowed_until_five_boots_were_seen() {
    let mut boots = Boots::new(BOUNDS);
    boots.read(at(0), Vec::new());
    boots.read(at(10), list(&[("a", Stage::Booting)]));
    boots.read(at(20), list(&[("a", Stage::Up)]));
    assert_eq!(boots.deadline(), BOUNDS.most);
    assert_eq!(learned().deadline(), Duration::from_secs(150));
    assert_eq!(learned().quantile(0.5), Some(Duration::from_secs(100)));
}

#[test]
fn an_instance_past_its_deadline_is_stale_and_told_once() {
    let mut boots = learned();
    let booting = list(&[("x", Stage::Booting)]);
    assert_eq!(boots.read(at(200), booting.clone()), []);
    assert_eq!(boots.read(at(350), booting.clone()), []);
    assert_eq!(boots.tally(at(350), false).booting, 1);
    let late = boots.read(at(351), booting.clone());
    assert_eq!(late, [Boot::Late(Member::new("x"))]);
    assert_eq!(boots.tally(at(351), false).stale, 1);
    assert_eq!(boots.read(at(360), booting), []);
    // Late, but up: it is supply again, and the next ones get more time.
    assert_eq!(boots.read(at(370), list(&[("x", Stage::Up)])), [Boot::Done]);
    assert_eq!(boots.tally(at(370), false).up, 1);
    assert_eq!(boots.deadline(), Duration::from_secs(255));
}

#[test]
fn what_was_found_booting_starts_anew_and_teaches_nothing() {
    let mut boots = Boots::new(BOUNDS);
    boots.read(at(0), list(&[("a", Stage::Booting), ("b", Stage::Up)]));
    assert_eq!(boots.tally(at(600), false).booting, 1);
    assert_eq!(boots.tally(at(601), false).stale, 1);
    boots.read(at(5), list(&[("a", Stage::Up), ("b", Stage::Up)]));
    assert_eq!(boots.quantile(0.5), None);
}

#[test]
fn one_read_without_an_instance_is_not_its_end() {
    let mut boots = learned();
    boots.read(at(200), list(&[("x", Stage::Booting)]));
    assert_eq!(boots.read(at(210), Vec::new()), []);
    assert_eq!(boots.tally(at(210), false).listed(), 0);
    assert_eq!(boots.read(at(220), list(&[("x", Stage::Booting)])), []);
    boots.read(at(230), Vec::new());
    let gone = boots.read(at(240), Vec::new());
    assert_eq!(gone, [Boot::Vanished(Member::new("x"))]);
}

#[test]
fn an_instance_that_ends_while_booting_has_failed_and_one_in_a_warm_pool_has_not() {
    let mut boots = learned();
    boots.read(at(200), list(&[("x", Stage::Booting), ("w", Stage::Away)]));
    let told = boots.read(at(210), list(&[("x", Stage::Away), ("w", Stage::Away)]));
    assert_eq!(told, [Boot::Vanished(Member::new("x"))]);
    boots.read(at(220), Vec::new());
    assert_eq!(boots.read(at(230), Vec::new()), []);
}

#[test]
fn the_time_of_an_instance_begins_when_it_leaves_the_warm_pool() {
    let mut boots = learned();
    boots.read(at(200), list(&[("w", Stage::Away)]));
    assert_eq!(boots.read(at(5000), list(&[("w", Stage::Booting)])), []);
    assert_eq!(boots.tally(at(5000), false).booting, 1);
    assert_eq!(
        boots.read(at(5020), list(&[("w", Stage::Up)])),
        [Boot::Done]
    );
    assert_eq!(boots.took.front(), Some(&Duration::from_secs(20)));
}

#[test]
fn where_names_tell_an_instance_has_booted_when_its_agent_is_registered() {
    let mut boots = learned();
    let agents = ["ci-a", "ci-b"].map(str::to_owned);
    boots.register(at(120), &Names::new(&agents));
    let tally = boots.tally(at(120), true);
    assert_eq!((tally.up, tally.booting, tally.stale), (2, 3, 0));
    // Without names nothing is held against an instance.
    assert_eq!(boots.tally(at(120), false).up, 5);
    boots.register(at(610), &Names::new(&agents));
    let tally = boots.tally(at(611), true);
    assert_eq!((tally.up, tally.booting, tally.stale), (2, 0, 3));
    // Gone for a moment is not gone.
    let tally = boots.tally(at(669), true);
    assert_eq!((tally.up, tally.stale), (2, 3));
    assert_eq!(boots.tally(at(670), true).stale, 5);
    // They had been taken for booted before names told otherwise, so that no one is accused.
    assert_eq!(boots.register(at(611), &Names::new(&agents)), []);
}

#[test]
fn names_that_never_match_say_nothing() {
    let mut boots = learned();
    let agents = ["host-1", "host-2"].map(str::to_owned);
    assert_eq!(boots.register(at(900), &Names::new(&agents)), []);
    assert_eq!(boots.tally(at(900), true).up, 5);
}

#[test]
fn an_agent_that_never_registers_is_late() {
    let mut boots = learned();
    let agents = ["a".to_owned()];
    boots.register(at(120), &Names::new(&agents));
    boots.read(at(130), list(&[("a", Stage::Up), ("x", Stage::Booting)]));
    boots.read(at(140), list(&[("a", Stage::Up), ("x", Stage::Up)]));
    assert_eq!(boots.register(at(730), &Names::new(&agents)), []);
    let late = boots.register(at(731), &Names::new(&agents));
    assert_eq!(late, [Boot::Late(Member::new("x"))]);
}

#[test]
fn what_was_asked_for_first_comes_first() {
    let mut boots = Boots::new(BOUNDS);
    boots.set_flight(at(0), 2);
    boots.set_flight(at(10), 5);
    assert_eq!(boots.overdue(at(31), Duration::from_secs(30)), 2);
    boots.set_flight(at(35), 4);
    assert_eq!(boots.overdue(at(36), Duration::from_secs(30)), 1);
    assert_eq!(boots.overdue(at(41), Duration::from_secs(30)), 4);
    boots.set_flight(at(42), 0);
    assert_eq!(boots.overdue(at(99), Duration::ZERO), 0);
}
