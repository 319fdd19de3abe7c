//! Drain steps that would end a job are held back until there certainly is none.

use super::one;
use super::script::Script;

/// Idle, it shows for four seconds each time that it takes no job; waited for for 30 seconds.
fn window() -> Script {
    one().with("drain-by=wait-idle window=4,30")
}

#[test]
fn an_idle_agent_is_drained_in_a_safe_moment() {
    window().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | safe 1               ->                           ; idle since 1, 601
      7 | drain operator       -> prepare operator          ; draining operator by 3607, 37
     12 | safe 1               -> drain 1                   ; draining operator by 3607, 3607
    ",
    );
    window().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | safe 1               ->                           ; idle since 1, 601
      6 | drain operator       -> drain 1, prepare operator ; draining operator by 3606, 3606
    ",
    );
}

#[test]
fn a_moment_before_a_job_is_not_safe_after_it() {
    window().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | safe 1               ->                           ; idle since 1, 601
      3 | start 1              ->                           ; busy 1
      4 | drain operator       -> prepare operator          ; draining operator by 3604, 3604
      5 | finish 1             ->                           ; draining operator by 3604, 35
      6 | safe 1               -> drain 1                   ; draining operator by 3604, 3604
    ",
    );
}

#[test]
fn without_a_safe_moment_patience_ends_and_begins_anew_after_a_job() {
    window().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 32
     20 | start 1              ->                           ; draining operator by 3602, 3602
     22 | safe 1               ->                           ; draining operator by 3602, 3602
     30 | finish 1             ->                           ; draining operator by 3602, 60
     31 | restart              -> prepare operator          ; draining operator by 3602, 60
     60 | tick                 -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn another_agents_moment_is_not_its_own() {
    window().with("agents=2").plays(
        "
      0 | new                  -> spawn 1, spawn 2          ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 300
      1 | ready 2              ->                           ; idle since 1, 601
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 32
      3 | safe 2               -> drain 2                   ; draining operator by 3602, 32
    ",
    );
}

#[test]
fn a_signal_that_lets_jobs_finish_waits_for_no_moment() {
    one().with("window=4,30").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> drain 1, prepare operator ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn a_sample_asked_for_before_the_wish_to_drain_confirms_nothing() {
    one()
        .with("detectors=log,level sample=60 drain-by=wait-idle")
        .plays(
            "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              -> sample                    ; idle since 1, 61
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 61
      3 | level 1 0            ->                           ; draining operator by 3602, 61
      3 | sampled              -> sample                    ; draining operator by 3602, 63
      4 | level 1 0            ->                           ; draining operator by 3602, 63
      4 | sampled              -> drain 1                   ; draining operator by 3602, 63
    ",
        );
}

#[test]
fn a_drain_step_that_may_be_lost_is_held_back_again() {
    window().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | safe 1               ->                           ; idle since 1, 601
      3 | drain operator       -> drain 1, prepare operator ; draining operator by 3603, 3603
      4 | restart              -> prepare operator          ; draining operator by 3603, 34
     34 | tick                 ->                           ; draining operator by 3603, 64
     35 | safe 1               -> drain 1                   ; draining operator by 3603, 3603
    ",
    );
}

#[test]
fn an_agent_that_was_not_seen_armed_is_drained_otherwise() {
    let other = || one().with("unarmed=wait-idle");
    other().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 3602
      9 | finish 1             -> otherwise 1               ; draining operator by 3602, 3602
     10 | restart              -> prepare operator          ; draining operator by 3602, 40
     40 | tick                 -> otherwise 1               ; draining operator by 3602, 3602
    ",
    );
    other().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | armed 1              ->                           ; starting, 300
      2 | start 1              ->                           ; busy 1
      3 | restart              ->                           ; busy 1
      4 | drain operator       -> drain 1, prepare operator ; draining operator by 3604, 3604
    ",
    );
    other().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 3602
      3 | armed 1              -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn the_next_process_has_to_be_armed_itself() {
    one().with("unarmed=wait-idle").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      1 | armed 1              ->                           ; idle since 1, 601
      2 | exit 1 1             ->                           ; starting, 3
      3 | tick                 -> spawn 1                   ; starting, 302
      4 | ready 1              ->                           ; idle since 1, 601
      5 | drain operator       -> otherwise 1, prepare operator ; draining operator by 3605, 3605
    ",
    );
}
