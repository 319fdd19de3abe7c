//! The metadata service and what it says of the instance.

use super::{Case, judge};
use crate::doctor::facts::{Answers, Aws, Metadata, Silence, Tags};
use crate::doctor::finding::Finding;
use crate::instance::Mode;

const IMDS: &str = "imds";

pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut all = container(case);
    match &case.facts.metadata {
        Metadata::Elsewhere => all.push(elsewhere(case.config.retire.mode)),
        Metadata::SwitchedOff => all.push(silent(
            case,
            "switched off by AWS_EC2_METADATA_DISABLED",
            "unset it for clockout",
        )),
        Metadata::Silent(Silence::HopLimit) => all.push(silent(
            case,
            "it answers, but its token never arrives: the hop limit is 1, and this is a container \
             behind a bridge",
            "set HttpPutResponseHopLimit to 2 in the launch template's metadata options, or give \
             the container the host's network",
        )),
        Metadata::Silent(Silence::Refused(status)) => all.push(silent(
            case,
            &format!("it answers {status} when asked for a token"),
            "set HttpEndpoint to enabled in the launch template's metadata options",
        )),
        Metadata::Silent(Silence::Nothing(why)) => all.push(silent(
            case,
            &format!("it does not answer ({why})"),
            "let clockout's user reach it: no firewall rule, HttpEndpoint enabled",
        )),
        Metadata::Answers(answers) => all.extend(answering(case, answers)),
    }
    all
}

fn container(case: &Case<'_>) -> Vec<Finding> {
    if !case.facts.host.is_container {
        return Vec::new();
    }
    let what = match case.config.retire.mode {
        Mode::Auto => "a container: --retire auto ends only it, never the machine below",
        Mode::Exit => "a container: it ends, the machine below does not",
        _ => return Vec::new(),
    };
    vec![Finding::ok("machine", what)]
}

fn elsewhere(mode: Mode) -> Finding {
    let what = "not on EC2:";
    match mode {
        Mode::Auto | Mode::Exit => Finding::ok(
            "machine",
            format!("{what} with --retire {mode} clockout ends and the machine stays"),
        ),
        Mode::PowerOff => Finding::ok("machine", format!("{what} the machine powers off")),
        Mode::Detach | Mode::Terminate => Finding::warning(
            "machine",
            format!("{what} --retire {mode} has no instance to end, and clockout ends"),
            "use --retire poweroff or exit here",
        ),
    }
}

/// Without the service nobody knows which instance this is, and no notice is seen.
fn silent(case: &Case<'_>, what: &str, fix: &str) -> Finding {
    match case.ends_instance() {
        true => Finding::error(
            IMDS,
            format!("{what}; the machine can only power off, and sees no notice"),
            fix,
        ),
        false => Finding::warning(IMDS, format!("{what}; no notice is seen"), fix),
    }
}

fn answering(case: &Case<'_>, answers: &Answers) -> Vec<Finding> {
    let hop_limit = case.asked().and_then(|asked| asked.hop_limit.as_ref().ok());
    let mut all = vec![match hop_limit {
        // Whoever asks has the host's network, or would not have an answer.
        Some(limit) => Finding::ok(IMDS, format!("reachable, hop limit {limit}")),
        None => Finding::ok(IMDS, "reachable"),
    }];
    all.extend(judge(IMDS, "version 1", &answers.version_1, |answers| {
        vec![match answers {
            false => Finding::ok(IMDS, "answers only with a token (version 2)"),
            true => Finding::warning(
                IMDS,
                "answers without a token: any request that a job can be talked into gets the \
                 role's credentials",
                "set HttpTokens to required in the launch template's metadata options",
            ),
        }]
    }));
    let zone = answers.zone.as_deref().unwrap_or(&answers.region);
    let market = match answers.is_spot {
        Ok(true) => ", spot",
        Ok(false) => ", on demand",
        Err(_) => "",
    };
    all.push(Finding::ok(
        "instance",
        format!("{} in {zone}{market}", answers.instance),
    ));
    if case.ends_instance() {
        all.extend(credentials(case, answers));
        all.extend(judge("tags", "instance tags", &answers.tags, tags));
        if matches!(case.facts.aws, Aws::NotBuilt) {
            all.push(Finding::error(
                "build",
                "this build cannot talk to AWS: the machine can only power off, and the group, \
                 its hooks and the permissions are not checked",
                "install the full build, or use --retire poweroff",
            ));
        }
    }
    all
}

fn credentials(case: &Case<'_>, answers: &Answers) -> Vec<Finding> {
    const TOPIC: &str = "credentials";
    let others = &case.facts.host.credentials;
    if !others.is_empty() {
        return vec![Finding::warning(
            TOPIC,
            format!(
                "{} comes before the instance's role, and a policy for \"itself\" does not hold",
                others.join(", ")
            ),
            "remove it from clockout's environment; an agent gets its own with `-- env NAME=...`",
        )];
    }
    judge(TOPIC, "the instance's role", &answers.role, |role| {
        vec![match role {
            Some(role) => Finding::ok(TOPIC, format!("the instance's role {role}")),
            None => Finding::error(
                TOPIC,
                "the instance has no role: nothing can be asked of AWS, and the machine can only \
                 power off",
                "give the launch template an instance profile, with what `clockout policy` prints",
            ),
        }]
    })
}

fn tags(tags: &Tags) -> Vec<Finding> {
    vec![match tags {
        Tags::Group(group) => Finding::ok("tags", format!("name the group {group}")),
        Tags::NoGroup => Finding::ok("tags", "are in the metadata, and none names a group"),
        Tags::Hidden => Finding::warning(
            "tags",
            "are not in the metadata: each machine asks Auto Scaling for its group, which \
             throttles when many boot",
            "set InstanceMetadataTags to enabled in the launch template's metadata options",
        ),
    }]
}
