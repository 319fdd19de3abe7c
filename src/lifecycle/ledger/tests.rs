//! What several detectors together make of an agent's jobs.

use super::*;

const LOG: DetectorIndex = DetectorIndex(0);
const HOOK: DetectorIndex = DetectorIndex(1);
const CHILD: DetectorIndex = DetectorIndex(2);

fn ledger() -> Ledger {
    use DetectorKind::*;
    let mut ledger = Ledger::new(&[Edges, AdvisoryEdges, AdvisoryLevel], None);
    ledger.level(CHILD, Some(0));
    ledger
}

fn id(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn one_job_seen_by_two_detectors_is_one_job() {
    let mut l = ledger();
    assert_eq!(l.start(LOG, id("a")).len(), 1);
    assert_eq!(l.start(HOOK, id("a")), []);
    assert_eq!((l.started(), l.running()), (1, 1));
    assert_eq!(l.finish(HOOK, id("a"), Outcome::Failed), []);
    let end = l.finish(LOG, id("a"), Outcome::Unknown);
    let (id, outcome) = (id("a"), Outcome::Failed);
    assert_eq!(end, [Change::Finished { id, outcome }]);
    assert!(l.is_idle());
}

#[test]
fn a_hook_that_comes_first_is_the_same_job() {
    let mut l = ledger();
    assert_eq!(l.start(HOOK, id("a")).len(), 1);
    assert_eq!(l.started(), 0, "an advisory start does not count");
    assert_eq!(l.start(LOG, id("a")), []);
    assert_eq!(l.started(), 1);
}

#[test]
fn a_lying_hook_counts_nothing_and_keeps_nothing_open() {
    let mut l = ledger();
    l.start(LOG, id("a"));
    l.start(HOOK, id("a"));
    l.finish(LOG, id("a"), Outcome::Unknown);
    assert!(l.is_idle(), "the believed detector closes it");
    for n in 0..100 {
        l.start(HOOK, id(&n.to_string()));
        l.finish(HOOK, id(&n.to_string()), Outcome::Passed);
    }
    assert_eq!(l.started(), 1);
}

#[test]
fn a_flood_of_starts_costs_no_memory_and_hides_no_job() {
    let mut l = ledger();
    for n in 0..10_000 {
        l.start(HOOK, id(&n.to_string()));
    }
    assert_eq!(l.running(), MOST_OPEN as u32);
    l.start(LOG, id("real"));
    assert_eq!((l.started(), l.running()), (1, MOST_OPEN as u32));
    let ends = l.finish(LOG, id("real"), Outcome::Passed);
    assert_eq!(ends.len(), 1);
}

#[test]
fn late_words_about_a_closed_job_are_no_new_job() {
    let mut l = ledger();
    l.start(LOG, id("a"));
    l.finish(LOG, id("a"), Outcome::Unknown);
    assert_eq!(l.finish(HOOK, id("a"), Outcome::Passed), []);
    assert_eq!((l.started(), l.running()), (1, 0));
}

#[test]
fn a_finish_without_a_start_is_one_job() {
    let mut l = ledger();
    let changes = l.finish(LOG, id("a"), Outcome::Passed);
    assert_eq!(changes.len(), 2);
    assert_eq!((l.started(), l.running()), (1, 0));
}

#[test]
fn without_ids_jobs_end_in_the_order_they_began() {
    let mut l = ledger();
    l.start(LOG, None);
    l.start(LOG, None);
    assert_eq!(l.running(), 2);
    l.finish(LOG, None, Outcome::Unknown);
    assert_eq!((l.started(), l.running()), (2, 1));
}

#[test]
fn an_unknown_level_is_never_idle_and_never_a_new_start() {
    let mut l = Ledger::new(&[DetectorKind::Level], None);
    let level = DetectorIndex(0);
    assert!(!l.is_idle(), "nothing is known before the first sample");
    l.level(level, Some(2));
    l.level(level, None);
    assert!(!l.is_idle());
    l.level(level, Some(2));
    assert_eq!(l.started(), 2);
    l.level(level, Some(0));
    assert!(l.is_idle());
    l.level(level, None);
    assert!(!l.is_idle());
}

#[test]
fn with_known_slots_a_missed_end_is_noticed_at_the_next_start() {
    let mut l = Ledger::new(&[DetectorKind::Edges], Some(1));
    l.start(LOG, id("a"));
    let changes = l.start(LOG, id("b"));
    assert!(matches!(&changes[0], Change::Finished { id, .. } if *id == self::id("a")));
    assert_eq!((l.started(), l.running()), (2, 1));
}

#[test]
fn the_end_of_the_process_closes_every_job() {
    let mut l = ledger();
    l.start(LOG, id("a"));
    l.start(LOG, id("b"));
    l.finish(HOOK, id("b"), Outcome::Passed);
    let ends = l.close_all(Outcome::Lost);
    let outcomes: Vec<_> = ends
        .iter()
        .map(|end| match end {
            Change::Finished { outcome, .. } => *outcome,
            Change::Started { .. } => unreachable!("nothing starts here"),
        })
        .collect();
    assert_eq!(outcomes, [Outcome::Lost, Outcome::Passed]);
    assert!(l.open.is_empty());
}

const COUNT: DetectorIndex = DetectorIndex(1);

fn finished(outcome: Outcome) -> Change {
    Change::Finished { id: None, outcome }
}

#[test]
fn a_level_opens_and_closes_jobs_that_nobody_else_tells_of() {
    let mut l = Ledger::new(&[DetectorKind::AdvisoryLevel, DetectorKind::Level], Some(2));
    assert_eq!(l.level(LOG, Some(3)), [], "an advisory level is busy only");
    let start = Change::Started { id: None };
    assert_eq!(l.level(COUNT, Some(2)), [start.clone(), start]);
    assert_eq!(l.level(COUNT, None), []);
    assert_eq!(l.level(COUNT, Some(1)), [finished(Outcome::Unknown)]);
    assert_eq!((l.started(), l.open.len()), (2, 1));
    assert_eq!(l.close_all(Outcome::Lost), [finished(Outcome::Lost)]);
    assert_eq!(l.level(COUNT, Some(0)), [], "nothing is left to fall");
}

#[test]
fn a_job_that_a_level_and_a_log_show_is_one_job_whoever_is_first() {
    for level_first in [true, false] {
        let mut l = Ledger::new(&[DetectorKind::Edges, DetectorKind::Level], Some(1));
        let mut changes = Vec::new();
        for n in 1..=3 {
            if level_first {
                changes.extend(l.level(COUNT, Some(1)));
                changes.extend(l.start(LOG, id("a")));
                changes.extend(l.level(COUNT, Some(0)));
                assert_eq!(l.running(), 1, "the log has not told its end");
                changes.extend(l.finish(LOG, id("a"), Outcome::Passed));
            } else {
                changes.extend(l.start(LOG, id("a")));
                changes.extend(l.level(COUNT, Some(1)));
                changes.extend(l.finish(LOG, id("a"), Outcome::Passed));
                assert!(!l.is_idle(), "the level still shows it");
                changes.extend(l.level(COUNT, Some(0)));
            }
            assert!(l.is_idle());
            assert_eq!((l.started(), changes.len()), (n, 2 * n as usize));
        }
    }
}

#[test]
fn a_level_that_comes_after_the_end_is_no_other_job() {
    let mut l = Ledger::new(&[DetectorKind::Edges, DetectorKind::Level], Some(1));
    l.start(LOG, id("a"));
    l.finish(LOG, id("a"), Outcome::Passed);
    assert_eq!(l.level(COUNT, Some(1)), []);
    assert_eq!(l.level(COUNT, Some(0)), []);
    assert_eq!((l.started(), l.is_idle()), (1, true));
}

#[test]
fn a_hook_names_the_job_of_a_level_and_tells_its_outcome() {
    let mut l = Ledger::new(&[DetectorKind::AdvisoryEdges, DetectorKind::Level], Some(2));
    l.level(COUNT, Some(2));
    l.start(LOG, id("a"));
    l.start(LOG, id("b"));
    l.finish(LOG, id("b"), Outcome::Failed);
    assert_eq!(
        l.running(),
        2,
        "a hook's word ends no job that a level shows"
    );
    let b = |outcome| Change::Finished {
        id: id("b"),
        outcome,
    };
    assert_eq!(l.level(COUNT, Some(1)), [b(Outcome::Failed)]);
    let a = Change::Finished {
        id: id("a"),
        outcome: Outcome::Unknown,
    };
    assert_eq!(
        l.level(COUNT, Some(0)),
        [a],
        "a lost hook keeps no job open"
    );
    assert_eq!((l.started(), l.is_idle()), (2, true));
}

#[test]
fn a_lying_level_costs_no_memory() {
    let mut l = Ledger::new(&[DetectorKind::AdvisoryEdges, DetectorKind::Level], None);
    assert_eq!(l.level(COUNT, Some(u32::MAX)).len(), MOST_OPEN);
    assert_eq!(l.level(COUNT, Some(0)).len(), MOST_OPEN);
    assert_eq!((l.started(), l.is_idle()), (u32::MAX, true));
}

fn census() -> Ledger {
    Ledger::new(&[DetectorKind::Edges, DetectorKind::Census], None)
}

#[test]
fn a_job_that_two_answers_in_a_row_leave_out_has_ended() {
    let mut l = census();
    l.start(LOG, id("a"));
    l.start(LOG, id("b"));
    assert_eq!(
        l.level(COUNT, Some(1)),
        [],
        "it may be of before the job began"
    );
    let a = Change::Finished {
        id: id("a"),
        outcome: Outcome::Unknown,
    };
    assert_eq!(l.level(COUNT, Some(1)), [a]);
    assert_eq!(l.level(COUNT, Some(1)), []);
    assert_eq!(l.level(COUNT, Some(1)), [], "the other one is still shown");
    assert_eq!(l.finish(LOG, id("a"), Outcome::Passed), [], "a late word");
    assert_eq!((l.started(), l.running()), (2, 1));
}

#[test]
fn an_answer_that_shows_all_or_nothing_at_all_begins_the_streak_anew() {
    for between in [Some(1), None] {
        let mut l = census();
        l.start(LOG, None);
        assert_eq!(l.level(COUNT, Some(0)), []);
        assert_eq!(l.level(COUNT, between), []);
        assert_eq!(l.level(COUNT, Some(0)), []);
        assert_eq!(l.level(COUNT, Some(0)).len(), 1);
    }
}

#[test]
fn a_job_that_began_between_two_answers_is_not_of_the_streak() {
    let mut l = census();
    l.start(LOG, id("a"));
    l.level(COUNT, Some(0));
    l.finish(LOG, id("a"), Outcome::Passed);
    l.start(LOG, id("b"));
    assert_eq!(l.level(COUNT, Some(0)), []);
    assert_eq!(l.running(), 1);
}

#[test]
fn a_census_counts_nothing_and_keeps_the_machine_busy() {
    let mut l = census();
    assert!(!l.is_idle(), "nothing is known before the first answer");
    assert_eq!(l.level(COUNT, Some(2)), []);
    assert_eq!((l.started(), l.running()), (0, 2));
    l.level(COUNT, Some(0));
    assert!(l.is_idle());
}

#[test]
fn a_census_closes_the_job_whose_end_a_hook_told_and_with_its_outcome() {
    use DetectorKind::*;
    let mut l = Ledger::new(&[Edges, Census, AdvisoryEdges], None);
    let hook = DetectorIndex(2);
    l.start(LOG, id("a"));
    l.start(LOG, id("b"));
    l.finish(hook, id("b"), Outcome::Failed);
    l.level(COUNT, Some(1));
    let b = Change::Finished {
        id: id("b"),
        outcome: Outcome::Failed,
    };
    assert_eq!(l.level(COUNT, Some(1)), [b]);
}

#[test]
fn a_job_that_a_counting_level_shows_is_not_over() {
    use DetectorKind::*;
    let mut l = Ledger::new(&[Level, Census, Census], None);
    let other = DetectorIndex(2);
    l.level(LOG, Some(1));
    for _ in 0..3 {
        assert_eq!(l.level(COUNT, Some(0)), []);
    }
    let mut l = Ledger::new(&[Edges, Census, Census], None);
    l.start(LOG, None);
    l.level(other, Some(1));
    for _ in 0..3 {
        assert_eq!(l.level(COUNT, Some(0)), [], "another census shows it");
    }
}

#[test]
fn a_start_beyond_the_slots_closes_the_job_that_a_hook_saw_end() {
    use DetectorKind::*;
    let mut l = Ledger::new(&[Edges, AdvisoryEdges], Some(2));
    l.start(LOG, id("a"));
    l.start(LOG, id("b"));
    assert_eq!(l.finish(HOOK, id("b"), Outcome::Failed), []);
    let (id_b, outcome) = (id("b"), Outcome::Failed);
    assert_eq!(
        l.start(LOG, id("c")),
        [
            Change::Finished { id: id_b, outcome },
            Change::Started { id: id("c") }
        ]
    );
}
