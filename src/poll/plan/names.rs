//! Which instances have a registered agent: an instance is recognised by its id in an agent's
//! name (`i-0abc`, `linux-i-0abc-2`).

use std::collections::BTreeMap;

/// The names of the connected agents, found by the words in them.
pub struct Names<'a> {
    by_word: BTreeMap<&'a str, Vec<&'a str>>,
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
}

impl<'a> Names<'a> {
    pub fn new(names: &'a [String]) -> Names<'a> {
        let mut by_word: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in names {
            for word in words(name) {
                by_word.entry(word).or_default().push(name);
            }
        }
        Names { by_word }
    }

    /// Whether a name has this id in it, as whole words: `i-12` is not in `i-123`.
    pub fn have(&self, id: &str) -> bool {
        // The longest word of an id is the one that few others share.
        let Some(longest) = words(id).max_by_key(|word| word.len()) else {
            return false;
        };
        self.by_word
            .get(longest)
            .is_some_and(|names| names.iter().any(|name| has(name, id)))
    }
}

fn has(name: &str, id: &str) -> bool {
    name.match_indices(id).any(|(at, _)| {
        let edge = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
        edge(name[..at].chars().next_back()) && edge(name[at + id.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_a_name_only_as_whole_words() {
        let names = ["linux-i-0abc-2", "i-123", "ci_i-77", ""].map(str::to_owned);
        let names = Names::new(&names);
        for (id, found) in [
            ("i-0abc", true),
            ("i-123", true),
            ("i-77", true),
            ("i-12", false),
            ("i-23", false),
            ("123", true),
            ("abc", false),
            ("", false),
            ("--", false),
        ] {
            assert_eq!(names.have(id), found, "{id}");
        }
    }
}
