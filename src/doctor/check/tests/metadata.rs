//! The metadata service and its settings.

use super::*;

#[test]
fn a_silent_metadata_service_is_an_error_that_names_the_setting() {
    for (silence, words) in [
        (
            Silence::HopLimit,
            ["the hop limit is 1", "HttpPutResponseHopLimit to 2"],
        ),
        (
            Silence::Refused(403),
            ["answers 403", "HttpEndpoint to enabled"],
        ),
        (
            Silence::Nothing("no connection".to_owned()),
            ["no connection", "firewall"],
        ),
    ] {
        let change = |facts: &mut Facts| {
            facts.metadata = Metadata::Silent(silence);
            facts.aws = Aws::NotAsked;
        };
        expect(bad("", change), Error, "imds", &words);
    }
    let change = |facts: &mut Facts| {
        facts.metadata = Metadata::SwitchedOff;
        facts.aws = Aws::NotAsked;
    };
    expect(
        bad("", change),
        Error,
        "imds",
        &["AWS_EC2_METADATA_DISABLED"],
    );
    // Who never asks AWS loses only the notices.
    let change = |facts: &mut Facts| {
        facts.metadata = Metadata::Silent(Silence::HopLimit);
        facts.aws = Aws::NotAsked;
    };
    expect(
        bad("retire=exit", change),
        Warning,
        "imds",
        &["no notice is seen"],
    );
}

#[test]
fn what_the_metadata_lacks_is_named_with_its_setting() {
    let found = bad("", |facts| answers(facts).version_1 = Ok(true));
    expect(found, Warning, "imds", &["without a token", "HttpTokens"]);
    let found = bad("", |facts| answers(facts).tags = Ok(Tags::Hidden));
    expect(found, Warning, "tags", &["InstanceMetadataTags"]);
    let found = bad("", |facts| answers(facts).role = Ok(None));
    expect(
        found,
        Error,
        "credentials",
        &["no role", "instance profile"],
    );
    let found = bad("", |facts| {
        facts.host.credentials = vec!["AWS_PROFILE".to_owned()]
    });
    expect(found, Warning, "credentials", &["AWS_PROFILE comes before"]);
}

#[test]
fn elsewhere_than_on_ec2_the_rest_is_checked() {
    let elsewhere = |facts: &mut Facts| {
        facts.metadata = Metadata::Elsewhere;
        facts.aws = Aws::NotAsked;
    };
    for mode in ["auto", "exit", "poweroff"] {
        all_good(
            &format!("retire={mode}"),
            elsewhere,
            &["not on EC2", "state-dir"],
        );
    }
    for mode in ["detach", "terminate"] {
        let found = bad(&format!("retire={mode}"), elsewhere);
        expect(
            found,
            Warning,
            "machine",
            &["no instance to end", "--retire poweroff"],
        );
    }
}

#[test]
fn a_container_ends_alone_unless_it_is_told_to_end_its_machine() {
    let container = |facts: &mut Facts| {
        facts.host.is_container = true;
        facts.host.power_off = PowerOff::Reboot(false);
        facts.host.has_timers = false;
        facts.metadata = Metadata::Silent(Silence::HopLimit);
        facts.aws = Aws::NotAsked;
    };
    let found = bad("", container);
    expect(found, Warning, "imds", &["HttpPutResponseHopLimit"]);
    let errors = found_topics("retire=detach", container, Error);
    assert_eq!(errors, ["imds", "power-off", "dead-man"]);
}

#[test]
fn a_build_without_aws_says_what_it_cannot_do() {
    let found = bad("", |facts| facts.aws = Aws::NotBuilt);
    expect(
        found,
        Error,
        "build",
        &["only power off", "--retire poweroff"],
    );
    all_good(
        "retire=poweroff",
        |facts| facts.aws = Aws::NotBuilt,
        &["ci, its settings not"],
    );
}
