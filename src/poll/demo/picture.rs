//! What is shown: the jobs that wait and the life of each machine, from left to right, in a
//! picture of a few lines that fits a terminal of 80 columns.

use std::fmt::Write;
use std::time::Duration;

use super::work::Counts;

/// Columns before a lane.
const LABEL: usize = 10;
/// Columns of a lane.
const COLUMNS: usize = 50;
/// Seconds that a column stands for, at least.
const SECONDS: f32 = 1.5;
/// Of every line, at most, in columns.
pub const WIDTH: u16 = 79;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What a machine does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Doing {
    #[default]
    Nothing,
    Booting,
    Busy,
    Idle,
    Ending,
}

impl Doing {
    const ALL: [Doing; 5] = [
        Doing::Nothing,
        Doing::Booting,
        Doing::Busy,
        Doing::Idle,
        Doing::Ending,
    ];

    fn glyph(self) -> char {
        match self {
            Doing::Nothing => ' ',
            Doing::Booting => '░',
            Doing::Busy => '█',
            Doing::Idle => '─',
            Doing::Ending => '╳',
        }
    }

    /// The colours that every terminal has.
    fn colour(self) -> &'static str {
        match self {
            Doing::Nothing => "0",
            Doing::Booting => "33",
            Doing::Busy => "32",
            Doing::Idle => "36",
            Doing::Ending => "31",
        }
    }
}

/// What was seen at one moment.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    pub at: Duration,
    pub waiting: u32,
    pub machines: Vec<Doing>,
}

/// What is said beside the lanes, and below.
#[derive(Debug, Clone, Default)]
pub struct Now {
    pub counts: Counts,
    /// One for each machine: such as `busy, 3 jobs`.
    pub notes: Vec<String>,
    /// The poller's last decision in its own words.
    pub decision: String,
    /// The status page.
    pub page: String,
}

