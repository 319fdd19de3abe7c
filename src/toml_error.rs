//! One line for a TOML file that cannot be used: file, line, key, and what was probably meant.

/// The failure as `file:line: key 'x': what is wrong`, with the nearest known word where a word
/// is not known. `path` is only shown; `text` is what was parsed.
pub fn explain(path: &str, text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else {
        return format!("{path}: {}", one_line(error.message()));
    };
    let start = span.start.min(text.len());
    let line = 1 + text.as_bytes()[..start]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    let message = error.message();
    let what = match unknown_word(message) {
        Some(("field", word, known)) => format!("unknown key '{word}'{}", hint(word, &known)),
        Some((_, word, known)) => {
            format!(
                "{}unknown value '{word}'{}",
                key_of(text, start),
                hint(word, &known)
            )
        }
        None => format!("{}{}", key_of(text, start), one_line(message)),
    };
    format!("{path}:{line}: {what}")
}

/// The known word that was probably meant, if one is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong, but never so many that anything would do.
    let tolerated = (word.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `, did you mean 'y'?`, or all known words when there are few and none is near.
pub fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!(", did you mean '{near}'?"),
        None if known.is_empty() => String::new(),
        None => format!(", use one of: {}", known.join(", ")),
    }
}

/// Reads serde's "unknown field `x`, expected one of `a`, `b`" (or "unknown variant").
fn unknown_word(message: &str) -> Option<(&str, &str, Vec<&str>)> {
    let (what, rest) = message.strip_prefix("unknown ")?.split_once(" `")?;
    let (word, expected) = rest.split_once('`')?;
    matches!(what, "field" | "variant").then(|| {
        let known = expected.split('`').skip(1).step_by(2).collect();
        (what, word, known)
    })
}

/// `key 'x': ` of the line in which the value at `start` stands, or its table's header.
fn key_of(text: &str, start: usize) -> String {
    let from = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[from..].lines().next().unwrap_or_default().trim();
    match line.split_once('=') {
        _ if line.starts_with('[') => format!("{line}: "),
        Some((key, _)) if from + key.len() <= start => format!("key '{}': ", key.trim()),
        _ => String::new(),
    }
}

fn one_line(message: &str) -> String {
    let lines = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        max_jobs: Option<u32>,
        colour: Option<Colour>,
        inner: Option<BTreeMap<String, u32>>,
    }

    fn explained(text: &str) -> String {
        let error = toml::from_str::<File>(text).expect_err("refused");
        explain("a.toml", text, &error)
    }

    #[test]
    fn every_failure_is_one_line_that_names_place_and_remedy() {
        let table = [
            (
                "max_job = 1",
                "a.toml:1: unknown key 'max_job', did you mean 'max_jobs'?",
            ),
            (
                "\nzebra = 1",
                "a.toml:2: unknown key 'zebra', use one of: max_jobs, colour, inner",
            ),
            (
                "colour = 'gren'",
                "a.toml:1: key 'colour': unknown value 'gren', did you mean 'green'?",
            ),
            (
                "# x\nmax_jobs = 'many'",
                "a.toml:2: key 'max_jobs': invalid type: string \"many\", expected u32",
            ),
            (
                "[inner]\nkey = true",
                "a.toml:2: key 'key': invalid type: boolean `true`, expected u32",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(explained(text), expected);
        }
        for broken in [
            "max_jobs = ",
            "max_jobs",
            "[inner",
            "max_jobs = 1\nmax_jobs = 2",
            "é = \"\u{7}",
        ] {
            let line = explained(broken);
            assert!(
                line.starts_with("a.toml:") && !line.contains('\n'),
                "{line}"
            );
        }
    }

    #[test]
    fn a_good_file_is_no_error() {
        let text = "max_jobs = 1\ncolour = 'red'\n[inner]\na = 1";
        let file: File = toml::from_str(text).expect("good");
        assert_eq!(file.max_jobs, Some(1));
        assert!(matches!(file.colour, Some(Colour::Red)));
        assert_eq!(file.inner.map(|inner| inner.len()), Some(1));
    }

    #[test]
    fn nothing_near_is_no_suggestion() {
        assert_eq!(
            nearest("max-jobz", ["max-jobs", "agents"]),
            Some("max-jobs")
        );
        assert_eq!(nearest("x", ["max-jobs", "agents"]), None);
    }
}
