//! Text in HTML.

use std::fmt::{self, Write as _};

/// Text as HTML shows it, in elements and in quoted attributes: nothing in it is markup.
pub struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Control characters are no valid HTML; the others are lines and tabs.
                '\n' | '\t' => f.write_char(character)?,
                character if character.is_control() => f.write_char('\u{fffd}')?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// The template with each `{{name}}` replaced by its HTML. What is put in is not looked at again.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, name, after)) = rest.split_once("{{").and_then(|(before, after)| {
        let (name, after) = after.split_once("}}")?;
        Some((before, name, after))
    }) {
        page.push_str(before);
        let value = values.iter().find(|(other, _)| *other == name);
        page.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    page.push_str(rest);
    page
}

/// `12 s`, `3 min`, `2 h`, `5 d`: how long, for people.
pub fn long(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 0.95 => format!("{:.0} ms", s * 1000.0),
        s if s < 9.95 => format!("{s:.1} s").replace(".0 ", " "),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(
            Text("<b a='1' c=\"2\">&\u{0}\n").to_string(),
            "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;\u{fffd}\n"
        );
    }

    #[test]
    fn what_is_put_in_is_not_filled_again() {
        let page = fill("a {{x}} b {{y}} c {{", &[("x", "{{y}}"), ("y", "2")]);
        assert_eq!(page, "a {{y}} b 2 c {{");
    }

    #[test]
    fn durations_are_as_long_as_people_say_them() {
        for (seconds, text) in [
            (-1.0, "0 ms"),
            (0.183, "183 ms"),
            (1.0, "1 s"),
            (1.5, "1.5 s"),
            (42.4, "42 s"),
            (119.0, "119 s"),
            (600.0, "10 min"),
            (7200.0, "2 h"),
            (864_000.0, "10 d"),
        ] {
            assert_eq!(long(seconds), text);
        }
        assert_eq!(long(f64::NAN), "0 ms");
    }
}
