use super::*;

#[test]
fn only_an_id_is_taken_from_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("id");
    let id = "0123456789abcdef".repeat(4);
    for (text, expected) in [
        (id.as_str(), Some(id.as_str())),
        (&format!("{id}\n"), Some(&id)),
        ("", None),
        ("0123", None),
        ("--all --force 0123", None),
        (&format!("{id} {id}"), None),
        (&"0".repeat(1000), Some(&"0".repeat(128))),
    ] {
        fs::write(&path, text).expect("written");
        assert_eq!(read_id(&path).as_deref(), expected, "{text}");
    }
    fs::remove_file(&path).expect("removed");
    assert_eq!(read_id(&path), None);
    std::os::unix::fs::symlink("/etc/hostname", &path).expect("a link");
    assert_eq!(read_id(&path), None);
}

#[test]
fn the_engine_is_told_with_the_options_of_its_client() {
    let dir = tempfile::tempdir().expect("a directory");
    let cidfile = dir.path().join("id");
    fs::write(&cidfile, "0123456789ab").expect("written");
    let mut container = Container {
        client: vec!["docker".into(), "--host=tcp://x".into()],
        cidfile,
        is_temporary: true,
        told: false,
    };
    let words = |container: &Container| -> Vec<String> {
        let commands = container.commands().into_iter();
        commands
            .map(|argv| argv.join(" ".as_ref()).into_string().expect("text"))
            .collect()
    };
    let kill = "docker --host=tcp://x kill 0123456789ab";
    let remove = "docker --host=tcp://x rm --force 0123456789ab";
    assert_eq!(words(&container), [kill, remove]);
    container.is_temporary = false;
    assert_eq!(words(&container), [kill], "its user wants to keep it");
}
