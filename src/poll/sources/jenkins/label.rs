//! Jenkins' label expressions: `linux && (docker || !arm64)`.
//!
//! The grammar is that of Jenkins' `LabelExpressionParser.g4` and `LabelExpressionLexer.g4`.

/// Deeper ones are nobody's, and a stack has an end.
const DEEPEST: usize = 50;

/// Whether a node with these labels may run what asks for `expression`; `None` when that is no
/// expression.
pub fn matches(expression: &str, has: impl Fn(&str) -> bool) -> Option<bool> {
    let mut reader = Reader {
        rest: expression,
        has: &has,
        depth: 0,
    };
    let told = reader.equal()?;
    reader
        .rest
        .trim_start_matches(BLANK)
        .is_empty()
        .then_some(told)
}

const BLANK: [char; 2] = [' ', '\t'];

struct Reader<'a> {
    rest: &'a str,
    has: &'a dyn Fn(&str) -> bool,
    depth: usize,
}

/// By rising precedence.
impl Reader<'_> {
    fn equal(&mut self) -> Option<bool> {
        let mut told = self.implies()?;
        while self.take("<->") {
            told = told == self.implies()?;
        }
        Some(told)
    }

    fn implies(&mut self) -> Option<bool> {
        let told = self.or()?;
        if self.take("->") {
            let then = self.or()?;
            return Some(!told || then);
        }
        Some(told)
    }

    fn or(&mut self) -> Option<bool> {
        let mut told = self.and()?;
        while self.take("||") {
            told |= self.and()?;
        }
        Some(told)
    }

    fn and(&mut self) -> Option<bool> {
        let mut told = self.not()?;
        while self.take("&&") {
            told &= self.not()?;
        }
        Some(told)
    }

    fn not(&mut self) -> Option<bool> {
        let mut is = true;
        while self.take("!") {
            is = !is;
        }
        Some(self.one()? == is)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            self.depth += 1;
            let told = (self.depth <= DEEPEST).then(|| self.equal()).flatten()?;
            self.depth -= 1;
            return self.take(")").then_some(told);
        }
        if self.take("\"") {
            let (label, rest) = quoted(self.rest)?;
            self.rest = rest;
            return Some((self.has)(&label));
        }
        let (label, rest) = self.rest.split_at(end_of_label(self.rest));
        self.rest = rest;
        (!label.is_empty()).then(|| (self.has)(label))
    }

    fn take(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start_matches(BLANK);
        let after = rest.strip_prefix(word);
        self.rest = after.unwrap_or(rest);
        after.is_some()
    }
}

/// A minus is part of a label, but `->` is not.
fn end_of_label(text: &str) -> usize {
    let is_end =
        |(at, c): &(usize, char)| "&|!<>() \t\"'".contains(*c) || text[*at..].starts_with("->");
    text.char_indices()
        .find(is_end)
        .map_or(text.len(), |(at, _)| at)
}

/// What is before the closing quote, and what is after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut label = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((label, &text[at + 1..])),
            '\\' => label.push(chars.next()?.1),
            c => label.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(expression: &str) -> Option<bool> {
        matches(expression, |label| {
            ["linux", "docker", "x-64", "big one"].contains(&label)
        })
    }

    #[test]
    fn expressions_are_read_as_jenkins_reads_them() {
        for (expression, expected) in [
            ("linux", true),
            ("windows", false),
            (" linux ", true),
            ("x-64", true),
            ("\"big one\"", true),
            ("\"big \\\"one\"", false),
            ("!windows", true),
            ("!!linux", true),
            ("linux&&docker", true),
            ("linux && windows", false),
            ("windows || docker", true),
            // AND binds more than OR.
            ("linux || linux && windows", true),
            ("(linux || linux) && windows", false),
            ("linux->windows", false),
            ("windows -> linux", true),
            ("x-64->docker", true),
            ("linux <-> docker", true),
            ("linux <-> windows", false),
            ("windows<->osx<->linux", true),
            ("!(linux && !docker)", true),
        ] {
            assert_eq!(told(expression), Some(expected), "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_told_apart() {
        for bad in [
            "",
            " ",
            "linux docker",
            "linux &&",
            "&& linux",
            "(linux",
            "linux)",
            "a -> b -> c",
            "\"linux",
            "li'nux",
            "linux & docker",
            "a <- b",
        ] {
            assert_eq!(told(bad), None, "{bad}");
        }
        let deep = |depth| format!("{}linux{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(told(&deep(DEEPEST)), Some(true));
        assert_eq!(told(&deep(100_000)), None);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[a-c&|!<>() \"\\\\'é-]{0,40}") {
            let _ = told(&text);
        }
    }
}
