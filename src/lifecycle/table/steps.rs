//! Agents that show only the steps of their jobs.

use super::one;
use super::script::Script;

/// A job is over when no step was seen for ten seconds.
fn steps() -> Script {
    one().with("linger=10")
}

#[test]
fn steps_close_together_are_one_job() {
    let mut script = steps().with("max-jobs=9");
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | finish 1             ->                           ; busy 1, 12
      9 | start 1              ->                           ; busy 1
     30 | finish 1             ->                           ; busy 1, 40
     40 | tick                 ->                           ; idle since 40, 640
     41 | start 1              ->                           ; busy 1
     42 | finish 1             ->                           ; busy 1, 52
     60 | tick                 ->                           ; idle since 60, 660
    ",
    );
    assert_eq!((script.tally().passed, script.started()), (2, 2));
}

#[test]
fn a_step_in_the_instant_of_the_end_is_of_the_same_job() {
    steps().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | finish 1             ->                           ; busy 1, 12
     12 | start 1              ->                           ; busy 1
     12 | tick                 ->                           ; busy 1
    ",
    );
}

#[test]
fn steps_at_the_same_time_have_all_to_end() {
    let mut script = steps().with("slots=3");
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1 a            ->                           ; busy 1
      2 | start 1 b            ->                           ; busy 1
      2 | start 1 b            ->                           ; busy 1
      3 | finish 1 a failed    ->                           ; busy 1
     50 | finish 1 a passed    ->                           ; busy 1
     60 | finish 1 b passed    ->                           ; busy 1, 70
     70 | tick                 ->                           ; idle since 70, 670
    ",
    );
    assert_eq!((script.tally().failed, script.started()), (1, 1));
}

#[test]
fn a_step_seen_only_by_its_end_is_a_job() {
    let mut script = steps();
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | finish 1 a passed    ->                           ; busy 1, 11
     11 | tick                 ->                           ; idle since 11, 611
    ",
    );
    assert_eq!((script.tally().passed, script.started()), (1, 1));
}

#[test]
fn a_killed_supervisor_still_knows_when_the_job_is_over() {
    steps().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | finish 1             ->                           ; busy 1, 12
      5 | restart              ->                           ; busy 1, 12
      8 | start 1              ->                           ; busy 1
      9 | restart              ->                           ; busy 1
     10 | finish 1             ->                           ; busy 1, 20
     20 | tick                 ->                           ; idle since 20, 620
    ",
    );
}

#[test]
fn an_agent_that_ends_well_after_its_last_step_has_ended_its_job() {
    let drained = "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | drain operator       -> drain 1, prepare operator ; draining operator by 3602, 3602
      3 | finish 1             ->                           ; draining operator by 3602, 13
    ";
    let mut script = steps();
    script.plays(drained);
    script.plays("4 | exit 1 0 -> sweep terminate ; sweeping operator, 6");
    assert_eq!((script.tally().passed, script.tally().lost), (1, 0));
    let mut script = steps();
    script.plays(drained);
    script.plays("4 | exit 1 signal 9 -> sweep terminate ; sweeping operator, 6");
    assert_eq!((script.tally().passed, script.tally().lost), (0, 1));
}

#[test]
fn an_agent_that_is_killed_in_a_step_has_lost_its_job() {
    let mut script = steps();
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | exit 1 signal 9      ->                           ; starting, 3
    ",
    );
    assert_eq!(script.tally().lost, 1);
}

#[test]
fn an_agent_that_is_killed_between_steps_has_lost_its_job_and_waits_for_no_other_step() {
    let mut script = steps();
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | finish 1             ->                           ; busy 1, 12
      3 | exit 1 signal 9      ->                           ; starting, 4
      4 | tick                 -> spawn 1                   ; starting, 303
    ",
    );
    assert_eq!(script.tally().lost, 1);
}

#[test]
fn a_drain_that_cancels_waits_until_the_job_is_over() {
    steps().with("drain-by=wait-idle").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 3602
      3 | finish 1             ->                           ; draining operator by 3602, 13
     13 | tick                 -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn a_census_ends_a_job_whose_step_was_never_told_to_end() {
    let mut script = steps().with("detectors=log,census");
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1 a            ->                           ; busy 1
      2 | level 1 0            ->                           ; busy 1
      3 | level 1 0            ->                           ; idle since 3, 603
      4 | start 1 b            ->                           ; busy 1
      5 | finish 1 b passed    ->                           ; busy 1, 15
     15 | tick                 ->                           ; idle since 15, 615
    ",
    );
    assert_eq!(script.started(), 2);
}
