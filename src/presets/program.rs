//! Which built-in presets are worth reading for a program.
//!
//! Reading a preset compiles its regexes, which takes a good part of a millisecond each time an
//! agent is started; nearly all presets are another program's.

use super::choose::Wanted;
use super::pattern::required_literals;

/// The key of programs' names, and that of images'.
pub const PROGRAM: &str = "match_program";
pub const IMAGE: &str = "match_image";

/// `false` when a built-in preset with this text cannot match this agent.
///
/// Built-in presets have each key on one line of literal strings; a test holds them to it.
pub fn may_match(text: &str, wanted: &Wanted) -> bool {
    let may = |key, name: Option<&[u8]>| {
        name.is_some_and(|name| names(text, key).any(|regex| may_name(regex, name)))
    };
    may(PROGRAM, wanted.program()) || may(IMAGE, wanted.image())
}

/// The regexes of one of a preset's keys.
pub fn names<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let line = text.lines().find(|line| line.starts_with(key));
    let parts = line.into_iter().flat_map(|line| line.split('\''));
    parts.skip(1).step_by(2)
}

fn may_name(name: &str, program: &[u8]) -> bool {
    let plain = name.replace(r"\.", "");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
    if plain.bytes().all(is_plain) {
        return name.replace(r"\.", ".").as_bytes() == program;
    }
    let literals = required_literals(name);
    let has = |literal: &Vec<u8>| memchr::memmem::find(program, literal).is_some();
    literals.is_empty() || literals.iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::super::view::World;
    use super::*;

    fn may(text: &str, argv: &[&str]) -> bool {
        let argv: Vec<_> = argv.iter().map(std::ffi::OsString::from).collect();
        may_match(text, &Wanted::new(&argv, &World::default()))
    }

    #[test]
    fn a_name_is_passed_over_only_when_it_cannot_match() {
        let table = [
            ("buildkite-agent", "buildkite-agent", true),
            ("buildkite-agent", "buildkite-agent2", false),
            (r"run\.sh", "run.sh", true),
            (r"run\.sh", "run_sh", false),
            ("drone-runner-(?:docker|exec)", "drone-runner-exec", true),
            ("drone-runner-(?:docker|exec)", "drone-agent", false),
            ("one-runner|two-runner", "two-runner", true),
            ("(?:one-)?agent", "agent", true),
            ("a?b*", "anything", true),
        ];
        for (name, program, expected) in table {
            let text = format!("summary = 'x'\nmatch_program = ['else', '{name}'] # why\n");
            assert_eq!(may(&text, &[program]), expected, "{name} for {program}");
        }
        assert!(!may("summary = 'for no program'", &["true"]));
        assert!(!may("match_program = ['x']", &[]));
    }

    #[test]
    fn an_image_is_passed_over_only_when_it_cannot_match() {
        let text = "match_program = ['agent']\nmatch_image = ['acme/agent(?:-.*)?']\n";
        for (argv, expected) in [
            (["docker", "run", "acme/agent:1", ""], true),
            (["docker", "run", "acme/agent-linux", ""], true),
            (["docker", "run", "acme/other", ""], false),
            (["docker", "run", "other", "/bin/agent"], true),
            (["docker", "start", "acme/agent", ""], false),
        ] {
            assert_eq!(may(text, &argv), expected, "{argv:?}");
        }
    }
}
