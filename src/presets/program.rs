//! Which built-in presets are worth reading for a program.
//!
//! Reading a preset compiles its regexes, which takes a good part of a millisecond each time an
//! agent is started; nearly all presets are another program's.

use super::pattern::required_literals;

/// `false` when a built-in preset with this text cannot match a program of this base name.
///
/// Built-in presets have `match_program` on one line of literal strings; a test holds them to it.
pub fn may_match(text: &str, program: &[u8]) -> bool {
    names(text).any(|name| may_name(name, program))
}

/// The regexes of a preset's `match_program`.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    let line = text.lines().find(|line| line.starts_with("match_program"));
    let parts = line.into_iter().flat_map(|line| line.split('\''));
    parts.skip(1).step_by(2)
}

fn may_name(name: &str, program: &[u8]) -> bool {
    let plain = name.replace(r"\.", "");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if plain.bytes().all(is_plain) {
        return name.replace(r"\.", ".").as_bytes() == program;
    }
    let literals = required_literals(name);
    let has = |literal: &Vec<u8>| memchr::memmem::find(program, literal).is_some();
    literals.is_empty() || literals.iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let found = may_match(&text, program.as_bytes());
            assert_eq!(found, expected, "{name} for {program}");
        }
        assert!(!may_match("summary = 'for no program'", b"true"));
    }
}
