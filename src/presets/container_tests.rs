use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

fn parsed(line: &str) -> Option<ContainerRun> {
    ContainerRun::parse(&words(line))
}

#[test]
fn the_image_is_found_behind_options_of_every_form() {
    for (line, image) in [
        ("docker run acme/agent", 2),
        ("/usr/bin/docker run --rm -i acme/agent start", 4),
        ("docker run -e A=run acme/agent", 4),
        ("docker run -eA=b -v/x:/y -p80:80 acme/agent", 5),
        ("docker run -ip 80:80 acme/agent", 4),
        ("docker run -ie acme/other acme/agent", 4),
        ("docker run --name=x --network host acme/agent", 5),
        ("docker run --init --read-only --pull always acme/agent", 6),
        ("docker run --some-new-option value acme/agent", 4),
        ("docker run -- acme/agent --rm", 3),
        (
            "docker -D -H tcp://x:1 --context=y container run acme/agent",
            7,
        ),
        (
            "podman --root /r --remote run --replace --name n acme/agent",
            8,
        ),
        ("nerdctl -n k8s.io run acme/agent", 4),
    ] {
        let run = parsed(line).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(
            (run.image, run.name.as_slice()),
            (image, &b"acme/agent"[..]),
            "{line}"
        );
    }
}

#[test]
fn what_runs_no_container_is_none() {
    for line in [
        "docker",
        "docker run",
        "docker run --rm",
        "docker run --name",
        "docker pull acme/agent",
        "docker start run",
        "docker --context",
        "sudo docker run acme/agent",
        "drone-agent run x",
    ] {
        assert_eq!(parsed(line), None, "{line}");
    }
}

#[test]
fn a_name_has_no_host_tag_or_digest() {
    for (image, name) in [
        ("agent", "agent"),
        ("agent:1.2", "agent"),
        ("acme/agent@sha256:00", "acme/agent"),
        ("docker.io/acme/agent:1", "acme/agent"),
        ("localhost/agent", "agent"),
        ("registry:5000/acme/agent:1@sha256:00", "acme/agent"),
        ("acme/sub/agent", "acme/sub/agent"),
        ("", ""),
    ] {
        let found = image_name(image.as_bytes());
        assert_eq!(String::from_utf8_lossy(found), name, "{image}");
    }
}

#[test]
fn its_environment_is_what_the_command_line_says() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("env"), "# why\nA=file\n B=file\n\nC\nE\n").expect("written");
    let world = World {
        variables: [("C", "ours"), ("D", "ours"), ("E", "ours"), ("F", "ours")]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        cwd: dir.path().to_owned(),
        ..World::default()
    };
    let line = "docker run -e A=one --env=D --env-file ./env -e C=x=y -e NONE acme/agent -e F=x";
    let run = parsed(line).expect("a container");
    let found = run.variables(&world);
    let found: Vec<_> = found
        .iter()
        .map(|(k, v)| (k.to_str(), v.to_str()))
        .collect();
    let expected = [
        ("A", "one"),
        ("B", "file"),
        ("C", "x=y"),
        ("D", "ours"),
        ("E", "ours"),
    ];
    assert_eq!(found, expected.map(|(k, v)| (Some(k), Some(v))));
    // A file that cannot be read is the client's to complain about.
    let run = parsed("docker run --env-file /dev/zero acme/agent").expect("a container");
    assert!(run.variables(&world).is_empty());
}

#[test]
fn published_ports_lead_inside() {
    let run = parsed("docker run -p 8080:80 --publish 127.0.0.1:3001:3000/tcp -p 99 -P x");
    let run = run.expect("a container");
    assert_eq!(run.host_port(80), Some(8080));
    assert_eq!(run.host_port(3000), Some(3001));
    assert_eq!((run.host_port(99), run.on_host_network), (None, false));
    let on_host = |line: &str| parsed(line).is_some_and(|run| run.on_host_network);
    assert!(on_host("docker run --network=host x") && on_host("podman run --net host x"));
}

#[test]
fn a_container_that_cannot_be_supervised_is_told_apart() {
    for (line, fault) in [
        ("docker run -d x", Some(DETACHED)),
        ("docker run -id x", Some(DETACHED)),
        ("docker run --detach x", Some(DETACHED)),
        ("docker run --detach=false x", None),
        ("docker run -it x", Some(TERMINAL)),
        ("docker run --tty x", Some(TERMINAL)),
        ("docker run --sig-proxy=false x", Some(NO_SIGNALS)),
        ("docker run --sig-proxy x", None),
        ("docker run -i x -d -t", None),
    ] {
        assert_eq!(parsed(line).expect(line).fault, fault, "{line}");
    }
}