/// The picture, line by line; with colours for a terminal.
pub fn draw(moments: &[Moment], now: &Now, colours: bool) -> Vec<String> {
    let paint = |text: &str, colour: &str| match colours && !text.trim().is_empty() {
        true => format!("\x1b[{colour}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let end = moments.last().map_or(Duration::ZERO, |moment| moment.at);
    let columns = columns(moments, end);
    let mut lines = Vec::new();

    let title = format!("clockout demo  {}", clock(end));
    let space = usize::from(WIDTH).saturating_sub(title.len() + now.page.len());
    lines.push(format!("{title}{}{}", " ".repeat(space.max(2)), now.page));
    lines.push(String::new());

    let most = moments.iter().map(|moment| moment.waiting).max();
    let bars: String = columns
        .iter()
        .map(|column| bar(column, most.unwrap_or(0)))
        .collect();
    let waiting = format!("{} waiting", now.counts.waiting);
    lines.push(format!("jobs      {}  {waiting}", paint(&pad(&bars), "35")));
    for machine in 0..now.notes.len() {
        let mut lane = String::new();
        for run in cells(&columns, machine).chunk_by(|a, b| a == b) {
            let text: String = run.iter().map(|doing| doing.glyph()).collect();
            lane += &paint(&text, run[0].colour());
        }
        lane += &" ".repeat(COLUMNS - columns.len());
        let note = &now.notes[machine];
        lines.push(
            format!("machine {} {lane}  {note}", machine + 1)
                .trim_end()
                .to_owned(),
        );
    }
    let legend = Doing::ALL[1..].iter().map(|doing| {
        let glyph = paint(&doing.glyph().to_string(), doing.colour());
        format!("{glyph} {}", format!("{doing:?}").to_lowercase())
    });
    lines.push(format!(
        "          {}",
        legend.collect::<Vec<_>>().join("   ")
    ));
    lines.push(String::new());

    let Counts {
        to_come,
        running,
        passed,
        failed,
        ..
    } = now.counts;
    let mut counts = format!("{passed} done, {running} running, {waiting}, {to_come} to come");
    if failed > 0 {
        let _ = write!(counts, ", {failed} failed");
    }
    lines.push(format!("jobs      {counts}"));
    let room = usize::from(WIDTH) - LABEL;
    let (first, rest) = split(&now.decision, room);
    lines.push(format!("poller    {first}"));
    lines.push(format!("          {}", short(rest, room)));
    lines
}

/// As a clock shows it: `1:05`.
pub fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// Moments by column; none is empty.
fn columns(moments: &[Moment], end: Duration) -> Vec<Vec<&Moment>> {
    let seconds = SECONDS.max(end.as_secs_f32() / (COLUMNS as f32 - 0.5));
    let mut columns: Vec<Vec<&Moment>> = Vec::new();
    let mut last = None;
    for moment in moments {
        let column = (moment.at.as_secs_f32() / seconds) as usize;
        if last != Some(column) {
            columns.push(Vec::new());
            last = Some(column);
        }
        columns.last_mut().expect("pushed above").push(moment);
    }
    columns.truncate(COLUMNS);
    columns
}

/// What a machine did most of the time in each column.
fn cells(columns: &[Vec<&Moment>], machine: usize) -> Vec<Doing> {
    let did = |moment: &&Moment| moment.machines.get(machine).copied().unwrap_or_default();
    let most = |column: &Vec<&Moment>| {
        let times = |doing: &Doing| column.iter().filter(|it| did(it) == *doing).count();
        Doing::ALL.into_iter().max_by_key(times).unwrap_or_default()
    };
    columns.iter().map(most).collect()
}

fn bar(column: &[&Moment], most: u32) -> char {
    let waiting = column
        .iter()
        .map(|moment| moment.waiting)
        .max()
        .unwrap_or(0);
    match waiting {
        0 => ' ',
        // The most that ever waited is a full bar.
        _ => {
            BARS[(waiting as usize * BARS.len())
                .div_ceil(most as usize)
                .clamp(1, 8)
                - 1]
        }
    }
}

fn pad(lane: &str) -> String {
    format!("{lane:<COLUMNS$}")
}

/// The words that fit into a line, and the others.
fn split(text: &str, most: usize) -> (&str, &str) {
    if text.chars().count() <= most {
        return (text, "");
    }
    let blanks = text.char_indices().filter(|(_, c)| *c == ' ');
    let fits = |at: &usize| text[..*at].chars().count() <= most;
    let at = blanks.map(|(at, _)| at).take_while(fits).last();
    at.map_or(("", text), |at| (&text[..at], &text[at + 1..]))
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at: f32, waiting: u32, machines: &[Doing]) -> Moment {
        Moment {
            at: Duration::from_secs_f32(at),
            waiting,
            machines: machines.to_vec(),
        }
    }

    fn now() -> Now {
        Now {
            counts: Counts {
                to_come: 9,
                waiting: 2,
                running: 1,
                passed: 3,
                failed: 0,
            },
            notes: vec!["busy, 3 jobs".to_owned(), String::new()],
            decision: "launch 2 ".repeat(20),
            page: "http://127.0.0.1:9466/".to_owned(),
        }
    }

    #[test]
    fn a_machines_life_is_read_from_left_to_right() {
        use Doing::*;
        let moments = [
            moment(0.0, 4, &[Nothing, Nothing]),
            moment(1.5, 8, &[Booting, Nothing]),
            moment(3.0, 2, &[Busy, Booting]),
            moment(3.5, 2, &[Busy, Idle]),
            moment(4.0, 2, &[Idle, Idle]),
            moment(4.5, 0, &[Ending, Idle]),
        ];
        let lines = draw(&moments, &now(), false);
        let lane = |line: &str| line.chars().skip(10).take(5).collect::<String>();
        assert_eq!(lane(&lines[2]), "▄█▂  ");
        assert_eq!(lane(&lines[3]), " ░█╳ ");
        assert_eq!(lane(&lines[4]), "  ──");
        assert!(lines[3].ends_with("busy, 3 jobs"), "{}", lines[3]);
        assert!(lines[0].starts_with("clockout demo  0:04") && lines[0].ends_with("9466/"));
        assert_eq!(
            lines[7],
            "jobs      3 done, 1 running, 2 waiting, 9 to come"
        );
    }

    #[test]
    fn it_fits_the_terminal_however_long_it_takes() {
        for seconds in [0, 1, 10, 74, 75, 76, 200, 3600] {
            let moments: Vec<_> = (0..=seconds * 2)
                .map(|half| moment(half as f32 / 2.0, half % 30, &[Doing::Busy, Doing::Idle]))
                .collect();
            for line in draw(&moments, &now(), false) {
                assert!(
                    line.chars().count() <= usize::from(WIDTH),
                    "{seconds} s: {line}"
                );
            }
        }
        assert_eq!(
            draw(&[], &now(), true).len(),
            draw(&[moment(9.0, 1, &[])], &now(), true).len()
        );
    }

    #[test]
    fn colours_are_only_for_terminals() {
        let moments = [moment(0.0, 1, &[Doing::Busy, Doing::Idle])];
        assert!(
            draw(&moments, &now(), true)
                .concat()
                .contains("\x1b[32m█\x1b[0m")
        );
        assert!(!draw(&moments, &now(), false).concat().contains('\x1b'));
    }
}
