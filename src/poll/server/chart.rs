//! The chart of the last hours, and the small ones of each group, as SVG.
//!
//! Steps, not slopes: a number holds until the next one. Stretched to any width by the browser,
//! so there is no text in it. Attributes only, no styles: the page's policy forbids those.

use std::fmt::Write as _;

use super::history::{Sample, Span};

/// The height of the drawing's own coordinates; a sample is 1 wide.
const HEIGHT: u32 = 100;
/// Samples that a chart has room for from the start.
const LEAST: usize = 15;

/// What is drawn: the class that colours it, and where its number is.
type Line = (&'static str, fn(&Sample) -> Option<u32>);

const LINES: [Line; 3] = [
    ("alive", |sample| sample.alive),
    ("running", |sample| sample.running),
    ("waiting", |sample| sample.waiting),
];

/// How many samples wide a chart is: a poller that has just started need not show an empty hour.
pub fn width(samples: &[Sample], span: Span) -> usize {
    samples
        .len()
        .clamp(LEAST.min(span.samples()), span.samples())
}

/// The samples end at the right edge. `top` is the number at the upper edge.
pub fn draw(class: &str, samples: &[Sample], span: Span, top: u32) -> String {
    let width = width(samples, span);
    let start = width.saturating_sub(samples.len());
    let mut svg = format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" \
         aria-hidden=\"true\">"
    );
    let numbers = |number: fn(&Sample) -> Option<u32>| {
        let numbers = samples.iter().map(number).enumerate();
        numbers.map(move |(x, number)| (start + x, number.map(|number| height(number, top))))
    };
    let ground = outline(numbers(|sample| sample.alive), Outline::Area);
    let _ = write!(svg, "<path class=\"ground\" d=\"{ground}\"/>");
    for (name, number) in LINES {
        let line = outline(numbers(number), Outline::Line);
        let _ = write!(svg, "<path class=\"{name}\" d=\"{line}\"/>");
    }
    svg + "</svg>"
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outline {
    Line,
    /// Closed along the lower edge.
    Area,
}

/// A path along the heights, broken where one is unknown.
fn outline(heights: impl Iterator<Item = (usize, Option<f64>)>, kind: Outline) -> String {
    let mut path = String::new();
    let mut last: Option<f64> = None;
    let mut end = 0;
    let close = match kind {
        Outline::Line => String::new(),
        Outline::Area => format!("V{HEIGHT}Z"),
    };
    for (x, y) in heights {
        end = x + 1;
        match (last, y) {
            (None, Some(y)) if kind == Outline::Area => _ = write!(path, "M{x} {HEIGHT}V{y}"),
            (None, Some(y)) => _ = write!(path, "M{x} {y}"),
            (Some(before), Some(y)) if before != y => _ = write!(path, "H{x}V{y}"),
            (Some(_), None) => _ = write!(path, "H{x}{close}"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        last = y;
    }
    if last.is_some() {
        let _ = write!(path, "H{end}{close}");
    }
    path
}

/// From the upper edge, to a tenth.
fn height(number: u32, top: u32) -> f64 {
    let share = f64::from(number.min(top)) / f64::from(top.max(1));
    ((1.0 - share) * f64::from(HEIGHT) * 10.0).round() / 10.0
}

/// The number at the upper edge: round, even, and not below any sample.
pub fn top(samples: &[Sample]) -> u32 {
    let numbers = samples
        .iter()
        .flat_map(|sample| LINES.map(|(_, number)| number(sample)));
    let most = numbers.flatten().max().unwrap_or(0);
    let mut scale = 1_u32;
    loop {
        for digit in [2_u32, 4, 6, 8, 10] {
            let Some(top) = digit.checked_mul(scale) else {
                return u32::MAX;
            };
            if top >= most && top >= 4 {
                return top;
            }
        }
        scale = scale.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(jobs: Option<u32>) -> Sample {
        Sample {
            waiting: jobs,
            ..Sample::default()
        }
    }

    #[test]
    fn a_line_steps_ends_at_the_right_edge_and_breaks_where_nothing_is_known() {
        let samples: Vec<Sample> = [Some(0), Some(0), Some(5), None, Some(10), Some(9)]
            .map(waiting)
            .to_vec();
        let svg = draw("spark", &samples, Span::Hour, 10);
        assert!(
            svg.contains(r#"<path class="waiting" d="M9 100H11V50H12M13 0H14V10H15"/>"#),
            "{svg}"
        );
        assert!(svg.contains(r#"<path class="alive" d=""/>"#), "{svg}");
    }

    #[test]
    fn a_chart_grows_with_what_there_is_to_show() {
        let samples = vec![Sample::default(); 1000];
        for (known, wide) in [(0, 15), (15, 15), (100, 100), (1000, 360)] {
            assert_eq!(width(&samples[..known], Span::Hour), wide);
        }
        let svg = draw("large", &samples[..100], Span::Hour, 10);
        assert!(svg.contains("viewBox=\"0 0 100 100\""), "{svg}");
    }

    #[test]
    fn the_ground_under_the_instances_is_closed() {
        let samples = [Some(5), None, Some(10)].map(|alive| Sample {
            alive,
            ..Sample::default()
        });
        let svg = draw("spark", &samples, Span::Hour, 10);
        let ground = "M12 100V50H13V100ZM14 100V0H15V100Z";
        assert!(
            svg.contains(&format!(r#"<path class="ground" d="{ground}"/>"#)),
            "{svg}"
        );
    }

    #[test]
    fn the_upper_edge_is_a_round_number_above_all() {
        for (most, edge) in [
            (0, 4),
            (4, 4),
            (5, 6),
            (11, 20),
            (61, 80),
            (101, 200),
            (5_000, 6_000),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(top(&[waiting(Some(most)), waiting(None)]), edge);
        }
        assert_eq!(top(&[]), 4);
    }
}
