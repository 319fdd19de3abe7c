//! What the group may do.

use super::*;

#[test]
fn an_idle_machine_at_its_groups_minimum_stays() {
    let at_minimum = |facts: &mut Facts| group(facts).min = 3;
    let found = bad("", at_minimum);
    expect(
        found,
        Warning,
        "minimum",
        &["minimum of 3", "goes back to work", "MinSize"],
    );
    all_good("idle-timeout=never", at_minimum, &[]);
}

#[test]
fn what_a_group_may_do_to_a_busy_machine_is_a_warning() {
    let found = bad("", |facts| group(facts).suspended.clear());
    expect(
        found,
        Warning,
        "az-rebalance",
        &["3 zones", "suspend-processes"],
    );
    all_good(
        "protect=busy",
        |facts| group(facts).suspended.clear(),
        &["ends no busy machine"],
    );
    all_good(
        "",
        |facts| {
            group(facts).suspended.clear();
            group(facts).zones = 1;
        },
        &[],
    );
    let found = bad("", |facts| group(facts).rebalances = true);
    expect(
        found,
        Warning,
        "rebalance",
        &["--on-rebalance ignore", "CapacityRebalance"],
    );
    all_good(
        "on-rebalance=after-job",
        |facts| group(facts).rebalances = true,
        &["is on"],
    );
    all_good(
        "protect=busy",
        |facts| group(facts).rebalances = true,
        &["leaves a protected"],
    );
    let found = bad("", |facts| group(facts).member = None);
    expect(found, Warning, "group", &["no longer in it"]);
}

#[test]
fn nothing_is_protected_where_aws_is_not_called() {
    let line = "retire=poweroff protect=busy drain-timeout=1m";
    let words = ["--protect busy has no effect", "with --retire poweroff"];
    expect(bad(line, |_| ()), Warning, "protection", &words);
}

#[test]
fn protection_says_how_it_is_now() {
    let member =
        |facts: &mut Facts| group(facts).member.as_mut().expect("a member").is_protected = true;
    all_good("protect=busy", member, &["while a job runs; protected now"]);
    all_good(
        "protect=busy",
        |_| (),
        &["while a job runs; not protected now"],
    );
    all_good(
        "protect=always",
        |_| (),
        &["not protected now, and for a moment at each boot"],
    );
    all_good(
        "protect=always",
        |facts| group(facts).protects_new = true,
        &["as long as it is in service"],
    );
    all_good(
        "",
        |facts| group(facts).protects_new = true,
        &["by the group's own setting"],
    );
}
